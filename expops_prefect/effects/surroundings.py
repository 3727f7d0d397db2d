"""Detects what a body changes in its process: the import path, precision, the logging set-up, open figures.

These changes have no audit events. They are few and small enough to compare around every body.
"""

from __future__ import annotations

import abc
import faulthandler
import gc
import logging
import sys
import threading
import tracemalloc
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from expops_prefect._internal.figures import open_figures
from expops_prefect.effects import ambient

Snapshot: TypeAlias = "dict[str, Any]"

_FIGURES: Final = "figures"
_AMBIENT: Final = "ambient"
_PARTS: Final = "parts"
_LOADED: Final = "loaded"
_IMPORTED: Final = "imported"
_MOST_PARTS: Final = 100


def _logging() -> tuple[Any, ...]:
    root = logging.root
    return (
        root.level,
        *root.handlers,
        *root.filters,
        root.manager.disable,
        root.manager.loggerClass,
        logging._loggerClass,  # type: ignore[attr-defined]
        logging._warnings_showwarning,  # type: ignore[attr-defined]
        logging._logRecordFactory,  # type: ignore[attr-defined]
        len(logging._levelToName),
    )


def _hooks() -> tuple[Any, ...]:
    return (
        sys.excepthook,
        sys.displayhook,
        sys.breakpointhook,
        sys.unraisablehook,
        threading.excepthook,
        sys.stdin,
        sys.stdout,
        sys.stderr,
    )


def _collector() -> tuple[Any, ...]:
    return gc.isenabled(), gc.get_debug(), gc.get_threshold(), len(gc.callbacks)


def _tracing() -> tuple[Any, ...]:
    return tracemalloc.is_tracing(), faulthandler.is_enabled()


def _threads() -> tuple[Any, ...]:
    return sys.getswitchinterval(), threading.stack_size()


def _backend() -> Any:
    """Matplotlib's backend; choosing it automatically for the first figure is not a change."""
    matplotlib = sys.modules.get("matplotlib")
    found = dict.get(getattr(matplotlib, "rcParams", {}), "backend")
    return found.lower() if isinstance(found, str) else None


_COMPARED: Final[dict[str, Callable[[], Any]]] = {
    "sys.path": lambda: list(sys.path),
    "sys.setrecursionlimit": sys.getrecursionlimit,
    "logging's set-up": _logging,
    "sys's hooks and streams": _hooks,
    "gc's settings": _collector,
    "tracemalloc or faulthandler": _tracing,
    "threading's settings": _threads,
}
_AFTER_IMPORTS: Final[dict[str, Callable[[], Any]]] = {"abc.ABCMeta.register": abc.get_cache_token}
"""What imports change too, so that it is compared only if nothing was imported."""


def snapshot(parts: Collection[str] | None = None, state: ambient.State | None = None) -> Snapshot:
    """The current state.

    Args:
        parts: the parts of the code that is going to run; ``None`` if unknown.
        state: the current result of :func:`~expops_prefect.effects.ambient.changed`; by default it is computed.
    """
    found: Snapshot = {name: ask() for name, ask in _COMPARED.items()}
    for name, ask in _AFTER_IMPORTS.items():
        found[name] = ask()
    found[_IMPORTED] = len(sys.modules)
    found[_LOADED] = ambient.loaded()
    found[_PARTS] = parts
    found[_AMBIENT] = ambient.changed(parts) if state is None else state
    found["matplotlib.use"] = _backend()
    found[_FIGURES] = open_figures()
    return found


def changed(before: Snapshot, result: Any) -> list[str]:
    """What has changed, for people.

    Args:
        before: the state from :func:`snapshot`.
        result: what the body returned; a figure in it is not left behind.
    """
    found = [name for name, ask in _COMPARED.items() if ask() != before[name]]
    if len(sys.modules) == before[_IMPORTED]:
        found += [name for name, ask in _AFTER_IMPORTS.items() if ask() != before[name]]
    was, now = before[_AMBIENT], ambient.changed(before[_PARTS])
    if was != now:
        found += [name for name in sorted({*was, *now} & before[_LOADED]) if was.get(name) != now.get(name)]
    if before["matplotlib.use"] is not None and _backend() != before["matplotlib.use"]:
        found.append("matplotlib.use")
    return [*found, *_of_figures(before[_FIGURES], result)]


def _of_figures(before: dict[int, Any], result: Any) -> list[str]:
    now = open_figures()
    if not before and not now:
        return []
    found, held = [], [part for part in _parts(result) if hasattr(part, "canvas")]
    new = [figure for number, figure in now.items() if before.get(number) is not figure]
    if any(not any(part is figure for part in held) for figure in new):
        found.append("a figure that it leaves open")
    if any(part is figure for part in held for figure in before.values()):
        found.append("a figure that was open before")
    if any(now.get(number) is not figure for number, figure in before.items()):
        found.append("a figure that it closes")
    return found


def _parts(result: Any) -> Iterable[Any]:
    yield result
    held = result.values() if isinstance(result, dict) else result
    if isinstance(held, (list, tuple, type({}.values()))) and len(held) <= _MOST_PARTS:
        yield from held
