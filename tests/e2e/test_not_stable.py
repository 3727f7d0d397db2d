"""What differs from run to run although nobody changes it is named in a warning, and in cache explain."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
import os, random, time, uuid
from uuid import uuid4

from executions import ran
from expops_prefect import flow, task

RUN = uuid4().hex
STARTED = {"at": time.time()}
FILLING = [object() for _ in range(os.getpid() % 1000 * 7 + 1)]
TEXT = f"{object()}"
FIXED = uuid.uuid5(uuid.NAMESPACE_DNS, "shop").hex
random.seed(0)
DRAWN = random.random()


class Shifting:
    def __getstate__(self):
        return {"drawn": uuid4().hex}


class Steady:
    pass


@task
def by_id(x):
    ran("by_id")
    return len(RUN) + x


@task
def by_time(x):
    ran("by_time")
    return len(STARTED) + x


@task
def by_address(x):
    ran("by_address")
    return len(TEXT) + x


@task
def by_argument(shifting, steady):
    ran("by_argument")
    return 1


@task
def steady(x, more):
    ran("steady")
    return len(FIXED) + DRAWN + x


@flow
def main():
    for _ in range(2):
        by_id(1), by_time(1), by_address(1), by_argument(Shifting(), Steady()), steady(1, Steady())


main()
"""
UNSTABLE = {"by_id": "RUN", "by_time": "STARTED", "by_address": "TEXT", "by_argument": "shifting"}


def test_it_is_named(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path)
    shop.write("flow.py", FLOW)
    for run, executed in enumerate(({**dict.fromkeys(UNSTABLE, 1), "steady": 1}, dict.fromkeys(UNSTABLE, 1))):
        done = shop.run("flow.py").ok()
        # A constant is the same for as long as its process lives.
        assert done.executions == {**executed, "by_argument": 2}, (run, done.output)
        warnings = [line for line in done.output.splitlines() if "not stable" in line and "WARNING" in line]
        assert len(warnings) == len(UNSTABLE), done.output
        for task, name in UNSTABLE.items():
            assert sum(task in line and name in line and "register_fingerprint" in line for line in warnings) == 1
    found = shop.project().explain(shop.last_run().run_id)
    for task, name in UNSTABLE.items():
        answers = [item for item in found if item.label.startswith(task) and item.because not in ("calls", "hit")]
        assert answers
        for item in answers:
            assert item.because == "not stable", item
            assert name in item.reason
            assert "is not stable" in item.reason
