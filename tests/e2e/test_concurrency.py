"""Many threads and processes write into one run: every point and every count is there."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from prefect.task_runners import ProcessPoolTaskRunner
from executions import ran
from expops_prefect import flow, log_metric, task


@task
def numbers(count):
    ran("numbers")
    return list(range(count))


@task
def work(number):
    ran("work")
    with ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(copy_context().run, log_points, thread)
    return number * 10


def log_points(thread):
    for _ in range(50):
        log_metric("shared", thread)


@task
def total(worked):
    ran("total")
    return sum(worked)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=4))
def main():
    worked = work.map(numbers.submit(8))
    return total.submit(worked).result()


if __name__ == "__main__":
    print("result", main())
"""


def test_threads_and_processes_log_into_one_run(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    first = shop.run("main.py").ok()
    assert "result 280" in first.output
    assert first.executions == {"numbers": 1, "work": 8, "total": 1}
    metrics = shop.metrics()
    assert set(metrics) == {f"p{number}/work" for number in range(1, 9)}
    for series in metrics.values():
        assert list(series["shared"]) == [str(step) for step in range(1, 401)]
        assert sorted(series["shared"].values()) == sorted(number for number in range(8) for _ in range(50))  # type: ignore[type-var]
    assert shop.rows()["//process[@name='work']"].calls == {"completed": 8}
    assert shop.last_run().status == "completed"
    graph = shop.project().graph(shop.last_run().run_id)
    assert graph.edges == (("numbers", "work"), ("work", "total")), "futures are values in worker processes"

    again = shop.run("main.py").ok()
    assert again.total == 0
    assert set(shop.statuses().values()) == {"cached"}
    assert shop.rows()["//process[@name='work']"].calls == {"cached": 8}
    run = shop.last_run().run_id
    assert shop.project().kv.get(f"runs:{run}:stats:cache_hit_count") == 10
    assert shop.metrics() == metrics
