"""What a run has said of itself is kept, although its process is killed the moment after."""

from __future__ import annotations

import signal

from tests.support.processes import FlowProject

FLOW = """
import os
import signal
import sys
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task

PNG = b"\\x89PNG\\r\\n\\x1a\\n a small picture"


@task
def first(x):
    ran("first")
    log_metric("loss", 0.5)
    return x


@task
def second(x, die):
    ran("second")
    for step in range(100):
        log_metric("loss", step)
    log_chart("curve", PNG)
    log_metric("last", 1)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@flow
def main(die):
    second(first(1), die)


if __name__ == "__main__":
    main(sys.argv[1] == "die")
"""


def test_a_killed_runs_metrics_charts_and_rows_are_there_after_the_next_run(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    killed = shop.run("main.py", "die")
    assert killed.returncode == -signal.SIGKILL
    assert killed.executions == {"first": 1, "second": 1}
    again = shop.run("main.py", "live").ok()
    assert again.executions == {"second": 1}, "the step before was committed"
    project = shop.project()
    new, old = project.runs()
    rows = {row.path: row.status for row in project.rows(old.run_id)}
    assert rows["//process[@name='first']"] == "completed"
    second = "//process[@name='second']"
    assert rows[second] == "failed"
    assert (old.status, old.died) == ("failed", True)
    assert (new.status, new.died) == ("completed", False)
    metrics = project.metrics(old.run_id)[second]
    assert metrics == {"loss": {str(step + 1): step for step in range(100)}, "last": {"1": 1}}
    (chart,) = project.charts(old.run_id)[second]
    assert project.objects.get(chart["object_key"]) == b"\x89PNG\r\n\x1a\n a small picture"
    assert project.metrics(new.run_id)[second] == metrics
    for folder in ("outbox", "alive"):
        assert not list((project.settings.runtime_dir / folder).iterdir())
