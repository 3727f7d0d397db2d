"""The real ExpOps server shows runs of a real flow: projects, runs, graph, statuses, charts, metrics."""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import FlowProject
from tests.support.server import Server, clean_environment, free_port, wait_until

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
prefect: {project_id: shop}
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


class ExpOps:
    """The real server over one workspace folder."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.url = url

    def bytes(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}/api{path}", timeout=20) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        return json.loads(self.bytes(path))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    made = FlowProject(tmp_path_factory.mktemp("workspace"), CONFIG)
    made.write("main.py", FLOW)
    return made


@pytest.fixture(scope="module")
def expops(shop: FlowProject) -> Iterator[ExpOps]:
    port = free_port()
    env = {**clean_environment(shop.folder / "home"), "MLOPS_WORKSPACE_DIR": str(shop.folder)}
    command = [sys.executable, "-m", "uvicorn", "expops.web.server:app", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    server = Server(command, f"{url}/api/projects", shop.folder / "expops.log", env, cwd=shop.folder)
    try:
        yield ExpOps(server, url)
    finally:
        server.stop()


def statuses(expops: ExpOps, run: str) -> dict[str, str]:
    found = expops.json(f"/projects/shop/runs/{run}/status")
    return {**found["process_status"], "": found["status"]}


def test_a_run_is_seen_while_it_runs_and_afterwards(shop: FlowProject, expops: ExpOps, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    process = shop.start("main.py", env={"GATE": str(gate)})
    train = "//process[@name='train']"
    try:
        wait_until(lambda: shop.executions()["train"] == 2, 60, "both calls of train have begun")
        run = shop.last_run().run_id
        wait_until(lambda: statuses(expops, run).get(train) == "running", 20, "the server shows train running")
        assert statuses(expops, run)[""] == "running"
        assert statuses(expops, run)["//process[@name='load']"] == "completed"
        loss = f"/projects/shop/runs/{run}/metrics/" + urllib.parse.quote(
            "//*[@partition='p1']/process[@name='train']", ""
        )
        wait_until(lambda: "loss" in str(expops.json(loss)), 20, "metrics are seen while the task runs")
    finally:
        gate.touch()
        ended = shop.finish(process)
    ended.ok()
    assert ended.executions == {"load": 1, "train": 2, "scale": 2, "report": 1}
    found = statuses(expops, run)
    assert found[""] == "completed"
    assert {found[f"//process[@name='{name}']"] for name in ("load", "train", "report")} == {"completed"}

    assert [project["id"] if isinstance(project, dict) else project for project in _list(expops.json("/projects"))] == [
        "shop"
    ]
    assert run in str(expops.json("/projects/shop/runs"))
    graph = json.dumps(expops.json("/projects/shop/graph"))
    assert all(f'"{name}"' in graph or f"'{name}'" in graph for name in ("load", "train", "report"))


def test_a_cached_run_shows_status_metrics_and_charts(shop: FlowProject, expops: ExpOps) -> None:
    shop.run("main.py").ok()
    again = shop.run("main.py").ok()
    assert again.total == 0
    run = shop.last_run().run_id
    found = statuses(expops, run)
    assert {name: status for name, status in found.items() if name != "status"} | {"": "completed"} == found
    assert found["//process[@name='train']"] == "cached"
    assert found["//*[@partition='p2']/process[@name='train']"] == "cached"

    def metrics(path: str) -> Any:
        answer = expops.json(f"/projects/shop/runs/{run}/metrics/{urllib.parse.quote(path, '')}")
        return answer.get("metrics", answer)

    assert metrics("//process[@name='load']")["rows"] == {"1": 6}
    assert metrics("//process[@name='load']")["ratio"] == {"1": "NaN"}
    assert metrics("//*[@partition='p1']/process[@name='train']")["loss"] == {"1": 0.5, "2": 0.25}
    assert metrics("//*[@partition='p2']/process[@name='train']")["loss"] == {"1": 0.25, "2": 0.125}
    # A step's metrics are carried over with the process that hit.
    assert metrics("//*[@partition='p2']/process[@name='train']/step[@name='scale']")["scaled"] == {"1": 1.5}

    charts = expops.json(f"/projects/shop/runs/{run}/charts")
    (item,) = _charts(charts)["report"]["items"]
    query = urllib.parse.urlencode({"uri": item["object_path"], "cache_path": item["cache_path"]})
    assert expops.bytes(f"/projects/shop/runs/{run}/charts/fetch?{query}").startswith(b"\x89PNG")


def test_a_failed_run_is_shown_as_failed(shop: FlowProject, expops: ExpOps) -> None:
    failed = shop.run("main.py", env={"FAIL": "1"})
    assert failed.returncode != 0
    found = statuses(expops, shop.last_run().run_id)
    assert found[""] == "failed"
    assert found["//process[@name='broken']"] == "failed"


def _list(answer: Any) -> list[Any]:
    return list(answer["projects"] if isinstance(answer, dict) else answer)


def _charts(answer: Any) -> Any:
    return answer.get("charts", answer)
