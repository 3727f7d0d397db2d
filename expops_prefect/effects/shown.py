"""Remembers the effects of tasks' code in this process.

Opening a connection is observed, but not later calls that send over it. So an effect of one call applies to all later
calls of the same code.
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
    """The first lasting effect of each code object. A forked child keeps it, because it keeps the connections."""


def code_of(function: Callable[..., Any]) -> object:
    """The compiled code of a function, which its calls share.

    Not its fingerprint, which depends on the values of globals, such as an open connection. Functions from one factory
    share their code, and perhaps a connection.
    """
    function = inspect.unwrap(function)
    while isinstance(function, (functools.partial, MethodType)):
        function = function.func if isinstance(function, functools.partial) else function.__func__
        function = inspect.unwrap(function)
    if not hasattr(function, "__code__"):
        function = type(function).__call__
    return getattr(function, "__code__", function)


def note(code: object, effect: Effect) -> None:
    """Note an effect of a call of this code."""
    if effect.kind in _LASTING:
        of_process(_Shown).setdefault(code, effect)


def earlier(code: object) -> Effect | None:
    """The lasting effect of an earlier call of this code in this process; ``None`` if there was none."""
    return of_process(_Shown).get(code)
