"""Artifacts in a real Prefect server, of a flow that runs in this process."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from expops_prefect import Project, flow, log_chart, log_metric, task
from expops_prefect._internal.process import of_process
from expops_prefect.tracking import artifacts
from expops_prefect.tracking.artifacts import wait_for_artifacts
from tests.config.support import make_project

pytestmark = pytest.mark.usefixtures("prefect_server")

PNG = b"\x89PNG\r\n\x1a\n a small picture"


@task
def load(n: int) -> list[int]:
    log_metric("rows", n)
    return list(range(n))


@task
def report(rows: list[int], salt: str) -> int:
    log_metric("loss", 0.5)
    log_metric("loss", 0.25)
    log_chart("a [chart]", PNG)
    return len(rows)


@task
def nothing(n: int) -> None:
    return None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_project(tmp_path / "shop", f"prefect: {{project_id: shop-{uuid4().hex[:6]}}}")


def found(**filters: Any) -> list[dict[str, Any]]:
    """Artifacts in the server, oldest first."""
    url = f"{os.environ['PREFECT_API_URL']}/artifacts/filter"
    answer = httpx.post(url, json={"artifacts": filters, "sort": "ID_DESC", "limit": 100}, timeout=60)
    answer.raise_for_status()
    return list(reversed(answer.json()))


def of_run(project: Project, number: int) -> Iterator[dict[str, Any]]:
    """The artifacts of a flow run by key; the newest run is number 0."""
    yield from found(flow_run_id={"any_": [project.runs()[number].flow_run_id]})


def run(root: Path, salt: str) -> int:
    @flow(project=root)
    def main() -> int:
        nothing(1)
        return report(load(3), salt)

    result = main()
    assert wait_for_artifacts(60)
    return result


def test_a_run_its_metrics_and_the_sources_of_hits(root: Path) -> None:
    salt = uuid4().hex
    assert run(root, salt) == run(root, salt) == 3
    project = Project.open(root)
    second, first = project.runs()
    key = f"expops-{project.project_id}"

    executed = {item["key"]: item for item in of_run(project, 1)}
    assert set(executed) == {key, f"{key}-metrics"}
    text = executed[key]["data"]
    assert "**completed**: 3 executed, 0 from the cache" in text
    assert "no result yet for these inputs, configuration and code" in text
    assert "![a \\[chart\\]](data:image/png;base64," in text
    drawn = text.partition("```mermaid\n")[2].partition("\n```\n")[0]
    said = dict(re.findall(r'(n\d)\["(.*?)(?:<br/>|, )', drawn))
    load, made = (node for label in ("load", "report") for node, name in said.items() if name == label)
    assert re.findall(r"n\d --> n\d", drawn) == [f"{load} --> {made}"]
    assert drawn.count(":::executed") == 3
    rows = json.loads(executed[f"{key}-metrics"]["data"])
    assert [(item["process"], item["metric"], item["last"], item["points"]) for item in rows] == [
        ("load", "rows", 3, 1),
        ("report", "loss", 0.25, 2),
    ]

    cached = {item["key"]: item for item in of_run(project, 0)}
    text = cached[key]["data"]
    assert (text.count(":::executed"), text.count(":::cached")) == (1, 2)
    assert "**completed**: 1 executed, 2 from the cache" in text
    assert f"(http://{PREFECT_API_URL.value().split('/')[2]}/runs/flow-run/{first.flow_run_id})" in text
    assert "it returns None, so it is executed every time" in text
    assert json.loads(cached[f"{key}-metrics"]["data"]) == rows, "a hit's metrics count too"

    executed_by, hit_by = (
        {row.label: row.fields["task_run_id"] for row in project.rows(of.run_id)} for of in (first, second)
    )
    for name in ("load", "report"):
        (link,) = found(task_run_id={"any_": [hit_by[name]]})
        assert f"/runs/task-run/{executed_by[name]})" in link["data"]
        assert first.run_id in link["data"]
    assert found(task_run_id={"any_": [hit_by["nothing"], *executed_by.values()]}) == []
    # Of this process: what another test's stores could not take may be counted there too.
    assert "artifacts not written" not in {**first.degraded, **second.degraded}


def test_they_can_be_switched_off(root: Path) -> None:
    make_project(root, f"prefect: {{project_id: off-{uuid4().hex[:6]}, record: {{artifacts: false}}}}")
    assert run(root, uuid4().hex) == 3
    assert list(of_run(Project.open(root), 0)) == []


def test_a_failure_is_counted_and_the_flow_goes_on(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any) -> str:
        raise RuntimeError("no such summary")

    monkeypatch.setattr("expops_prefect.tracking.summary_text.Summary.markdown", broken)
    assert run(root, uuid4().hex) == 3
    record = Project.open(root).runs()[0]
    assert (record.status, record.degraded) == ("completed", {"artifacts not written": 1})


def test_an_api_that_does_not_answer_holds_nobody_up(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(root, uuid4().hex) == 3
    project = Project.open(root)
    from expops_prefect.tracking.run_summary import RunSummary

    monkeypatch.setattr(artifacts, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(artifacts, "_client", lambda: time.sleep(30))
    before = time.monotonic()
    artifacts.write_artifacts(project, project.runs()[0], RunSummary())
    assert not wait_for_artifacts(0.2)
    assert time.monotonic() - before < 25
    of_process(artifacts._Writers).clear()


def test_another_server_gets_a_client_of_its_own() -> None:
    ours = artifacts._client()
    assert artifacts._client() is ours
    with temporary_settings({PREFECT_API_URL: f"{os.environ['PREFECT_API_URL']}/"}):
        assert artifacts._client() is not ours
