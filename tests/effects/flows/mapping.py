"""A task over many items."""

from prefect import flow, task, unmapped


@task
def scale(value: int, factor: int) -> int:
    return value * factor


@task
def label(value: int, names: dict) -> str:
    return f"{names['prefix']}-{value:03d}"


@task
def join(parts: list[str]) -> str:
    return ", ".join(sorted(parts))


@flow
def mapped(numbers: list[int]):
    scaled = scale.map(numbers, unmapped(3))
    labels = label.map(scaled, names=unmapped({"prefix": "n"}))
    return join(labels)


def main():
    return mapped([1, 2, 3, 2])
