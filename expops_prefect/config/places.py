"""The location of a project without a configuration, and its own part of a shared folder."""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from expops_prefect.models import names

_REPOSITORY: Final = (".git", "pyproject.toml")
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_DATABASE: Final = "metrics.sqlite"


def root_without_configuration(source_file: Path | None, here: Path | None) -> Path | None:
    """The folder to use as the project: the repository of the flow's file, else the folder it is imported from.

    That is the file's own folder, or the one above its package: ``python -m pkg.mod`` runs a file of a package.
    Without a file, for instance in a notebook, use the current folder in the same way. The file system's root and the
    home folder are never a project; such a project gets a folder of its own.

    Args:
        source_file: the flow's file.
        here: the current folder; ``None`` if it was deleted.
    """
    place = here
    if source_file is not None and _INSTALLED.isdisjoint(source_file.parts) and source_file.is_file():
        place = source_file.absolute().parent
    if place is None:
        return None
    never = _never_projects()
    for folder in (place, *place.parents):
        if folder in never:
            break
        if any(os.path.lexists(folder / mark) for mark in _REPOSITORY):
            return folder
    if source_file is not None:
        place = _imported_from(place, _package_of(source_file), never)
    return _state_folder() if place in never else place


def _package_of(file: Path) -> list[str]:
    """The names of the packages that a file was imported by, the outermost first."""
    for module in list(sys.modules.values()):
        spec = getattr(module, "__dict__", {}).get("__spec__")  # not by getattr: a module may answer to any name
        if spec is not None and spec.origin == str(file):
            return str(spec.parent).split(".") if spec.parent else []
    return []


def _imported_from(place: Path, package: list[str], never: set[Path]) -> Path:
    """The folder above the packages that a folder is part of; those without an ``__init__.py`` are known by name."""
    while place.parent not in never and ((place / "__init__.py").is_file() or package[-1:] == [place.name]):
        place, package = place.parent, package[:-1]
    return place


def _never_projects() -> set[Path]:
    found = {Path("/")}
    with suppress(RuntimeError):
        found.add(Path.home())
        found.add(Path.home().resolve())
    return found


def _state_folder() -> Path:
    """The user's folder for application data."""
    with suppress(RuntimeError):
        home = Path.home()
        if home != Path("/") and os.access(home, os.W_OK):
            return Path(os.environ.get("XDG_STATE_HOME") or home / ".local" / "state") / "expops-prefect"
    return Path(tempfile.gettempdir()) / f"expops-prefect-{os.geteuid()}"


def part_of(folder: Path, project_id: str) -> Path:
    """A project's own part of a folder that the environment names for all projects, which share nothing there.

    If an older release stored this project alone in the folder itself, it stays there.
    """
    own = folder / project_id
    if own.exists() or not (folder / _DATABASE).is_file():
        return own
    projects = _projects_in(folder / _DATABASE)
    return folder if projects == {project_id} else own


def _projects_in(database: Path) -> set[str]:
    """The projects whose runs a database holds; empty if it cannot be read."""
    # Files beside it, such as an unmerged log, are read too; none are created.
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        keys = connection.execute(
            "SELECT key FROM kv WHERE key >= ? AND key < ?",
            (names.RUN_RECORD_PREFIX, names.RUN_RECORD_PREFIX[:-1] + ";"),
        )
        return {names.project_of_run(key.removeprefix(names.RUN_RECORD_PREFIX)) or "" for (key,) in keys}
    return set()
