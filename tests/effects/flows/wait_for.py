"""One after the other, though nothing is handed on."""

from pathlib import Path

from prefect import flow, task

LOG = Path("out/order.log")


@task
def step(name: str) -> str:
    with LOG.open("a") as log:
        log.write(f"{name}\n")
    return name


@task
def last_line() -> str:
    return LOG.read_text().splitlines()[-1]


@task
def joined(names: list[str]) -> str:
    return "-".join(names)


@flow
def ordered():
    first = step.submit("create")
    second = step.submit("fill", wait_for=[first])
    third = step.submit("index", wait_for=[second])
    last = last_line.submit(wait_for=[third])
    return [joined.submit([first, second, third]).result(), last.result()]


def main():
    return ordered()
