"""Users' rollback and commit hooks run exactly as they do without us."""

from __future__ import annotations

import pytest

from tests.support.processes import FlowProject

# Each shape runs under `from prefect import …` and under ours; what its hooks did must be the same.
FLOW = """
import sys
from {package} import flow, task
from prefect.transactions import transaction

EVENTS = []


def hooked(name, fails=False, **options):
    def body(number):
        EVENTS.append(f"{{name}} runs")
        if fails:
            raise ValueError(name)
        return number

    made = task(body, name=name, **options)

    @made.on_rollback
    def undo(txn):
        EVENTS.append(f"{{name}} rolled back")

    @made.on_commit
    def done(txn):
        EVENTS.append(f"{{name}} committed")

    return made


first, second, failing = hooked("first"), hooked("second"), hooked("failing", fails=True)
plain = task(lambda number: number, name="plain")


@task
def process_with_steps(fails):
    first(1)
    plain(1)
    if fails:
        raise ValueError("process")
    return second(2)


@task
def transaction_inside_a_task():
    with transaction():
        first(1)
        failing(2)


@flow
def in_a_flow():
    with transaction():
        first(1)
        second(2)
        failing(3)


@flow
def committed():
    with transaction():
        first(1)
        second(2)


@flow
def inside_a_task():
    transaction_inside_a_task()


@flow
def nested():
    with transaction():
        first(1)
        with transaction():
            second(2)
            failing(3)


@flow
def failing_step():
    process_with_steps(False)
    failing(1)


@flow
def failing_process():
    process_with_steps(True)


for shape in (in_a_flow, committed, inside_a_task, nested, failing_step, failing_process):
    EVENTS.append(f"-- {{shape.name}}")
    shape(return_state=True)
print("EVENTS", " | ".join(EVENTS))
"""


def events(shop: FlowProject, package: str, asynchronous: bool) -> str:
    text = FLOW.format(package=package)
    if asynchronous:
        text = _made_async(text)
    shop.write(f"{package}_{asynchronous}.py", text)
    outcome = shop.run(f"{package}_{asynchronous}.py").ok()
    (line,) = [line for line in outcome.output.splitlines() if line.startswith("EVENTS ")]
    return line


@pytest.mark.parametrize(
    "asynchronous",
    [pytest.param(False, id="sync"), pytest.param(True, id="async", marks=pytest.mark.nightly)],
)
def test_hooks_run_as_without_us(shop: FlowProject, asynchronous: bool) -> None:
    without = events(shop, "prefect", asynchronous)
    assert "first rolled back" in without
    assert "second committed" in without
    assert events(shop, "expops_prefect", asynchronous) == without
    # With everything that may be cached in the cache, what fails still rolls back what ran in its transaction.
    again = events(shop, "expops_prefect", asynchronous)
    assert "failing runs" in again


def _made_async(text: str) -> str:
    for name in ("first", "second", "failing", "plain", "process_with_steps", "transaction_inside_a_task"):
        text = text.replace(f"    {name}(", f"    await {name}(").replace(f"return {name}(", f"return await {name}(")
    text = text.replace("\ndef ", "\nasync def ").replace("    def body", "    async def body")
    text = text.replace("async def hooked", "def hooked").replace("with transaction()", "async with atransaction()")
    text = text.replace("import transaction", "import atransaction").replace("lambda number: number", "identity")
    text = text.replace("def hooked", "async def identity(number):\n    return number\n\n\ndef hooked", 1)
    text = text.replace("    shape(return_state=True)", "    asyncio.run(shape(return_state=True))")
    return text.replace("import sys", "import asyncio, sys")
