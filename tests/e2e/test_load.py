"""Many flow runs at once on one project, and more metric points than anybody logs."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.backends import Cloud
from tests.support.processes import FlowProject

CONFIG = "prefect: {project_id: shop, cache: {default: all}, record: {artifacts: false}}\n"
FLOW = """
import json
import os
import sys

from executions import ran
from expops_prefect import flow, log_metric, task


@task
def shared(number):
    ran(f"shared-{number}")
    log_metric("shared", number)
    return number


@task
def own(number, run):
    ran("own")
    for step in range(20):
        log_metric("loss", step)
    return number + run


@task
def total(numbers):
    ran("total")
    return sum(numbers)


@flow
def main(run):
    return total([own(shared(number), run) for number in range(3)])


processes, each = map(int, sys.argv[1:])
children = []
for process in range(processes):
    child = os.fork()
    if child == 0:
        found = {run: main(run) for run in range(process * each, (process + 1) * each)}
        with open(f"answer-{process}.json", "w") as out:
            json.dump(found, out)
        sys.exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
POINTS = """
import resource
import sys
import time

import psutil
from expops_prefect import flow, log_metrics, task

NAMES = [f"metric-{number}" for number in range(100)]


@task
def offer(seconds, rate):
    process, began, offered, most = psutil.Process(), time.perf_counter(), 0, 0
    before = process.memory_info().rss
    while (now := time.perf_counter() - began) < seconds:
        while offered < now * rate:
            log_metrics({name: offered + place for place, name in enumerate(NAMES)})
            offered += len(NAMES)
        most = max(most, process.memory_info().rss - before)
        time.sleep(0.001)
    print("OFFERED", offered, most)
    return offered


@flow
def main(seconds):
    return offer(seconds, 100_000)


main(float(sys.argv[1]))
"""

TASK_RUNS = """
import sys
from types import SimpleNamespace
from uuid import uuid4

import psutil
from expops_prefect import Project
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.tracking.runs import start_run

run = start_run(Project.open("."), "main", SimpleNamespace(id=uuid4(), name="long", parameters={}))
for number in range(1, int(sys.argv[1]) + 1):
    task_run = uuid4()
    call = run.begin(task_run, run.new_call(None, "train", "train"))
    run.executing(task_run)
    if number % 10 == 0:
        run.add_metrics(call.path, [LoggedPoint("loss", 1 / number, None)])
    run.end(task_run, "completed")
    if number % 1_000 == 0:
        run.outbox.flush(60)
        print("RSS", number, psutil.Process().memory_info().rss)
run.flow_ended("completed")
"""


@dataclass
class Figures:
    """What came of many flow runs.

    Attributes:
        runs: how many there were.
        lost: what is not in the record, or is not as it should be.
    """

    runs: int
    lost: list[str]

    def __str__(self) -> str:
        return "\n".join([f"{self.runs} flow runs, {len(self.lost)} lost", *self.lost])


def side_by_side(shop: FlowProject, processes: int, each: int) -> Figures:
    """Flow runs in processes that run at the same time."""
    shop.configure(CONFIG)
    shop.write("main.py", FLOW)
    count = processes * each
    output = shop.finish(shop.start("main.py", str(processes), str(each)), 900).ok()
    figures = Figures(count, [])
    answers: dict[str, int] = {}
    for process in range(processes):
        answers |= json.loads((shop.root / f"answer-{process}.json").read_text())
    wrong = {run: result for run, result in answers.items() if result != 3 + 3 * int(run)}
    if wrong or len(answers) != count:
        figures.lost.append(f"{len(answers)} results, {wrong} wrong")
    project = shop.project()
    runs = project.runs()
    if len({run.run_id for run in runs}) != count:
        figures.lost.append(f"{len(runs)} runs, {len({run.run_id for run in runs})} ids")
    for run in runs:
        rows = {row.path: row for row in project.rows(run.run_id)}
        calls = Counter(row.label for row in rows.values() if row.calls)
        sums = {row.label: sum(row.calls.values()) for row in rows.values() if "partition" not in row.path}
        if run.status != "completed" or run.degraded or sums != {"shared": 3, "own": 3, "total": 1} or not calls:
            figures.lost.append(f"{run.run_id}: {run.status}, {run.degraded}, {sums}")
        metrics = project.metrics(run.run_id)
        points = Counter({path: sum(map(len, series.values())) for path, series in metrics.items()})
        if points.total() != 3 + 3 * 20:
            figures.lost.append(f"{run.run_id}: {dict(points)}")
    # Each run has calls of its own. What all share is computed once, or by those that were at it at once.
    if output.executions["own"] != 3 * count or output.executions["total"] != count:
        figures.lost.append(f"executed: {dict(output.executions)}")
    if not all(1 <= output.executions[f"shared-{number}"] <= processes for number in range(3)):
        figures.lost.append(f"executed: {dict(output.executions)}")
    said = re.findall(r".*database is locked.*|.*WARNING.*expops.*", output.output)
    figures.lost += [line for line in said if "is in a temporary folder" not in line][:5]
    print(figures)
    return figures


def on(shop: FlowProject, request: pytest.FixtureRequest, tmp_path: Path, backends: str) -> FlowProject:
    if backends == "local-local":
        return shop
    cloud: Cloud = request.getfixturevalue("cloud")
    return cloud.anywhere(tmp_path / "cloud", backends)


@pytest.mark.local
@pytest.mark.parametrize("where", ["local-local", "gcp-gcs"])
def test_flow_runs_side_by_side(shop: FlowProject, request: pytest.FixtureRequest, tmp_path: Path, where: str) -> None:
    figures = side_by_side(on(shop, request, tmp_path, where), processes=4, each=2)
    assert figures.lost == []


@pytest.mark.local
@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["local-local", "gcp-gcs"])
def test_many_flow_runs_side_by_side(
    shop: FlowProject, request: pytest.FixtureRequest, tmp_path: Path, where: str
) -> None:
    figures = side_by_side(on(shop, request, tmp_path, where), processes=8, each=7)
    assert figures.lost == []


def offered(shop: FlowProject, seconds: int) -> tuple[int, int, int]:
    """Points that were offered, points that are there, bytes of memory that it took."""
    shop.configure(CONFIG)
    shop.write("points.py", POINTS)
    process = shop.start("points.py", str(seconds), stderr=subprocess.STDOUT)
    output = shop.finish(process, 600).ok().output
    (found,) = re.findall(r"^OFFERED (\d+) (\d+)$", output, re.MULTILINE)
    run = shop.last_run()
    assert not run.degraded
    stored = sum(len(series) for path in shop.project().metrics(run.run_id).values() for series in path.values())
    print(f"{found[0]} points in {seconds} s, {int(found[0]) - stored} lost, {int(found[1]) >> 20} MiB more memory")
    return int(found[0]), stored, int(found[1])


@pytest.mark.local
def test_a_hundred_thousand_points_a_second(shop: FlowProject) -> None:
    points, stored, memory = offered(shop, 2)
    assert stored == points > 10_000
    assert memory < 500 << 20


@pytest.mark.local
@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_hundred_thousand_points_a_second_for_longer(shop: FlowProject) -> None:
    points, stored, memory = offered(shop, 10)
    assert stored == points > 100_000
    assert memory < 500 << 20


@pytest.mark.local
@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_recorder_of_a_hundred_thousand_task_runs(shop: FlowProject) -> None:
    """Prefect's own memory grows with them, so the recorder is told of them by itself."""
    shop.configure(CONFIG)
    shop.write("recorder.py", TASK_RUNS)
    done = shop.finish(shop.start("recorder.py", "100000", stderr=subprocess.STDOUT), 1500).ok()
    used = {int(number): int(size) for number, size in re.findall(r"^RSS (\d+) (\d+)$", done.output, re.MULTILINE)}
    (row,) = [row for row in shop.project().rows(shop.last_run().run_id) if row.calls]
    print(f"{row.calls} task runs, {(used[100_000] - used[20_000]) >> 20} MiB more after the first 20,000")
    assert row.calls == {"completed": 100_000}
    assert used[100_000] - used[20_000] < 32 << 20
