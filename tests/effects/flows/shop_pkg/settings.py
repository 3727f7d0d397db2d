"""Settings of the package."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Taxes and names."""

    tax: float = 0.19
    currency: str = "EUR"


SETTINGS = Settings()
