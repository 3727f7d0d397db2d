"""Tasks of the package."""

from prefect import task

from ..settings import SETTINGS
from .rounding import rounded


@task
def gross(amounts: list[float]) -> list[float]:
    """Amounts with tax."""
    return [rounded(amount * (1 + SETTINGS.tax)) for amount in amounts]


@task
def shown(amounts: list[float]) -> str:
    """Amounts as text."""
    return " ".join(f"{amount:.2f} {SETTINGS.currency}" for amount in amounts)
