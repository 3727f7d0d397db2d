"""An existing flow that imports from Prefect alone, and the one line that instruments it."""

from __future__ import annotations

from prefect import flow, task

from expops_prefect import instrument


@task
def extract(day: str) -> list[int]:
    return [len(day) * factor for factor in range(1, 6)]


@task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@flow(name="nightly-report")
def nightly(day: str = "monday") -> int:
    return total(extract(day))


instrument(nightly)

if __name__ == "__main__":
    print(nightly())
