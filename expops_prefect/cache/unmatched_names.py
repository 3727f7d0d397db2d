"""Finds process names in the configuration that match no task, so that their settings silently have no effect."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Final

from expops_prefect.models.names import parse_path, process_name
from expops_prefect.project import Project

LATEST_RUNS: Final = 5
"""How many runs are read: different flows of a project may have different tasks."""
_SECTION: Final = "prefect.cache.processes"


def names_of(paths: Iterable[str]) -> set[str]:
    """The names of the processes and steps in probe paths."""
    parsed = [found for path in paths if (found := parse_path(path)) is not None]
    return {name for found in parsed for name in (found.process, found.step) if name is not None}


def unmatched(project: Project, seen: set[str], *, complete: bool) -> Iterator[str]:
    """Yield a message for each configured process that matches no task.

    Args:
        project: the project.
        seen: the names of its newest run's processes and steps.
        complete: whether no hit of that run can have skipped other tasks; only then are names without a similar task
            reported.

    Raises:
        BackendError: a store failed.
    """
    names = project.settings.cache.processes
    if any(process_name(name) not in seen for name in names):
        seen = seen | _seen_lately(project)
    for name in names:
        if seen and process_name(name) not in seen:
            close = difflib.get_close_matches(process_name(name), sorted(seen), 1)
            if close:
                yield f"{_SECTION} names {name}, which no task of the latest runs is called; did you mean {close[0]}?"
            elif complete:
                yield f"{_SECTION} names {name}, which no task of the latest runs is called"


def _seen_lately(project: Project) -> set[str]:
    runs = project.runs(limit=LATEST_RUNS)
    return {name for run in runs for name in names_of(row.path for row in project.rows(run.run_id))}
