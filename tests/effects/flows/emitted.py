"""Events of Prefect's, and an asset of a materialisation."""

from prefect import flow, task
from prefect.events import emit_event


@task
def validate(rows: list[int]) -> list[int]:
    return [row for row in rows if row > 0]


@task
def announce(rows: list[int]) -> str:
    event = emit_event("shop.validated", resource={"prefect.resource.id": "shop.@form"}, payload={"n": len(rows)})
    return event.event


@flow
def emitting():
    return announce(validate([1, -1, 2]))


def main():
    return emitting()
