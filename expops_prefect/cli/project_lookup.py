"""How a command opens the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter
from cyclopts.validators import Number

from expops_prefect.cli.output import ProblemError, print_note
from expops_prefect.project import Project
from expops_prefect.record.run_records import RunRecord

HOW: Final = "run a flow whose flow and task come from expops_prefect"
Unfold: TypeAlias = Annotated[bool, Parameter(name="--all", negative="")]
Limit: TypeAlias = Annotated[int, Parameter(validator=Number(gte=1))]


def open_project(path: Path | None) -> Project:
    """The project at a path, or the one found from the current folder; notes if the latter has no configuration.

    Raises:
        ConfigurationError: the configuration is wrong, or the path is not a folder.
    """
    project = Project.open(path)
    for notice in project.settings.notices:
        print_note(notice)
    return project


def is_empty(project: Project) -> bool:
    """Whether nothing was ever recorded. Checking must not create a database."""
    return not project.settings.kv.may_hold_runs()


def find_run(project: Project, name: str) -> RunRecord:
    """The run with a name, as :meth:`Project.run` finds it.

    Raises:
        ProblemError: no runs were recorded.
        RunNotFoundError: no run matches the name, or more than one does.
    """
    if is_empty(project) or not project.runs(limit=1):
        raise ProblemError(f"no runs yet in {project.kv.describe()}; {HOW}")
    return project.run(name)
