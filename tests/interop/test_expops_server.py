"""The real ExpOps server shows runs of a real flow: projects, runs, graph, statuses, charts, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.expops import Shown, project_on, serving
from tests.support.processes import FlowProject
from tests.support.server import wait_until

# A project on other backends and its server are made once for all tests of this file.
pytestmark = pytest.mark.xdist_group("expops-server")

CONFIG = """
experiment:
  pipeline:
    process_adjlist: |
      load train
      train report
    processes:
      - name: load
      - name: train
      - name: report
        type: chart
      - name: broken
"""

FLOW = """
import base64, os, time
import numpy as np
from executions import ran
from expops_prefect import flow, task, log_chart, log_metric, log_metrics

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@task
def load(n):
    ran("load")
    log_metrics({"rows": n, "ratio": float("nan")})
    return np.arange(n, dtype=float)


@task
def scale(values):
    ran("scale")
    log_metric("scaled", 1.5)
    return values * 2


@task
def train(values, rate):
    ran("train")
    for epoch in (1, 2):
        log_metric("loss", rate / epoch, step=epoch)
    gate = os.environ.get("GATE")
    while gate and not os.path.exists(gate):
        time.sleep(0.02)
    return float(scale(values).sum() * rate)


@task
def report(results):
    ran("report")
    log_chart("results", PNG)
    return sorted(results)


@task
def broken():
    raise ValueError("on purpose")


@flow
def main():
    values = load(6)
    results = [future.result() for future in train.map([values, values + 1], [0.5, 0.25])]
    report(results)
    if os.environ.get("FAIL"):
        broken()


if __name__ == "__main__":
    main()
"""


TRAIN = "//process[@name='train']"
FIRST, SECOND = (f"//*[@partition='p{number}']/process[@name='train']" for number in (1, 2))


@pytest.fixture(scope="module", params=["local-local", "gcp-gcs", "redis-gcs"])
def combination(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def shop(combination: str, tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    made = project_on(combination, tmp_path_factory.mktemp("workspace"), CONFIG)
    made.write("main.py", FLOW)
    return made


@pytest.fixture(scope="module")
def expops(shop: FlowProject) -> Iterator[Shown]:
    with serving(shop.folder, shop.environ) as server:
        assert server.projects() == [shop.root.name]
        yield server.project(shop.root.name)


def test_a_run_is_seen_while_it_runs_afterwards_and_from_the_cache(
    shop: FlowProject, expops: Shown, combination: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    process = shop.start("main.py", env={"GATE": str(gate)})
    try:
        wait_until(lambda: shop.executions()["train"] == 2, 60, "both calls of train have begun")
        wait_until(lambda: bool(shop.project().runs()), 60, "the run is recorded, which a slow store delays")
        run = shop.last_run().run_id
        wait_until(lambda: expops.statuses(run).get(TRAIN) == "running", 20, "the server shows train running")
        assert expops.statuses(run)[""] == "running"
        wait_until(lambda: expops.statuses(run).get("//process[@name='load']") == "completed", 20, "and load completed")
        wait_until(lambda: expops.metrics(run, FIRST) == {"loss": {"1": 0.5, "2": 0.25}}, 20, "and its metrics")
    finally:
        gate.touch()
        ended = shop.finish(process)
    ended.ok()
    assert ended.executions == {"load": 1, "train": 2, "scale": 2, "report": 1}
    found = expops.statuses(run)
    assert found[""] == "completed"
    assert {found[f"//process[@name='{name}']"] for name in ("load", "train", "report")} == {"completed"}
    assert run in expops.runs()
    graph = str(expops.graph())
    assert all(f"'{name}'" in graph for name in ("load", "train", "report"))

    again = shop.run("main.py").ok()
    assert again.total == 0
    run = shop.last_run().run_id
    runs = expops.runs()
    # Of Redis the server lists runs as Redis lists its keys; the page sorts them by their ids.
    assert (max(runs) if combination.startswith("redis") else runs[0]) == run
    found = expops.statuses(run)
    assert found[""] == "completed"
    assert found[TRAIN] == "cached"
    assert found[SECOND] == "cached"
    _shows_metrics_and_chart(shop, expops, run)


def test_a_failed_run_is_shown_as_failed(shop: FlowProject, expops: Shown) -> None:
    failed = shop.run("main.py", env={"FAIL": "1"})
    assert failed.returncode != 0
    found = expops.statuses(shop.last_run().run_id)
    assert found[""] == "failed"
    assert found["//process[@name='broken']"] == "failed"


def test_runs_with_one_backend_in_the_cloud(tmp_path: Path) -> None:
    shops = [project_on(combination, tmp_path / combination, CONFIG) for combination in ("local-gcs", "gcp-local")]
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for shop in shops:
        shop.write("main.py", FLOW)
        (workspace / shop.root.name).symlink_to(shop.root)
    for shop, process in [(shop, shop.start("main.py")) for shop in shops]:
        shop.finish(process).ok()
    with serving(workspace, shops[0].environ) as server:
        assert server.projects() == sorted(shop.root.name for shop in shops)
        for shop in shops:
            shown = server.project(shop.root.name)
            run = shop.last_run().run_id
            assert shown.runs() == [run]
            found = shown.statuses(run)
            assert found[""] == found[TRAIN] == "completed"
            _shows_metrics_and_chart(shop, shown, run)


def _shows_metrics_and_chart(shop: FlowProject, shown: Shown, run: str) -> None:
    expected = {
        "//process[@name='load']": {"rows": {"1": 6}, "ratio": {"1": "NaN"}},
        FIRST: {"loss": {"1": 0.5, "2": 0.25}},
        SECOND: {"loss": {"1": 0.25, "2": 0.125}},
        # A step's metrics are carried over with the process that hit.
        f"{FIRST}/step[@name='scale']": {"scaled": {"1": 1.5}},
        f"{SECOND}/step[@name='scale']": {"scaled": {"1": 1.5}},
    }
    assert {path: shown.metrics(run, path) for path in expected} == expected
    (item,) = shown.charts(run)["report"]["items"]
    place = "gs://" if shop.project().settings.objects.kind == "gcs" else str(shop.root)
    assert item["object_path"].startswith(place)
    assert shown.chart(run, item).startswith(b"\x89PNG")
