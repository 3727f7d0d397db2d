"""Hits that are answered before Prefect's engine: the same results, executions, rows and task runs as with it."""

from __future__ import annotations

import re

from tests.support.processes import FlowProject, Outcome

FAST = "prefect: {project_id: shop, cache: {fast_hits: true}}\n"
SLOW = "prefect: {project_id: shop}\n"
FLOW = """
import asyncio
import os
import sys
import time

import numpy as np
from executions import ran
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.runtime import flow_run
from prefect.transactions import transaction

from expops_prefect import flow, log_metric, task, unmapped

SEEN = []


@task
def make(n):
    ran("make")
    log_metric("made", n)
    return {"n": n, "row": [n, n + 1]}


@task
def scale(part, by):
    ran("scale")
    return part["n"] * by


@task
async def waits(n):
    ran("waits")
    return n + 100


@task
def large(n):
    ran("large")
    return np.full(300_000, n)


@task(on_completion=[lambda task, run, state: SEEN.append(state.name)])
def hooked(n):
    ran("hooked")
    return n


@task(task_run_name="named-{n}", tags=["red"])
def named(n):
    ran("named")
    return n


@task(refresh_cache=True)
def fresh(n):
    ran("fresh")
    return n


@task
def effect(n):
    ran("effect")
    return time.time() > n


@task
def outer(n):
    ran("outer")
    return make(n)["n"] + effect(0)


@flow
async def asynchronous():
    return [await waits(1), *(await asyncio.gather(waits(2), waits(3)))]


@flow
def main(extra=0):
    first = make(1)
    state = make(2, return_state=True)
    both = scale(first, 10) + scale(state, 10)
    future = make.submit(3)
    later = scale.submit(future, by=2)
    chained = scale.submit(part=make.submit(4), by=3, wait_for=[later])
    mapped = scale.map([make(n) for n in range(5, 9 + extra)], unmapped(2))
    over = scale.map(make.map([20, 21]), unmapped(1)).result()
    arrays = [float(large(1).sum()), *(float(f.result().sum()) for f in large.map([2, 3]))]
    with transaction():
        inside = make(30)["n"]
    rest = [hooked(1), named(1), fresh(1), effect(0), outer(40), inside]
    total = [both, later.result(), chained.result(), mapped.result(), over, arrays, rest]
    print("result", state.is_completed(), total, asyncio.run(asynchronous()), SEEN)
    return flow_run.id


if __name__ == "__main__":
    run = main(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    wanted = FlowRunFilter(id={"any_": [run]})
    deadline = time.monotonic() + 30
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_task_runs(flow_run_filter=wanted)
            if len(runs) >= int(os.environ["EXPECTED"]) and all(one.state and one.state.is_final() for one in runs):
                break
            assert time.monotonic() < deadline, [one.name for one in runs]
            time.sleep(0.2)
    for name, kind, inputs, tags in sorted(
        (one.name.rpartition("-")[0], one.state.name, sum(map(len, one.task_inputs.values())), one.tags) for one in runs
    ):
        print("task run", name, kind, inputs, tags)
"""
FIRST = {
    "make": 12,
    "scale": 10,
    "large": 3,
    "waits": 3,
    "hooked": 1,
    "named": 1,
    "fresh": 1,
    "effect": 2,
    "outer": 1,
}
AGAIN = {"fresh": 1, "effect": 2, "outer": 1}
TASK_RUNS = 31
"""Those of the flow itself; those of the other flow are apart."""


def _run(shop: FlowProject, config: str, *arguments: str) -> Outcome:
    shop.configure(config)
    return shop.run("main.py", *arguments, env={"EXPECTED": str(TASK_RUNS)}).ok()


def _shown(outcome: Outcome) -> tuple[str, list[str]]:
    result = next(line for line in outcome.output.splitlines() if line.startswith("result"))
    return result, [line for line in outcome.output.splitlines() if line.startswith("task run")]


def test_the_same_with_and_without(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    seen = []
    for number, config in enumerate((FAST, SLOW, FAST)):
        outcome = _run(shop, config)
        assert dict(outcome.executions) == (FIRST if number == 0 else AGAIN), number
        seen.append((_shown(outcome), shop.statuses(), shop.metrics()))
        assert shop.last_run().degraded == {}
    first, second, third = seen
    assert first[0][0].replace("['Completed']", "['Cached']") == second[0][0] == third[0][0]
    assert second == third


COUNTED = """
from collections import Counter

from executions import ran
from expops_prefect import flow, task
from expops_prefect.stores.kv.sqlite.store import SQLiteKV

READS = Counter()


def counting(name):
    read = getattr(SQLiteKV, name)

    def counted(self, keys, *args, **kwargs):
        if "@name='half'" in str(keys):
            READS[name] += 1
        return read(self, keys, *args, **kwargs)

    setattr(SQLiteKV, name, counted)


@task
def half(n):
    ran("half")
    return n / 2


@flow
def main(count):
    return sum(half.map(range(count)).result())


if __name__ == "__main__":
    import sys

    counting("get")
    counting("get_many")
    print("sum", main(int(sys.argv[1])), "reads", dict(READS))
"""


def test_mapped_calls_are_looked_up_together(shop: FlowProject) -> None:
    shop.configure(FAST)
    shop.write("main.py", COUNTED)
    assert dict(shop.run("main.py", "201").ok().executions) == {"half": 201}
    outcome = shop.run("main.py", "205").ok()
    assert dict(outcome.executions) == {"half": 4}
    assert "sum 10455.0" in outcome.output
    reads = re.search(r"reads \{(.*)\}", outcome.output)
    assert reads is not None
    counts = dict(re.findall(r"'(\w+)': (\d+)", reads[1]))
    # Two batches, and each of the four misses is looked up again by the engine.
    assert (int(counts["get_many"]), int(counts["get"])) == (2, 4)
    assert {"cached": 201, "completed": 4} in [row.calls for row in shop.rows().values()]


FALLS_BACK = """
import sys
from executions import ran
from expops_prefect import flow, task


class Odd:
    def __init__(self, n):
        self.n = n


@task
def odd(n):
    ran("odd")
    return Odd(n)


@task(retries=1)
def fails(n):
    ran("fails")
    raise ValueError(n)


@task
def takes(odd, change):
    ran("takes")
    if change:
        odd.n += 1
    return odd.n


@flow
def main():
    first = odd(1)
    seen = [takes(first, False), takes(first, True), first.n, takes(first, False)]
    try:
        fails(2)
    except ValueError as error:
        seen.append(repr(error))
    try:
        takes(first)
    except TypeError as error:
        seen.append(str(error)[:40])
    print("seen", type(first) is Odd, seen)


if __name__ == "__main__":
    main()
"""


def test_what_is_no_hit_is_left_to_the_engine(shop: FlowProject) -> None:
    """Failures, retries, changed arguments, wrong calls and classes of the script are as always."""
    shop.write("main.py", FALLS_BACK)
    seen = []
    for config, executions in (
        (FAST, {"odd": 1, "takes": 3, "fails": 2}),
        (FAST, {"takes": 3, "fails": 2}),
        (SLOW, {"takes": 3, "fails": 2}),
    ):
        shop.configure(config)
        outcome = shop.run("main.py").ok()
        assert dict(outcome.executions) == executions
        seen.append(next(line for line in outcome.output.splitlines() if line.startswith("seen")))
    assert seen[0] == seen[1] == seen[2]
    assert "seen True [1, 2, 2, 2, 'ValueError(2)'" in seen[0]
