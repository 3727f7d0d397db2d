"""What a task run costs on Google Cloud, counted at the clients.

Two flow runs of different sizes tell the cost of a task run from that of the run itself. Rows are
delivered once, at the end: with the default of half a second, those of task runs that a delivery
finds running cost one write more, and how many those are depends on how fast the machine is.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path

from tests.support.backends import Cloud

FLOW = """
import json
import shutil
import numpy as np
from executions import ran
from expops_prefect import Project, flow, task


@task
def work(n):
    ran("work")
    return [n] * 20_000, np.full(40_000, n)  # a manifest too large for the record, and a payload


TASKS = [work.with_options(name=f"work{number}") for number in range(61)]


@flow
def main(first, count):
    for one in TASKS[first : first + count]:
        one(3)


if __name__ == "__main__":
    project = Project.open()
    main(0, 1)  # only the first one stores the sources and the payload, which all share
    for again in range(2):
        for first, count in (1, 20), (21, 40):
            shutil.rmtree(project.settings.runtime_dir / "downloads", ignore_errors=True)
            project.kv.calls.clear()
            project.objects.calls.clear()
            main(first, count)
            print(json.dumps([project.kv.calls, project.objects.calls]))
"""
FEW, MANY = 20, 40


def test_calls_of_task_runs(tmp_path: Path, cloud: Cloud) -> None:
    name, once = f"shop-{uuid.uuid4().hex[:8]}", "  record: {flush_seconds: 600}\n"
    shop = cloud.project(tmp_path, "gcp-gcs", name, once)
    shop.write("main.py", FLOW)
    done = shop.run("main.py").ok()
    assert done.executions == {"work": 1 + FEW + MANY}
    counted = [[Counter(calls) for calls in json.loads(line)] for line in done.output.splitlines() if line[:2] == "[{"]
    executed, executed_more, hit, hit_more = counted

    documents, run = _each(executed[0], executed_more[0])
    assert documents == {"reads": 1, "writes": 2}, "its record is looked up; its record and its row are written"
    assert run == {"reads": 1, "writes": 3, "deletes": 1}, "whether it is known; what is said of it at its end"
    objects, run = _each(executed[1], executed_more[1])
    assert (objects["writes"], run["writes"]) == (1, 0), "a manifest; the payload is there"

    documents, run = _each(hit[0], hit_more[0])
    assert documents == {"reads": 1, "writes": 1}, "its record; its row"
    assert run == {"reads": 3, "writes": 5, "deletes": 1}, "the run that computed it, and what its hits were counted by"
    objects, run = _each(hit[1], hit_more[1])
    assert (objects["reads"], objects["writes"]) == (1, 0), "a manifest"
    assert run["reads"] == 1, "the payload that all share is downloaded once"


def _each(few: Counter[str], many: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    """What a task run costs, and what the run costs besides."""
    each = Counter({kind: (many[kind] - few[kind]) // (MANY - FEW) for kind in many if many[kind] != few[kind]})
    assert all((many[kind] - few[kind]) % (MANY - FEW) == 0 for kind in ("reads", "writes", "deletes")), (few, many)
    run = {kind: few[kind] - FEW * each[kind] for kind in ("reads", "writes", "deletes")}
    rest = Counter({kind: count for kind, count in run.items() if count})
    return Counter({kind: count for kind, count in each.items() if kind in ("reads", "writes", "deletes")}), rest
