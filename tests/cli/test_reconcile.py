"""``runs reconcile``, and what ``runs show`` says of a run that did not go well."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.models import names
from expops_prefect.record.liveness import Heartbeat
from expops_prefect.record.run_records import RunRecord
from tests.cli.conftest import Command
from tests.config.support import make_project

STARTED = 1_700_000_000.0


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "shop", "prefect: {project_id: shop}"))


def open_run(project: Project, run_id: str, last_sign: float) -> RunRecord:
    run = RunRecord(run_id, "shop", "nightly", "f", "n", STARTED, host="elsewhere", pid=7)
    project.kv.put(names.run_record_key(run_id), run.dump())
    project.kv.put(names.sign_key(run_id), Heartbeat(run_id, last_sign, boot="another").dump())
    return run


def test_dead_runs_are_listed_and_ended(cli: Command, project: Project) -> None:
    run = open_run(project, "project-shop-20231114221320-0000abcd", STARTED + 60)
    would = cli("runs", "reconcile", "--dry-run", "--project", project.settings.root)
    assert would.lines[0].split() == ["run", "flow", "process", "started", "last", "heartbeat"]
    assert would.lines[1].startswith("20231114221320-0000abcd  nightly  7 on elsewhere  ")
    assert would.lines[2:] == ["1 run would be marked as failed"]
    assert [run.status for run in project.runs()] == ["running"]

    done = cli("runs", "reconcile", "--json", "--project", project.settings.root).json()
    assert done["dry_run"] is False
    (ended,) = done["runs"]
    assert (ended["run_id"], ended["status"], ended["ended_at"]) == (run.run_id, "failed", STARTED + 60)
    assert [run.status for run in project.runs()] == ["failed"]
    assert cli("runs", "reconcile", "--project", project.settings.root).lines == ["every open run is alive"]
    shown = cli("runs", "show", "latest", "--project", project.settings.root)
    assert shown.lines[-1] == "its process, 7 on elsewhere, died; its end is its last heartbeat"


def test_a_project_without_runs_stays_without_a_database(cli: Command, project: Project) -> None:
    done = cli("runs", "reconcile", "--project", project.settings.root)
    assert (done.code, done.lines) == (0, ["every open run is alive"])
    assert not (project.settings.root / ".shop" / "metrics.sqlite").exists()


def test_what_was_degraded_is_shown_with_how_often_and_since_when(cli: Command, project: Project) -> None:
    run = RunRecord("project-shop-20231114221320-0000abcd", "shop", "nightly", "f", "n", STARTED, status="completed")
    value = {**run.dump(), "degraded": {"record delayed": 3, "old": 1}, "degraded_since": {"record delayed": STARTED}}
    project.kv.put(names.run_record_key(run.run_id), value)
    lines = cli("runs", "show", "latest", "--project", project.settings.root).lines
    assert lines[-1] == "degraded: old, 1 times"
    assert lines[-2].startswith("degraded: record delayed, 3 times, since 2023-11-1")
    as_json = cli("runs", "show", "latest", "--json", "--project", project.settings.root).json()
    assert as_json["degraded_since"] == {"record delayed": STARTED}
