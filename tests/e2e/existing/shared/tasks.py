"""Tasks for several flows."""

from executions import ran
from prefect import task


@task
def clean(text: str) -> str:
    ran("clean")
    return text.strip().lower()


@task(name="count words")
def count(text: str) -> int:
    ran("count")
    return len(text.split())


STEPS = {"clean": clean, "count": count}
