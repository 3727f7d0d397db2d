"""Objects that code refers to or is given, whose class alone tells that using them is an effect."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final, cast

from expops_prefect.effects.code import names
from expops_prefect.effects.table import Table, database, foreign, normalised, table
from expops_prefect.models.effects import CodeEffects, Effect, Kind

_AWAY: Final = ("database", "network")
_UNHEARD: Final = ("clock", "random", "environment", *_AWAY, "prefect", "person")
"""The kinds of which nothing is certain to be heard while a body runs."""
_ATOMS: Final = (str, bytes, int, float, type(None))
_MOST: Final = 100
_MOST_LOOKED_AT: Final = 1_000


def effect_of_class(cls: type, known: Table) -> tuple[Kind, str] | None:
    """The kind of what an object of a class is for, with the name of the class; ``None`` for one that computes.

    It is a function of a library that was loaded by its file, or a way to a database or through the network: an
    engine, a connection, a session, a client.
    """
    for base in cls.__mro__:
        name = normalised(f"{base.__module__}.{base.__qualname__}")
        if name in foreign.CLASSES:
            return "unknown", name
        kind: Any = known.kind(name)
        if kind in _AWAY and (database.HANDLES.search(name) or name.startswith(database.HANDLES_OF)):
            return cast("Kind", kind), name
    return None


def effect_of_callable(function: Any, known: Table) -> tuple[Kind, str] | None:
    """The kind of a function that is held somewhere for whoever calls it: by a default, a field, a container."""
    if isinstance(function, type):
        return None
    for path in names.of_live(function).paths:
        kind: Any = known.kind(path)
        if kind in _UNHEARD and not known.generator(path):
            return cast("Kind", kind), path
    return None


def with_arguments(known: CodeEffects, values: Iterable[Any], marks: Mapping[str, str]) -> CodeEffects:
    """The effects of a task that is given these arguments: functions among them count as called."""
    given = table(marks.items())
    held = {found for value in callables_in(values) if (found := effect_of_callable(value, given)) is not None}
    effects = [Effect(kind, name) for kind, name in sorted(held) if all(kind != e.kind for e in known.effects)]
    return replace(known, effects=(*known.effects, *effects)) if effects else known


def callables_in(values: Iterable[Any]) -> Iterator[Callable[..., Any]]:
    """Somebody else's functions in values: of large containers in the first entries."""
    waiting, looked_at = list(values), set[int]()
    while waiting and len(looked_at) < _MOST_LOOKED_AT:
        value = waiting.pop()
        if isinstance(value, (*_ATOMS, type, ModuleType)) or id(value) in looked_at:
            continue
        looked_at.add(id(value))
        if isinstance(value, functools.partial):
            waiting += (value.func, *value.args, *value.keywords.values())
        elif isinstance(value, (dict, list, tuple, set, frozenset)):
            waiting += itertools.islice(value.values() if isinstance(value, dict) else value, _MOST)
        elif isinstance(value, (FunctionType, BuiltinFunctionType, MethodType)) or hasattr(value, "__name__"):
            yield value
            waiting.append(getattr(value, "__self__", None))
        else:
            held = getattr(value, "__dict__", None)
            waiting += itertools.islice(held.values(), _MOST) if type(held) is dict else ()
