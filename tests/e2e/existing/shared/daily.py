"""One of the flows that share tasks."""

from prefect import flow

from shared.tasks import clean, count


@flow
def daily(text: str) -> int:
    return count(clean(text))
