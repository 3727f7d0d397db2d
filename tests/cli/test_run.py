"""``expops-prefect run``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Command

if TYPE_CHECKING:
    from tests.expops.bridge.project import ExpOpsProject


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExpOpsProject:
    from tests.expops.bridge.project import ExpOpsProject

    return ExpOpsProject(tmp_path, monkeypatch)


@pytest.mark.usefixtures("prefect_server")
def test_a_run_says_what_was_executed(cli: Command, small: ExpOpsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("run", "--project", small.root)
    assert done.code == 0, done.err
    assert re.search(r"^fit P1 S41 +completed ", done.out, re.MULTILINE)
    assert done.lines[-1].endswith("completed: 14 executed, 0 from the cache")

    done = cli("run", "--project", small.root, "--param", "load.count=6", "--json")
    assert done.code == 0, done.err
    found = done.json()
    assert found["status"] == "completed"
    assert {row["status"] for row in found["rows"]} == {"completed"}

    # The command looks for the project where it is called.
    monkeypatch.chdir(small.root / "src")
    monkeypatch.setenv("BROKEN", "42")
    small.edit("src/model.py", 'log_metric("drawn"', 'log_metric("drawn!"')
    done = cli("run")
    assert done.code == 1
    assert done.lines[-1].endswith("failed: 4 executed, 2 of them failed, 6 from the cache")


def test_a_wrong_parameter(cli: Command, small: ExpOpsProject) -> None:
    done = cli("run", "--project", small.root, "--param", "rate")
    assert (done.code, done.err.strip()) == (2, "--param rate: write NAME=VALUE or PROCESS.NAME=VALUE")


def test_a_folder_without_a_configuration(cli: Command, tmp_path: Path) -> None:
    done = cli("run", "--project", tmp_path)
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1] == (
        f"there is no pipeline to run: {tmp_path} holds no configs/project_config.yaml; go to the folder of an ExpOps "
        "project, or name it"
    )


def test_a_wrong_pipeline_is_one_line(cli: Command, small: ExpOpsProject) -> None:
    small.edit("configs/project_config.yaml", "code: define_fit", "code: fitt")
    done = cli("run", "--project", small.root)
    assert done.code == 1
    assert done.out == ""
    assert "processes.fit.code is 'fitt'" in done.err
    assert len(done.err.splitlines()) == 1
