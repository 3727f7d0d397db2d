"""What the code of tasks has shown in this process.

A call that opens a connection is heard; those that send over it later are not. So what one call did counts for all
later calls of the same code.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, Final

from expops_prefect._internal.process import of_process
from expops_prefect.models.effects import Effect

_LASTING: Final = frozenset({"network", "database", "process", "unknown"})
"""Kinds of effects that may leave something open: a connection, a pool of them, a process to talk to."""


class _Shown(dict[object, Effect]):
    """The first such effect of each code. A forked child keeps it, as it keeps the connections."""


def code_of(function: Callable[..., Any]) -> object:
    """What calls of one function have in common: its compiled code.

    Not its fingerprint, which also tells the values of globals: an open connection may be one of them. Functions that
    a factory makes share their code, and perhaps what they use.
    """
    function = inspect.unwrap(function)
    while isinstance(function, (functools.partial, MethodType)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
        function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    return getattr(function, "__code__", function)


def note(code: object, effect: Effect) -> None:
    """A call of this code has shown an effect."""
    if effect.kind in _LASTING:
        of_process(_Shown).setdefault(code, effect)


def earlier(code: object) -> Effect | None:
    """The effect for which calls of this code are executed in this process; ``None`` while it has shown none."""
    return of_process(_Shown).get(code)
