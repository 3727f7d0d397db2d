"""The flow of the package."""

from prefect import flow

from .steps.prices import gross, shown


@flow
def price_list(amounts: list[float]) -> str:
    """Prices as text."""
    return shown(gross(amounts))
