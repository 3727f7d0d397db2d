"""Tells whether code belongs to the project, to an installed distribution, or to Python."""

from __future__ import annotations

import enum
import importlib.util
import os
import re
import sys
import sysconfig
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final

from expops_prefect.fingerprint.identity import is_source_file, started_by_file

_IGNORED: Final = frozenset({"prefect", "expops_prefect"})
_SITE: Final = re.compile(r"[\\/](?:site|dist)-packages(?=[\\/])")
_DIST_INFO: Final = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)(?:-py[\d.]+)?\.(?:dist|egg)-info$")
_STDLIB_FOLDERS: Final = {Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib")}
_STDLIB: Final = tuple(f"{path}{os.sep}" for path in _STDLIB_FOLDERS | {path.resolve() for path in _STDLIB_FOLDERS})


class Owner(enum.Enum):
    """The owner of a module."""

    PROJECT = "project"
    INSTALLED = "installed"
    PYTHON = "python"
    US = "us"
    """Prefect and this package: a release of either must not invalidate a cache."""


@dataclass(frozen=True, slots=True)
class Located:
    """A module that was found without importing it."""

    name: str
    file: str | None
    package_path: tuple[str, ...] | None
    owner: Owner


@lru_cache(maxsize=4096)
def owner_of(module: str, file: str | None) -> Owner:
    """The owner of a module with this name and file.

    A module is installed if it is in a ``site-packages`` or ``dist-packages`` folder, wherever that folder
    is. Editable installs are elsewhere, so they belong to the project.
    """
    top = module.partition(".")[0]
    if top in _IGNORED:
        return Owner.US
    if not file:
        return Owner.PYTHON if top in sys.stdlib_module_names or top in sys.builtin_module_names else Owner.PROJECT
    if file.startswith("<frozen"):
        return Owner.PYTHON
    if not is_source_file(file):
        return Owner.PYTHON if top in sys.stdlib_module_names else Owner.PROJECT
    paths = (file, str(Path(file).resolve()))
    if any(_SITE.search(path) for path in paths):
        return Owner.INSTALLED
    return Owner.PYTHON if any(path.startswith(_STDLIB) for path in paths) else Owner.PROJECT


def owner_of_module(module: str) -> Owner:
    """The owner of a module by its name, whether or not it has been imported.

    An object of ``__main__`` may have been pickled by value in another process; then this process's own
    main module, such as a worker's program, is not its origin.
    """
    if started_by_file(module) and module not in sys.stdlib_module_names:
        return Owner.PROJECT
    loaded = sys.modules.get(module)
    if loaded is not None:
        held = getattr(loaded, "__dict__", {})  # not by getattr: a module may have a value for any name
        file = held.get("__file__")
        if file is None and (paths := list(held.get("__path__", ()))):
            file = _initial_file(paths[0])  # of a namespace package
        return owner_of(module, file)
    located = locate(module)
    return located.owner if located else owner_of(module, None)


def _initial_file(folder: str) -> str:
    return str(Path(folder) / "__init__.py")


def locate(module: str) -> Located | None:
    """Find a module by its name without running its code or that of its parents."""
    path: tuple[str, ...] | None = None
    found: Located | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        found = _locate_one(name, path)
        if found is None:
            return None
        path = found.package_path
        if path is None and depth < len(parts):
            return None
    return found


def _locate_one(name: str, path: tuple[str, ...] | None) -> Located | None:
    loaded = sys.modules.get(name)
    if loaded is not None:
        # Not by getattr: a module may have a value for any name.
        held = getattr(loaded, "__dict__", {})
        file, folders = held.get("__file__"), held.get("__path__")
    else:
        try:
            # For a name without a dot, find_spec imports nothing; for others it would import the parents.
            spec = importlib.util.find_spec(name) if path is None else PathFinder.find_spec(name, path)
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        file = spec.origin if spec.has_location else None
        folders = spec.submodule_search_locations
    package = None if folders is None else tuple(folders)
    where = file or (_initial_file(package[0]) if package else None)
    return Located(name, file, package, owner_of(name, where))


@lru_cache(maxsize=4096)
def distribution_of(module: str) -> str:
    """``name==version`` of the installed distribution that a module belongs to.

    Much cheaper than ``importlib.metadata.packages_distributions()``: it looks only at the module's
    folder, and at the likely distribution first.
    """
    top = module.partition(".")[0]
    located = locate(module) or locate(top)
    while located is not None and located.file is None and "." in module:
        module = module.rpartition(".")[0]
        located = locate(module)
    file = located.file if located else None
    matches = list(_SITE.finditer(file)) if file else []
    if file is None or not matches:
        return f"{top}=={_declared_version(top)}"
    end = matches[-1].end()
    site, inner = file[:end], file[end + 1 :].replace(os.sep, "/")
    guess = normalised(top)
    candidates = sorted(installed(site), key=lambda entry: normalised(entry[0]) != guess)
    for name, version, folder in candidates:
        if _lists(Path(site) / folder, inner):
            return f"{normalised(name)}=={version}"
    if candidates and normalised(candidates[0][0]) == guess:
        return f"{guess}=={candidates[0][1]}"
    return f"{top}=={_declared_version(top)}"


def normalised(name: str) -> str:
    """A distribution's name in normalised spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _declared_version(top: str) -> str:
    version = getattr(sys.modules.get(top), "__version__", None)
    return version if isinstance(version, str) else "unknown"


@lru_cache(maxsize=64)
def installed(site: str) -> tuple[tuple[str, str, str], ...]:
    """Name, version and folder of the distributions in a site folder."""
    try:
        entries = sorted(path.name for path in Path(site).iterdir())
    except OSError:
        return ()
    matches = ((_DIST_INFO.match(entry), entry) for entry in entries)
    return tuple((match["name"], match["version"], entry) for match, entry in matches if match)


def _lists(folder: Path, inner: str) -> bool:
    """Whether a distribution's list of files names this one."""
    for record, prefix in (("RECORD", ""), ("installed-files.txt", "../")):
        try:
            content = "\n" + (folder / record).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return f"\n{prefix}{inner}," in content or f"\n{prefix}{inner}\n" in content
    return False
