"""A task's label is what people see; labels that would have one name stay apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect import Project, flow, task
from expops_prefect.models.names import apart, normalise, process_path, step_path
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.tracking.test_artifacts import of_run


@task(name="Clean Rows")
def clean(number: int) -> int:
    return number


@task(name="Extract Données")
def extract(number: int) -> int:
    return clean(number)


@task(name="Extract-Donnees")
def other(number: int) -> int:
    return number + 1


@pytest.mark.usefixtures("prefect_server")
def test_labels_are_shown_and_stay_apart(cli: Command, tmp_path: Path) -> None:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")

    @flow(project=root)
    def main() -> int:
        return extract(1) + other(2)

    assert main() == main()
    project = Project.open(root)
    first, second = process_path("Extract-Donnees"), process_path(apart("Extract-Donnees"))
    executed, hits = ({row.path: row.status for row in project.rows(run)} for run in reversed(project.runs()))
    assert executed == dict.fromkeys((first, second, step_path(first, "Clean-Rows")), "completed")
    assert hits == {first: "cached", second: "cached"}, "tasks of one name have keys of their own"
    run = project.runs()[1].run_id
    shown = cli("runs", "show", run, "--project", root)
    names = [line.split("  ")[0] for line in shown.lines[2:5]]
    assert names == ["Extract Données", "Extract Données / Clean Rows", "Extract-Donnees"]
    graph = cli("graph", run, "--project", root)
    assert {line.split("  ")[0].lstrip("├└─ ") for line in graph.lines[1:]} == {"Extract Données", "Extract-Donnees"}
    explained = cli("cache", "explain", run, "--project", root)
    assert {line.split("  ")[0] for line in explained.lines[2:]} == set(names)
    (artifact,) = [item["data"] for item in of_run(project, 1) if item["type"] == "markdown"]
    assert "| completed | Extract Données |" in artifact
    assert ": Extract Données / Clean Rows\n" in artifact

    for label in ("Extract Données", "Extract-Donnees"):
        assert len(cli("cache", "list", "--task", label, "--project", root).lines) == 3
    # A result of an earlier release, under the name that it gave the task.
    ((key, value),) = project.kv.scan(f"process:{process_path('Clean-Rows')}")
    project.kv.put(key.replace("Clean-Rows", normalise("Clean Rows")), value)
    assert len(cli("cache", "list", "--task", "Clean Rows", "--project", root).lines) == 3
