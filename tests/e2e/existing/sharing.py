"""Tasks shared by several flows and modules."""

from prefect import flow
from shared import tasks
from shared.daily import daily


@flow
def weekly(text: str) -> int:
    cleaned = tasks.STEPS["clean"].with_options(name="clean weekly", retries=1)(text)
    return tasks.count.submit(cleaned).result() * 7


@flow
def main() -> list[int]:
    return [daily(" One Two "), weekly(" One Two ")]
