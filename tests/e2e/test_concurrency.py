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
def work(number):
    ran("work")
    with ThreadPoolExecutor(8) as pool:
        for thread in range(8):
            pool.submit(copy_context().run, log_points, thread)
    return number * 10


def log_points(thread):
    for _ in range(50):
        log_metric("shared", thread)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=4))
def main():
    return sum(future.result() for future in work.map(list(range(8))))


if __name__ == "__main__":
    print("result", main())
"""


def test_threads_and_processes_log_into_one_run(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    first = shop.run("main.py").ok()
    assert "result 280" in first.output
    assert first.executions == {"work": 8}
    metrics = shop.metrics()
    assert set(metrics) == {f"p{number}/work" for number in range(1, 9)}
    for series in metrics.values():
        assert list(series["shared"]) == [str(step) for step in range(1, 401)]
        assert sorted(series["shared"].values()) == sorted(number for number in range(8) for _ in range(50))  # type: ignore[type-var]
    assert shop.rows()["//process[@name='work']"].calls == {"completed": 8}
    assert shop.last_run().status == "completed"

    again = shop.run("main.py").ok()
    assert again.total == 0
    assert set(shop.statuses().values()) == {"cached"}
    assert shop.rows()["//process[@name='work']"].calls == {"cached": 8}
    run = shop.last_run().run_id
    assert shop.project().kv.get(f"runs:{run}:stats:cache_hit_count") == 8
    assert shop.metrics() == metrics
