"""``graph``: a run's graph drawn, and written into the configuration."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from expops_prefect import Project
from expops_prefect.models.names import normalise
from tests.cli.conftest import NOISY, PREPARE, Command
from tests.config.support import make_project


@pytest.fixture
def copied(recorded: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, to write into."""
    root = tmp_path / "copied"
    shutil.copytree(recorded.settings.root, root)
    monkeypatch.chdir(root)
    return root


PREPARED, NOISED = normalise(PREPARE), normalise(NOISY)


def test_the_graph_of_the_newest_run_is_drawn(cli: Command, copied: Path) -> None:
    drawn = cli("graph")
    assert drawn.code == 0
    assert drawn.lines[0] == Project.open(copied).runs()[0].run_id
    prepared, train, final, noisy = drawn.lines[1:]
    assert prepared.startswith(f"├── {PREPARE}  cached  ")
    (row,) = [row for row in Project.open(copied).rows("latest") if row.label == PREPARE]
    assert ("  saved " in prepared) is bool(row.saved)
    assert train.startswith("│   ├── train (2 calls)  cached  within ")
    assert "saved" not in train
    assert final.startswith("│   └── train_final  cached  ")
    assert final.endswith("  chart")
    assert noisy.startswith("└── noisy  ")
    assert drawn.err.splitlines() == [
        "to show this graph in ExpOps' UI: expops-prefect graph --write",
        f"ExpOps' UI does not draw processes without edges: {NOISED}",
    ]
    before = (copied / "configs" / "project_config.yaml").read_text()
    as_json = cli("graph", Project.open(copied).runs()[1].run_id, "--json").json()
    assert as_json["edges"] == [[PREPARED, "train"], [PREPARED, "train_final"]]
    assert as_json["charts"] == ["train_final"]
    assert as_json["process_adjlist"] == f"{PREPARED} train train_final\n"
    assert (copied / "configs" / "project_config.yaml").read_text() == before


def test_the_graph_is_written(cli: Command, copied: Path) -> None:
    config = Project.open(copied).settings.config_part("train_final")
    written = cli("graph", "latest", "--write")
    file = copied / "configs" / "project_config.yaml"
    assert written.lines == [
        f"wrote the graph of 4 processes into {file}",
        f"new entries: {PREPARED}, train, train_final, {NOISED}",
        "drawn as charts: train_final",
    ]
    assert Project.open(copied).settings.config_part("train_final") == config
    pipeline = yaml.safe_load(file.read_text())["experiment"]["pipeline"]
    assert pipeline["process_adjlist"] == f"{PREPARED} train train_final\n"
    assert pipeline["processes"][2] == {"name": "train_final", "type": "chart"}
    again = cli("graph", "--write", "--json").json()
    assert (again["written"], again["changed"]) == (str(file), False)
    assert cli("graph", "--write").lines == [f"{file} already has this graph"]


def test_there_has_to_be_a_run(cli: Command, tmp_path: Path) -> None:
    root = make_project(tmp_path / "empty", "metadata: {}")
    printed = cli("graph", "--project", root)
    assert (printed.code, printed.out) == (1, "")
    assert printed.err.startswith("no runs yet in SQLite ")
