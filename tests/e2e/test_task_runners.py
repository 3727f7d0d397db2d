"""Task runners and workers that run tasks in processes of their own: cached, recorded, with all metrics."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from expops_prefect.models.names import readable
from expops_prefect.record.process_rows import row_labels, single_calls
from tests.support.processes import FlowProject
from tests.support.server import wait_until

FLOW = """
from executions import ran
from expops_prefect import flow, log_metric, task

SETUP

@task
def numbers(count):
    ran("numbers")
    return list(range(count))


@task
def step(number):
    ran("step")
    log_metric("step", number)
    return number * 10


@task
def work(number):
    ran("work")
    for _ in range(3):
        log_metric("seen", number)
    return step(number)


@flow(task_runner=RUNNER)
def main():
    return sum(work.map(numbers.submit(4)).result())


if __name__ == "__main__":
    print("result", main())
"""

RUNNERS = {
    "processes": """
from prefect.task_runners import ProcessPoolTaskRunner
RUNNER = ProcessPoolTaskRunner(max_workers=2)
""",
    "dask": """
from prefect_dask import DaskTaskRunner
CLUSTER = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
RUNNER = DaskTaskRunner(cluster_kwargs=CLUSTER)
""",
    "ray": """
from prefect_ray import RayTaskRunner
RUNNER = RayTaskRunner(init_kwargs={"num_cpus": 2, "include_dashboard": False})
""",
}
PLAIN = """
from executions import ran
from prefect import task
from prefect.cache_policies import INPUTS

import expops_prefect
from expops_prefect import flow, log_metric

SETUP


@task(name="Extract é", cache_policy=INPUTS, persist_result=True)
def accented(number):
    ran("accented")
    log_metric("accented", number)
    return number


@task(name="Extract e")
def bare(number):
    log_metric("bare", number)
    return number


@task
def same(number):
    log_metric("same", number)
    return number


@task
def branch(number):
    log_metric("branch", number)
    return (accented if number % 2 else bare)(number) + same(number)


@task
def failing(number):
    raise ValueError(f"no {number}")


@expops_prefect.task
def spread(first):
    return sum(branch.map([first, first + 1, first + 2, first + 3]).result())


@flow(task_runner=RUNNER)
def main():
    failing.submit(1).wait()
    return sum(branch.map([1, 2]).result()) + spread(3)


if __name__ == "__main__":
    print("result", main())
"""
JOBS = """
import numpy as np
from executions import ran
from expops_prefect import task


@task
def job(number):
    ran("job")
    return {"number": number, "array": np.arange(100_000.0) * number}
"""
SERVE = """
from jobs import job
from prefect.task_worker import serve

serve(job)
"""
CLIENT = """
import time

from jobs import job


def wait(future):
    # Short waits: Prefect's future raises until the server has a state of the new task run, and its
    # event that the task run ended is lost when that comes before the client listens.
    for _ in range(180):
        try:
            future.wait(0.5)
        except RuntimeError:
            time.sleep(0.5)
        if future.state.is_final():
            return
    raise TimeoutError(f"the task run is {future.state}")


for _ in range(2):
    future = job.delay(3)
    wait(future)
    print(future.state.name, future.result()["array"].sum())
"""


@pytest.mark.parametrize("runner", ["dask", pytest.param("ray", marks=pytest.mark.nightly)])
def test_a_local_cluster(shop: FlowProject, runner: str) -> None:
    shop.write("main.py", FLOW.replace("SETUP", RUNNERS[runner]))
    first = shop.run("main.py").ok()
    assert "result 60" in first.output
    assert first.executions == {"numbers": 1, "work": 4, "step": 4}
    metrics = shop.metrics()
    for number in range(4):
        assert metrics[f"p{number + 1}/work"] == {"seen": {str(point): number for point in (1, 2, 3)}}
    second = shop.run("main.py").ok()
    assert "result 60" in second.output
    assert second.executions == {}
    assert shop.metrics() == metrics
    assert set(shop.statuses().values()) == {"cached"}


@pytest.mark.parametrize(
    "runner", ["processes", *(pytest.param(name, marks=pytest.mark.nightly) for name in ("dask", "ray"))]
)
def test_tasks_of_prefects_own_decorator_and_labels_of_one_name(shop: FlowProject, runner: str) -> None:
    shop.write("main.py", PLAIN.replace("SETUP", RUNNERS[runner]))
    first = shop.run("main.py").ok()
    assert "result 42" in first.output
    assert first.executions == {"accented": 3}
    expected: dict[str, dict[str, object]] = {"failing": {}, "spread": {}}
    for number in range(1, 7):
        branch = f"branch #{number}" if number < 3 else f"spread / branch #{number - 2}"
        label, metric = ("Extract é", "accented") if number % 2 else ("Extract e", "bare")
        expected |= {branch: {"branch": number}, f"{branch} / same": {"same": number}}
        expected[f"{branch} / {label}"] = {metric: number}
    assert recorded(shop) == expected
    assert {row.status for path, row in shop.rows().items() if "Extract" in path} == {"completed"}
    failed = shop.rows()["//process[@name='failing']"]
    assert (failed.status, failed.fields["failure"]) == ("failed", "ValueError: no 1")
    second = shop.run("main.py").ok()
    assert "result 42" in second.output
    assert second.executions == {}
    assert recorded(shop) == {path: values for path, values in expected.items() if "spread /" not in path}
    statuses = {row.label: row.status for row in shop.rows().values() if row.label.startswith("Extract")}
    assert statuses == {"Extract é": "cached", "Extract e": "completed"}


def recorded(shop: FlowProject) -> dict[str, dict[str, object]]:
    """The calls of the newest run that are no first ones of several, with the only value of each metric."""
    project, run = shop.project(), shop.last_run().run_id
    labels, metrics = row_labels(project.rows(run)), project.metrics(run)
    found: dict[str, dict[str, object]] = {}
    for row in single_calls(project.rows(run)):
        values = metrics.get(row.path, {})
        assert all(len(points) == 1 for points in values.values()), "no two calls in one row"
        found[readable(row.path, labels)] = {
            name: value for name, points in values.items() for value in points.values()
        }
    return found


def test_background_tasks(shop: FlowProject, tmp_path: Path) -> None:
    for name, text in (("jobs.py", JOBS), ("serve.py", SERVE), ("client.py", CLIENT)):
        shop.write(name, text)
    log = tmp_path / "worker.log"
    worker = shop.start("serve.py")
    executed = shop.executions
    try:
        client = FlowProject.run(shop, "client.py", env={"EXECUTION_LOG": str(log)}).ok()
        assert client.output.count("14999850000.0") == 2, client.output
        assert "Cached" in client.output
        assert not log.exists() or log.read_text() == "", "bodies run in the worker alone"
        first = shop.folder / "executions-1.log"
        wait_until(lambda: first.read_text().split() == ["job"], 10, "the worker executed it once")
        assert executed() == {}
    finally:
        worker.send_signal(signal.SIGINT)
        try:
            worker.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.communicate()
