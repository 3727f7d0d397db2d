"""What somebody has damaged in the store: it is left out or unknown, and everything else is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from expops_prefect import Project, names
from expops_prefect.names import process_path
from expops_prefect.records import FIRST, RunRecord
from tests.cli.conftest import Command
from tests.config.support import make_project

ONE, TWO = (f"project-shop-2026010{day}000000-0000abcd" for day in (1, 2))
TRAIN = process_path("train")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with two runs of one process, which logged a loss."""
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    monkeypatch.chdir(root)
    opened = Project.open(root)
    for number, run in enumerate((ONE, TWO)):
        record = RunRecord(run, "shop", "main", "f", "n", 1.7e9 + number, ended_at=1.7e9 + 5, status="completed")
        row = {"status": "completed", "started_at": 1.7e9, "ended_at": 1.7e9 + 1, "execution_time": 1.0}
        opened.kv.put(names.run_record_key(run), record.dump())
        opened.kv.put(names.row_key(run, TRAIN), {**row, "calls": {"completed": 1}})
        opened.kv.put(names.metrics_key(run, TRAIN), {"loss": {"1": 0.5 + number}})
    return opened


def change(project: Project, key: str, **fields: Any) -> None:
    project.kv.update(key, lambda value: {**(value or {}), **fields})


@pytest.mark.parametrize(
    ("value", "last"),
    [
        ("x", ""),
        ([1], ""),
        ({"loss": None}, ""),
        ({"loss": [1]}, ""),
        ({"loss": {"a": 1}}, ""),
        ({"loss": {}}, ""),
        ({"loss": {"1": [2]}}, ""),
        ({"loss": {"1": True}}, ""),
        ({"loss": {"1": "soon"}}, ""),
        ({"loss": {"9" * 30: 1}}, ""),
        ({"loss": {"1": 3, "2": None, "x": 4}}, "loss 3"),
        ({"loss": {"1": 3, "2": "NaN"}, "other": None}, "loss NaN"),
    ],
)
def test_metrics(cli: Command, project: Project, value: Any, last: str) -> None:
    project.kv.put(names.metrics_key(TWO, TRAIN), value)
    project.kv.put(f"{names.metrics_prefix(TWO)}odd", {"loss": {"1": 1}})
    shown = cli("runs", "show", "latest")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[2].endswith(last or "1.00 s")
    assert cli("runs", "show", "latest", "--json").code == 0
    compared = cli("runs", "diff", ONE, TWO)
    assert (compared.code, compared.err) == (0, "")
    (line,) = [line.split() for line in compared.lines if line.startswith("loss")]
    assert line[2:4] == ["0.5", last.removeprefix("loss ") or "absent"]
    assert set(project.metrics(TWO).frame()["process"]) == ({"train"} if last else set())
    (newest,) = project.runs(limit=1)
    assert "train" in newest._repr_html_()  # type: ignore[attr-defined]


@pytest.mark.parametrize("when", [10**18, -(10**18), 1e308, -1e308])
def test_times(cli: Command, project: Project, when: float) -> None:
    change(project, names.run_record_key(TWO), started_at=when, degraded={"late": 1}, degraded_since={"late": when})
    change(project, names.row_key(TWO, TRAIN), started_at=when, ended_at=when, execution_time=when)
    second = names.row_key(TWO, process_path("score"))
    change(project, second, status="cached", calls={"cached": 1}, cached_run_id=ONE, cached_ended_at=when)
    change(project, second, cached_execution_time=when, **{FIRST: {}})
    for arguments in (("runs", "list"), ("runs", "diff", ONE, TWO)):
        done = cli(*arguments)
        assert (done.code, done.err) == (0, "")
        assert "unknown" in done.out
    for command in (("runs", "show"), ("cache", "explain")):
        done = cli(*command, TWO)
        assert (done.code, done.err) == (0, "")
        assert done.lines[0].endswith("completed, unknown")
        assert max(map(len, done.lines)) < 150
    frame = project.runs().frame()
    assert frame["started"].isna().sum() == 1


def test_charts(cli: Command, project: Project) -> None:
    for number, value in enumerate(["x", {"items": None}, {"items": [1, {"title": "scores"}]}]):
        project.kv.put(names.charts_key(TWO, process_path(f"p{number}")), value)
    shown = cli("runs", "show", TWO)
    assert (shown.code, shown.err) == (0, "")
    assert [line for line in shown.lines if line.startswith("chart ")] == ["chart scores of p2: None"]
