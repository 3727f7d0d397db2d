"""How a command opens the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from expops_prefect.cli.output import ProblemError, print_note, short_run
from expops_prefect.project import Project
from expops_prefect.records import RunRecord

HOW: Final = "run a flow whose flow and task come from expops_prefect"
Limit: TypeAlias = Annotated[int, Parameter(validator=Number(gte=1))]


def open_project(path: Path | None) -> Project:
    """The project at a path, or the one found from the current folder; says if that one has no configuration.

    Raises:
        ConfigurationError: the configuration is wrong, or the path is no folder.
    """
    project = Project.open(path)
    for notice in project.settings.notices:
        print_note(notice)
    return project


def is_empty(project: Project) -> bool:
    """Whether nothing was ever recorded. Looking at a project must not leave a database behind."""
    return project.settings.kv.type == "local" and not project.settings.kv.path.exists()


def find_run(project: Project, name: str) -> RunRecord:
    """The run with this id, or whose id has this at its beginning or end; ``latest`` is the newest.

    Raises:
        ProblemError: there is none, or more than one.
    """
    runs = [] if is_empty(project) else project.runs()
    place = project.kv.describe()
    if not runs:
        raise ProblemError(f"no runs yet in {place}; {HOW}")
    matching = runs[:1] if name == "latest" else [run for run in runs if run.run_id == name]
    matching = matching or [run for run in runs if run.run_id.endswith(name) or _begins(run.run_id, name)]
    if len(matching) == 1:
        return matching[0]
    if not matching:
        raise ProblemError(f"no run {name!r} in {place}; see expops-prefect runs list")
    some = ", ".join(short_run(run.run_id) for run in matching[:3]) + (", …" if len(matching) > 3 else "")
    raise ProblemError(f"{name!r} fits {len(matching)} runs in {place}: {some}; give more of the id, or 'latest'")


def _begins(run: str, name: str) -> bool:
    return run.startswith(name) or short_run(run).startswith(name)
