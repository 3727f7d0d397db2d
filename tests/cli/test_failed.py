"""A run that failed says why: what was raised, which call failed first, and where its log is."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect import Project, flow, task
from expops_prefect.models.names import process_path, step_path
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord, with_first_failed
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.tracking.test_artifacts import of_run
from tests.tracking.test_summary import record


@task
def fetch(number: int) -> int:
    if number == 2:
        raise ConnectionError("no answer of postgres://shop:hunter2@db/rows")
    return number


@task
def load(number: int) -> int:
    return fetch(number)


@flow
def below() -> int:
    return load(2)


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = make_project(tmp_path_factory.mktemp("failed") / "shop", "prefect: {project_id: shop}")

    @flow(project=root)
    def nightly(nested: bool) -> None:
        load(1)
        load(2, return_state=True)
        if nested:
            below()
        raise RuntimeError("rows are missing; password=hunter2")

    nightly(False, return_state=True)
    nightly(True, return_state=True)
    return Project.open(root)


@pytest.mark.usefixtures("prefect_server")
def test_a_failed_run_says_why(failed: Project, cli: Command) -> None:
    newest, plain = failed.runs()
    shown = cli("runs", "show", plain.run_id, "--project", failed.settings.root)
    assert "failed: RuntimeError: rows are missing; password=***" in shown.lines
    answer = "no answer of postgres://shop:***@db/rows"
    assert f"failed first: load #2 / fetch: ConnectionError: {answer}" in shown.lines
    (step,) = [row for row in failed.rows(plain) if row.path == plain.failed_path]
    assert f"its log: prefect task-run logs {step.fields['task_run_id']}" in shown.lines
    said = cli("runs", "show", newest.run_id, "--project", failed.settings.root, "--json").json()
    assert said["failure"] == f"ConnectionError: {answer}"
    assert (said["failed_path"], said["failed_because"]) == (plain.failed_path, said["failure"])
    assert said["log"].startswith("prefect task-run logs ")
    whys = {row["failure"] for row in said["rows"] if row["status"] == "failed"}
    assert whys == {said["failure"]}
    assert "hunter2" not in shown.out + str(said)

    (artifact,) = [item["data"] for item in of_run(failed, 1) if item["type"] == "markdown"]
    plain_text = artifact.replace("\\", "")
    assert "- failed: RuntimeError: rows are missing; password=***" in plain_text
    assert f"- failed first: load #2 / fetch: ConnectionError: {answer}" in plain_text
    assert f"`prefect task-run logs {step.fields['task_run_id']}`" in plain_text
    assert "hunter2" not in artifact


def test_what_failed_first_in_any_process() -> None:
    def row(path: str, ended: float, **more: object) -> Row:
        said = {"status": "failed", "ended_at": ended, "failure": f"why {ended}", "log": f"task-run/{ended}", **more}
        return Row.load(path, said)

    train = process_path("train")
    rows = [row(process_path("later"), 3.0), row(train, 2.0), row(step_path(train, "fit"), 2.0)]
    found = with_first_failed(record(status="failed", failed_path="//gone", failed_log="x"), rows)
    assert (found.failed_path, found.failed_because, found.failed_log) == (rows[2].path, "why 2.0", "task-run/2.0")
    assert found.log == "prefect task-run logs 2.0"
    assert with_first_failed(record(status="failed"), []).log == "prefect flow-run logs flow-run"


@pytest.mark.usefixtures("prefect_server")
def test_a_run_that_is_taken_up_again_has_not_failed(tmp_path: Path) -> None:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    tried: list[int] = []

    @flow(project=root, retries=1)
    def twice() -> None:
        tried.append(1)
        load(len(tried) + 1 if len(tried) == 1 else 5)

    twice()
    (run,) = Project.open(root).runs()
    unsaid = RunRecord("", "", "", "", "", 0.0)
    assert (run.status, run.failure, run.failed_path) == ("completed", unsaid.failure, unsaid.failed_path)
