"""Finds results that are, or share memory with, an argument or a global of the task.

A hit returns a copy. Changing the copy later does not change the original.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Iterator
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from expops_prefect.cache.argument_changes import is_constant
from expops_prefect.fingerprint.ownership import Owner
from expops_prefect.fingerprint.third_party import owner_of_callable

_MOST_PARTS: Final = 1000
_MOST_BASES: Final = 16


def given_back(result: Any, known: Iterable[tuple[str, Any]]) -> list[str]:
    """The names of the values that a result shares, and descriptions of iterators in it.

    Args:
        result: what the body returned.
        known: arguments and globals that can be changed in place, by name.
    """
    if is_constant(result):
        return []
    parts = [result, *_parts(result)]
    memory = {id(held) for part in parts for held in _memory(part)}
    found: dict[str, None] = {}
    for name, value in known:
        if any(id(held) in memory for part in (value, *_parts(value)) for held in _memory(part)):
            found[name] = None
    for part in parts:
        if hasattr(type(part), "__next__"):
            found[f"an iterator, {type(part).__name__}, which is used up"] = None
    return list(found)


def _parts(value: Any) -> Iterable[Any]:
    """The items of a container, the arguments of a partial or method, or the attributes of a project's object."""
    if isinstance(value, dict):
        value = value.values()
    elif isinstance(value, functools.partial):
        value = [*value.args, *value.keywords.values()]
    elif isinstance(value, (MethodType, BuiltinFunctionType)):
        value = [value.__self__]
    elif owner_of_callable(type(value)) is Owner.PROJECT:
        value = list(getattr(value, "__dict__", {}).values())
    elif type(value) not in (list, tuple, set):
        return ()
    return islice(value, _MOST_PARTS)


def _memory(value: Any) -> Iterator[Any]:
    """A mutable value and those whose memory it shares: the array under a view, the buffer under the array."""
    for _ in range(_MOST_BASES):
        if value is None or _keeps_identity(value) or is_constant(value):
            return
        yield value
        package = type(value).__module__.partition(".")[0]
        if isinstance(value, memoryview):
            value = value.obj
        elif package == "numpy":
            value = getattr(value, "base", None)
        elif package == "torch":
            value = getattr(value, "_base", None)
        else:
            return


def _keeps_identity(value: Any) -> bool:
    """Whether a hit returns the same object, not a copy."""
    if isinstance(value, BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, ModuleType)
    return isinstance(value, (type, FunctionType, ModuleType, enum.Enum))
