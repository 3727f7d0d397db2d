"""The known callables, by qualified name: what they touch, or that they only compute.

An entry stands for all below it, so ``requests`` marks the whole library, and the longest that fits counts:
``requests.codes`` is harmless. More come from the entry points ``expops_prefect.effects``, each of which loads a
mapping of qualified names to kinds (or to ``harmless``), and from ``prefect.cache.effects`` in the configuration.
"""

from __future__ import annotations

import importlib.metadata
import logging
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from expops_prefect.effects.table import (
    clock,
    database,
    environment,
    files,
    foreign,
    harmless,
    lazy,
    methods,
    network,
    person,
    prefect,
    process,
    random,
    settings,
)
from expops_prefect.models.effects import KINDS

__all__ = ["ENTRY_POINTS", "HARMLESS", "READ", "Table", "table"]

logger = logging.getLogger(__name__)

ENTRY_POINTS: Final = "expops_prefect.effects"
HARMLESS: Final = "harmless"
READ: Final = "read"
"""It reads a file, which is watched while the body runs."""

_SECTIONS: Final = (
    clock,
    database,
    environment,
    files,
    foreign,
    harmless,
    lazy,
    network,
    person,
    prefect,
    process,
    random,
    settings,
)
_C_MODULES: Final[Mapping[str, str]] = {"posix": "os", "nt": "os", "posixpath": "os.path", "ntpath": "os.path"}


class Table:
    """What is known of callables by name.

    Args:
        marks: more entries, which count before the built-in ones.
    """

    def __init__(self, marks: Mapping[str, str]) -> None:
        self._entries = {**_built_in(), **marks}
        self._given = frozenset(marks)

    def kind(self, path: str) -> str | None:
        """The kind of a qualified name, :data:`HARMLESS`, :data:`READ`, or ``None`` for an unknown one."""
        return self._found(path)[1]

    def is_given(self, path: str) -> bool:
        """Whether the user or an entry point says it."""
        return self._found(path)[0] in self._given

    def is_exact(self, path: str) -> bool:
        """Whether this very name has an entry."""
        return path in self._entries

    def generator(self, path: str) -> str:
        """The global generator of random numbers that a qualified name draws from, or nothing."""
        while path:
            found = _generators().get(path)
            if found is not None:
                return found
            path = path.rpartition(".")[0]
        return ""

    def _found(self, path: str) -> tuple[str, str | None]:
        while path:
            kind = self._entries.get(path)
            if kind is not None:
                return path, kind
            path = path.rpartition(".")[0]
        return "", None


def table(marks: Iterable[tuple[str, str]] = ()) -> Table:
    """The table with the entry points' entries and these; made once for equal ones."""
    return _table(frozenset(marks))


@lru_cache(maxsize=16)
def _table(marks: frozenset[tuple[str, str]]) -> Table:
    return Table({**_from_entry_points(), **dict(marks)})


def normalised(path: str) -> str:
    """A qualified name as users write it: modules in C have other names."""
    top, dot, rest = path.partition(".")
    if top in _C_MODULES:
        top = _C_MODULES[top]
    elif top.startswith("_") and top[1:] in sys.stdlib_module_names:
        top = top[1:]
    elif path.startswith(("pathlib._local.", "pathlib._abc.")):
        rest = rest.partition(".")[2]
    rest = rest.replace("PosixPath", "Path") if top == "pathlib" else rest
    return f"{top}{dot}{rest}"


@lru_cache(maxsize=1)
def _built_in() -> dict[str, str]:
    found: dict[str, str] = {}
    for section in _SECTIONS:
        for kind, names in getattr(section, "ENTRIES", {}).items():
            for name in names.split():
                # The more telling of two sections that name the same: what only computes stands last.
                if name not in found or found[name] == HARMLESS:
                    found[name] = kind
    found |= dict.fromkeys(files.WRITES, "file write")
    found |= dict.fromkeys(random.HARMLESS.split(), HARMLESS)
    found |= dict.fromkeys(random.SEEDS, HARMLESS)
    found |= dict.fromkeys((name for names in random.GLOBAL.values() for name in names.split()), "random")
    found |= dict.fromkeys((*random.SEEDED.split(), *environment.NAMED), HARMLESS)
    return found


@lru_cache(maxsize=1)
def _generators() -> dict[str, str]:
    found = {name: generator for generator, names in random.GLOBAL.items() for name in names.split()}
    return found | dict.fromkeys((*random.HARMLESS.split(), *random.SEEDED.split(), *random.SEEDS), "")


@lru_cache(maxsize=1)
def _from_entry_points() -> dict[str, str]:
    found: dict[str, str] = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            found |= {str(name): str(kind) for name, kind in point.load().items() if kind in (*KINDS, HARMLESS)}
        except Exception as error:  # noqa: BLE001 - the edge to somebody else's package, which must not stop a flow
            logger.warning("Ignoring the entry point %s of %s: %s", point.name, ENTRY_POINTS, error)
    return found


@lru_cache(maxsize=1)
def methods_by_name() -> dict[str, str]:
    """The kinds of methods whose name leaves no doubt."""
    return {name: kind for kind, names in methods.SURE.items() for name in names.split()}


def sure_method(name: str, paths: Iterable[str]) -> str | None:
    """The kind of a method whose name leaves no doubt, unless the package of its object is known to define it so.

    Args:
        name: the method's.
        paths: its qualified names, if the code tells them.
    """
    kind = methods_by_name().get(name)
    if kind is None:
        return None
    packages = (path.partition(".")[0] for path in paths)
    harmless_here = (methods.DEFINED_HARMLESSLY.get(package, "").split() for package in packages)
    return None if any(name in names for names in harmless_here) else kind


@lru_cache(maxsize=1)
def _unheard() -> dict[str, str]:
    """What asks for the time, for the system's randomness or about the process: nothing is heard of it."""
    sections = {"clock": clock, "random": random, "environment": environment}
    return {
        name: kind
        for kind, section in sections.items()
        for name in section.ENTRIES.get(kind, "").split()
        if name not in clock.MEASURES
    }


def unheard_below(paths: Iterable[str]) -> list[str]:
    """The kinds of what nobody would hear among the functions of a module or class, which is called by a text."""
    known = _unheard().items()
    return sorted({kind for path in paths for name, kind in known if name.rpartition(".")[0] == path})


def called_by_name(name: str) -> str | None:
    """The kind of a function or method of this last name that is sure to have an effect, of whatever."""
    last = name.rpartition(".")[2]
    return "clock" if last in clock.BY_NAME else methods_by_name().get(last)


@lru_cache(maxsize=1)
def methods_by_receiver() -> dict[str, tuple[tuple[str, frozenset[str]], ...]]:
    """For each method that counts on certain receivers: the kinds with the names of these."""
    found: dict[str, tuple[tuple[str, frozenset[str]], ...]] = {}
    for kind, (names, receivers) in methods.BY_RECEIVER.items():
        for name in names.split():
            found[name] = (*found.get(name, ()), (kind, frozenset(receivers.split())))
    return found
