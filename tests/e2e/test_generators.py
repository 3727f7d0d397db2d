"""What is computed in a loop over a generator task is stored item by item: a kill loses none of it."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import asyncio, os, sys
from executions import ran
from expops_prefect import flow, task

KILL = sys.argv[1]


def killed(name, x):
    if KILL == name and x == 3:
        os.kill(os.getpid(), 9)


@task
def compute(x):
    ran("compute")
    return x * 10


@task
def step(x):
    ran("step")
    return x + 1


@task
def items(n):
    for x in range(n):
        yield step(x) - 1


@task
def outer_items(n):
    for x in items(n):
        yield x


@task
async def aitems(n):
    for x in range(n):
        yield step(x) - 1


@task
def consumes(n):
    total = 0
    for x in items(n):
        total += compute(x)
        killed("task", x)
    return total


@flow
def sub(n):
    return consume("subflow", items(n))


def consume(name, values):
    total = 0
    for x in values:
        total += compute(x)
        killed(name, x)
    return total


async def aconsume():
    total = 0
    async for x in aitems(5):
        total += compute(x)
        killed("async", x)
    return total


@flow
def main():
    case = sys.argv[2]
    if case == "plain":
        return consume("plain", items(5))
    if case == "nested":
        return consume("nested", outer_items(5))
    if case == "task":
        return consumes(5)
    if case == "subflow":
        return sub(5)
    return asyncio.run(aconsume())


if __name__ == "__main__":
    print("RESULT", main())
"""


def test_kills_in_the_middle(shop: FlowProject) -> None:
    for case in ("plain", "nested", "task", "subflow", "async"):
        # Other code for each case, so that none finds another's results.
        other = FLOW.replace("x * 10", f'x * 10 + 0 * len("{case}")').replace("x + 1", f'x + int("{case}" != "")')
        shop.write("flow.py", other)
        killed = shop.run("flow.py", case, case)
        assert killed.returncode == -9, killed.output
        assert killed.executions == {"compute": 4, "step": 4}, case
        again = shop.run("flow.py", "none", case).ok()
        assert "RESULT 100" in again.output
        assert again.executions == {"compute": 1, "step": 1}, case
