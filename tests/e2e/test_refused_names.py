"""Names that Firestore refuses as ids or fields: what bears them is recorded and cached all the same."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.support.backends import Cloud

FLOW = """
import json
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task

NAMES = json.load(open("names.json"))


@task
def work(number):
    ran("work")
    for name in NAMES:
        log_metric(name, number)
        log_chart(name, b"\\x89PNG\\r\\n\\x1a\\n" + name.encode())
    return number


@flow
def main():
    for number, name in enumerate(NAMES):
        work.with_options(name=name)(number)


if __name__ == "__main__":
    main()
"""
NAMES = ["__x__", ".", "..", "a/b", "a.b`c", "x" * 1600, "ünï 日本", " "]


@pytest.mark.parametrize("project_id", ["__shop__{}", "x.{}.."])
def test_names_that_firestore_refuses(tmp_path: Path, cloud: Cloud, project_id: str) -> None:
    shop = cloud.project(tmp_path, "gcp-gcs", project_id.format(uuid.uuid4().hex[:8]))
    shop.write("main.py", FLOW)
    shop.write("names.json", json.dumps(NAMES))
    done = shop.run("main.py").ok()
    assert done.executions == {"work": len(NAMES)}
    assert "degraded" not in done.output
    project, run = shop.project(), shop.last_run()
    rows = project.rows(run.run_id)
    assert len(rows) == len(NAMES)
    assert {row.status for row in rows} == {"completed"}
    metrics = project.metrics(run.run_id)
    # Some are shown with look-alikes; no two become one, and each has its point.
    assert {(len(found), *map(len, found.values())) for found in metrics.values()} == {(len(NAMES), *[1] * len(NAMES))}
    assert len(metrics) == len(NAMES)
    assert {".", "..", "a/b", "ünï 日本"} <= set.intersection(*map(set, metrics.values()))
    charts = project.charts(run.run_id)
    stored = [[project.objects.get(chart["object_key"]) for chart in found] for found in charts.values()]
    assert {len(found) for found in stored} == {len(NAMES)}
    assert len(stored) == len(NAMES)
    assert {data[8:].decode() for found in stored for data in found if data} == set(NAMES)
    assert shop.run("main.py").ok().total == 0
