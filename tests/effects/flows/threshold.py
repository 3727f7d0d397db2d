"""A limit that people set in Prefect's UI."""

from prefect import flow, task
from prefect.variables import Variable


@task
def limit() -> float:
    return float(Variable.get("shop_limit", default="5"))


@task
def above(values: list[float], least: float) -> list[float]:
    return [value for value in values if value > least]


@task
def count_above(values: list[float]) -> int:
    return sum(value > float(Variable.get("shop_limit")) for value in values)


@flow
def filtered(values: list[float]):
    return [above(values, limit()), count_above(values)]


def main():
    return filtered([1.0, 6.0, 11.0, 21.0])
