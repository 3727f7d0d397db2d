"""What somebody has damaged in the store: it is left out or unknown, and everything else is shown."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from expops_prefect import Project
from expops_prefect.errors import FormatError
from expops_prefect.maintenance.entries import remove_unreadable
from expops_prefect.models import names
from expops_prefect.models.names import CacheKey, process_path
from expops_prefect.record.liveness import Heartbeat
from expops_prefect.record.process_rows import FIRST
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.support.cached import read, store
from tests.support.result_stores import own_key

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


def parsed_key(key: str) -> CacheKey:
    parsed = CacheKey.parse(key)
    assert parsed is not None
    return parsed


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


def spoil(project: Project, key: str) -> None:
    """What stands under a key is no JSON, as no store writes it."""
    assert isinstance(project.kv, SQLiteKV)
    with closing(sqlite3.connect(project.kv.path)) as connection, connection:
        connection.execute("INSERT OR REPLACE INTO kv(key, value, updated_at) VALUES (?, '{broken', 0)", (key,))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_record_that_is_no_json(cli: Command, project: Project, place: int) -> None:
    stored = sorted(own_key(name) for name in ("one", "two", "three"))
    for number, key in enumerate(stored):
        store(project, key, number)
    bad = parsed_key(stored[place]).record_key
    spoil(project, bad)
    spoil(project, names.use_key("x"))

    listed = cli("cache", "list", "--json")
    assert listed.code == 0
    assert [item["key"] for item in listed.json()] == [key for key in stored if key != stored[place]]
    assert cli("cache", "list", "--limit", 3).code == 0
    assert cli("cache", "gc", "--dry-run").code == 0
    assert cli("cache", "invalidate", "other", "--dry-run").err.startswith("no cached result matches")

    found = cli("cache", "verify")
    assert found.code == 1
    assert [line.split() for line in found.lines if "DAMAGED" in line] == [[bad, "DAMAGED"]]
    assert "2 records verified" in found.out
    assert "read: 1 broken" in found.out
    assert "verify --repair" in found.err
    assert cli("cache", "verify", "--json").json()["unreadable"] == [bad]
    repaired = cli("cache", "verify", "--repair")
    assert repaired.code == 0
    assert "read: 1 broken, 1 removed" in repaired.out
    assert project.kv.get(bad) is None
    assert (project.kv.get(names.removed_key(bad)) or {})["how"] == "repaired"
    assert cli("cache", "verify").lines[-1].endswith("none broken")
    assert [read(project, key) for key in stored] == [None if n == place else n for n in range(3)]


def test_a_record_that_was_written_again_is_not_removed(project: Project) -> None:
    bad = parsed_key(own_key("one")).record_key
    store(project, own_key("one"), 1)
    assert remove_unreadable(project, [bad], "repaired") == 0
    assert read(project, own_key("one")) == 1


def test_records_of_runs_that_are_no_json(cli: Command, project: Project) -> None:
    spoil(project, names.run_record_key(ONE))
    spoil(project, names.row_key(TWO, process_path("a")))
    spoil(project, names.metrics_key(TWO, process_path("a")))
    spoil(project, names.charts_key(TWO, process_path("a")))
    assert [run["run_id"] for run in cli("runs", "list", "--json").json()] == [TWO]
    for arguments in (("runs", "show", "latest"), ("cache", "explain", "latest"), ("graph",)):
        done = cli(*arguments)
        assert done.code == 0
        assert "train" in done.out
    assert "is not JSON" in cli("runs", "show", ONE).err
    with pytest.raises(FormatError, match="is not JSON"):
        project.run(ONE)


def test_explained_beside_records_that_are_no_json(cli: Command, project: Project) -> None:
    key = own_key("one")
    for run, status in ((ONE, "completed"), (TWO, "completed")):
        change(project, names.row_key(run, TRAIN), cache_key=key, miss="absent", miss_reason="no result", status=status)
    for bad in (parsed_key(key).record_key, names.removed_key(parsed_key(key).record_key)):
        spoil(project, bad)
    assert "is not in the cache any more" in cli("cache", "explain", TWO).out
    change(project, names.row_key(TWO, TRAIN), status="cached", cached_run_id=ONE, cached_ended_at=1.0)
    spoil(project, names.run_record_key(ONE))
    spoil(project, names.row_key(ONE, TRAIN))
    assert f"by run {ONE[-23:]} at" in cli("cache", "explain", TWO).out


def test_one_sign_of_life_that_is_no_json_keeps_no_other_run_open(
    cli: Command, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    change(project, names.run_record_key(TWO), status="running", ended_at=None)
    project.kv.put(names.sign_key(TWO), Heartbeat(TWO, 1.0, host="elsewhere", boot="elsewhere").dump())
    # Where a run's own record is none, its sign says nothing of it.
    project.kv.put(names.sign_key(ONE), Heartbeat(ONE, 1.0, host="elsewhere", boot="elsewhere").dump())
    spoil(project, names.run_record_key(ONE))
    bad = names.sign_key("project-shop-20250101000000-0000abcd")
    spoil(project, bad)
    done = cli("runs", "reconcile", "--json")
    assert (done.code, [run["run_id"] for run in done.json()["runs"]]) == (0, [TWO])
    assert project.kv.get(names.run_status_key(TWO)) == "failed"
    said = [record.message for record in caplog.records if bad in record.message]
    assert said == [f"damaged records: the value of {bad} is not JSON; it is skipped"]
