"""What a task run costs on Google Cloud, counted at the clients."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from tests.support.backends import Cloud

FLOW = """
import json
from executions import ran
from expops_prefect import Project, flow, task


@task
def work(n):
    ran("work")
    return [n] * 20_000  # not so small that it stands in the record


TASKS = [work.with_options(name=f"work{number}") for number in range(20)]


@flow
def main():
    for one in TASKS:
        one(3)


if __name__ == "__main__":
    project = Project.open()
    for _ in range(2):
        project.kv.calls.clear()
        project.objects.calls.clear()
        main()
        print(json.dumps([project.kv.calls, project.objects.calls]))
"""
TASKS = 20
RUN_READS = 3
"""Whether the run is known already, what failed in other processes, where its metrics stand."""
RUN_WRITES = 14
"""A run's own documents at its start and end, rows that were delivered once while running, a counter: the more, the
slower the machine is, because a delivery comes every half second."""


def test_calls_of_task_runs(tmp_path: Path, cloud: Cloud) -> None:
    shop = cloud.project(tmp_path, "gcp-gcs", f"shop-{uuid.uuid4().hex[:8]}")
    shop.write("main.py", FLOW)
    done = shop.run("main.py").ok()
    assert done.executions == {"work": TASKS}
    missed, hit = [json.loads(line) for line in done.output.splitlines() if line.startswith("[{")]
    kv, objects = missed
    assert kv["reads"] <= TASKS + RUN_READS, "a record looked up for each task run, and the run's own"
    assert kv["writes"] <= 2 * TASKS + RUN_WRITES
    assert objects == {"writes": TASKS + 1, "bytes_written": objects["bytes_written"]}, "and the sources of their code"
    kv, objects = hit
    assert kv["reads"] <= TASKS + RUN_READS + 2
    assert kv["writes"] <= 2 * TASKS + RUN_WRITES, "a row each, and the number of hits with every delivery"
    assert objects == {"reads": TASKS, "bytes_read": objects["bytes_read"]}
