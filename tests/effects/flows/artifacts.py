"""A report in Prefect's own UI."""

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact


@task
def compute(numbers: list[int]) -> dict:
    return {"sum": sum(numbers), "largest": max(numbers)}


@task
def report(stats: dict) -> str:
    text = "\n".join(["# Report", *[f"- {name}: {value}" for name, value in stats.items()]])
    create_markdown_artifact(key="daily-report-@form", markdown=text, description="Daily")
    return text


@task(name="publish table")
def publish(stats: dict):
    create_table_artifact(key="daily-table-@form", table=[stats])
    return len(stats)


@flow
def daily():
    stats = compute([3, 1, 2])
    return [report(stats), publish(stats)]


def main():
    return daily()
