"""Tasks that yield."""

from prefect import flow, task


@task
def chunks(values: list[int], size: int):
    for start in range(0, len(values), size):
        yield values[start : start + size]


@task
def total(values: list[int]) -> int:
    return sum(values)


@task
def pairs(values: list[int]) -> list[tuple[int, int]]:
    return list(zip(values, values[1:]))


@flow
def chunked(values: list[int]):
    return [[total(chunk) for chunk in chunks(values, 2)], pairs(values)]


def main():
    return chunked([1, 2, 3, 4, 5])
