"""Space is freed while a flow runs."""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest

from expops_prefect.maintenance import Policy, Selection, collect, invalidate, verify
from expops_prefect.models.names import CACHE_PREFIX, PAYLOAD_PREFIX
from expops_prefect.project import Project
from tests.support.processes import FlowProject

FLOW = """
import os

import numpy as np
from executions import ran
from expops_prefect import flow, task


@task
def load(n):
    ran("load")
    return np.arange(n, dtype=float)


@task
def again(n):
    ran("again")
    return np.ones(n)


@task
def total(first, second):
    ran("total")
    return first.sum() + second.sum()


@flow
def main():
    first, second = load(50_000), again(60_000)
    if os.environ.get("GATE"):
        open(os.environ["GATE"]).read()
    print("sum", total(first, second))


if __name__ == "__main__":
    main()
"""


def grow_old(project: Project) -> None:
    for info in project.objects.list(CACHE_PREFIX):
        os.utime(project.objects.uri(info.key), (time.time() - 20_000,) * 2)


@pytest.mark.local
def test_beside_a_flow(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    assert shop.run("main.py").ok().executions == {"load": 1, "again": 1, "total": 1}
    project = shop.project()
    assert [entry.task for entry in invalidate(project, Selection(process="again"))] == ["again"]
    assert [entry.task for entry in invalidate(project, Selection(process="total"))] == ["total"]
    grow_old(project)
    payloads = {info.key for info in project.objects.list(PAYLOAD_PREFIX)}

    gate = shop.folder / "gate"
    os.mkfifo(gate)
    process = shop.start("main.py", env={"GATE": str(gate)})
    with gate.open("w"):
        # It has stored what `again` returns, whose payload no record had referred to for hours.
        during = collect(project)
        assert during.freed == 3, "the former manifests of `again` and `total`, and the sources of `total`"
        assert {info.key for info in project.objects.list(PAYLOAD_PREFIX)} == payloads
        assert collect(project, Policy(older_than=timedelta(hours=1))).dropped == ()
    assert shop.finish(process).ok().executions == {"again": 1, "total": 1}
    assert verify(project).broken == ()

    hits = shop.run("main.py").ok()
    assert hits.total == 0
    assert "sum 1250035000.0" in hits.output
