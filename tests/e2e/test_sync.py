"""A project is copied to other stores, where its flows hit."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from tests.support.backends import Cloud
from tests.support.processes import FlowProject, Outcome

FLOW = """
import numpy as np
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task


@task
def step(values):
    ran("step")
    log_metric("inner", 1)
    return values * 2


@task
def load(n):
    ran("load")
    log_metric("rows", n)
    log_chart("picture", b"\\x89PNG\\r\\n\\x1a\\n a small picture")
    return step(np.arange(n, dtype=float))


@flow
def main():
    print("sum", load(50_000).sum())


if __name__ == "__main__":
    main()
"""


def _sync(shop: FlowProject, *arguments: str) -> dict[str, int]:
    outcome: Outcome = shop.run("-m", "expops_prefect.cli.main", "sync", "--json", *arguments).ok()
    found: dict[str, int] = json.loads(outcome.output)
    return found


def test_there_and_back_again(tmp_path: Path, cloud: Cloud) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    shop = cloud.project(tmp_path / "one", "local-local", name)
    shop.write("main.py", FLOW)
    assert shop.run("main.py").ok().executions == {"load": 1, "step": 1}
    target = ("--to", "gcp", "--gcp-project", "demo-test", "--bucket", cloud.bucket)
    copied = _sync(shop, *target)
    assert copied["runs"] == 1
    assert copied["records"] == 3, "load, step, and the step's alias"
    assert copied["objects"] == 6, "two manifests, one payload that both share, sources of two tasks, a chart"
    again = _sync(shop, *target)
    assert (again["runs"], again["records"], again["objects"], again["damaged"]) == (0, 0, 0, 0)
    assert again["skipped"] == 10

    # Another machine, which knows only the cloud.
    other = cloud.project(tmp_path / "two", "gcp-gcs", name)
    other.write("main.py", FLOW)
    assert other.run("main.py").ok().total == 0
    new, old = other.project().runs()
    assert old.run_id == shop.last_run().run_id
    project = other.project()
    assert project.metrics(old.run_id) == shop.project().metrics(old.run_id)
    assert {item.because for item in project.explain(new.run_id)} == {"hit"}
    assert {item.because for item in project.explain(old.run_id)} == {"new"}
    assert len(list(project.objects.list("cache/sources/"))) == 2, "what explains a miss comes along"
    (chart,) = project.charts(old.run_id)["//process[@name='load']"]
    assert chart["cache_path"].startswith(f"gs://{cloud.bucket}/{name}/artifacts/")
    assert {row.path: row.status for row in project.rows(old.run_id)} == {
        row.path: row.status for row in shop.project().rows(old.run_id)
    }

    # And a third takes it all home.
    home = cloud.project(tmp_path / "three", "gcp-gcs", name)
    home.write("main.py", FLOW)
    assert _sync(home, "--to", "local")["runs"] == 2
    home.configure(cloud.config("local-local", name))
    assert home.run("main.py").ok().total == 0
    assert len(home.project().runs()) == 3
    assert home.project().metrics(new.run_id) == project.metrics(new.run_id)
