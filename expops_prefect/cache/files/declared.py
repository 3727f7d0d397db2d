"""The files and folders that a task declares to write: ``@task(outputs=["models/{name}.pkl"])``."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any, Final

_FORMATTER: Final = Formatter()
_FILE: Final = "file://"


def patterns(outputs: Iterable[str | os.PathLike[str]], function: Callable[..., Any]) -> tuple[str, ...]:
    """The declared names, checked.

    Args:
        outputs: names with the task's parameters in braces.
        function: the task's function.

    Raises:
        TypeError: it is not a list.
        ValueError: a name is not well formed, or has something else in braces.
    """
    if isinstance(outputs, (str, os.PathLike)):
        raise TypeError(f"outputs takes a list of paths; write outputs=[{os.fspath(outputs)!r}]")
    found = tuple(os.fspath(name) for name in outputs)
    known = inspect.signature(function).parameters if found else {}
    for name in found:
        for _, field, _, _ in _FORMATTER.parse(name):
            parameter = None if field is None else field.partition(".")[0].partition("[")[0]
            if parameter is not None and parameter not in known:
                raise ValueError(f"outputs has {{{field}}} in {name!r}, which is no parameter of the task")
    return found


def formatted(task: Any, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths that a call of a task declares to write, by ``outputs`` or by assets that are files.

    Args:
        task: the task.
        parameters: the call's arguments by name.

    Raises:
        Exception: whatever formatting raises.
    """
    named = tuple(_FORMATTER.vformat(name, (), parameters) for name in getattr(task, "outputs", ()))
    files = (key.removeprefix(_FILE) for key in assets(task) if key.startswith(_FILE))
    return (*named, *filter(None, files))


def assets(task: Any) -> tuple[str, ...]:
    """The keys of the assets that a task materializes."""
    return tuple(asset.key for asset in getattr(task, "assets", None) or ())
