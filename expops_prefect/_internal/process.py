"""State of a process that is created on first use, and locks that are free in a forked child.

Only this module registers a fork hook. A forked child keeps its parent's state, except for objects that define
``in_forked_child``.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

_T = TypeVar("_T")


class ForkSafeLock:
    """A lock of one process. It is free in a forked child, because the thread that held it does not exist there."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _fork_aware.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def in_forked_child(self) -> None:
        """Replace the lock, whose holder does not exist here."""
        self._lock = threading.Lock()


def is_being_imported(module: Any) -> bool:
    """Whether a thread is importing a module now, which does not have all of its names yet."""
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


class Parts:
    """Objects of which an owner has one of each kind, created on first use.

    Args:
        owner: the arguments of their constructors; none for the process itself.
    """

    def __init__(self, *owner: Any) -> None:
        self._owner = owner
        self._held: dict[Any, Any] = {}
        self._creating: dict[Any, ForkSafeLock] = {}
        _fork_aware.add(self)

    def __call__(self, kind: Callable[..., _T]) -> _T:
        """The owner's only object of a kind in this process."""
        held: _T | None = self._held.get(kind)
        if held is None:
            # A lock for each kind: creating one may take requests, and may need others.
            with self._creating.setdefault(kind, ForkSafeLock()):
                held = self._held.get(kind)
                if held is None:
                    held = self._held[kind] = kind(*self._owner)
        return held

    def in_forked_child(self) -> None:
        """Notify the parts that define ``in_forked_child``."""
        for part in list(self._held.values()):
            tell = getattr(part, "in_forked_child", None)
            if tell is not None:
                tell()


_fork_aware: weakref.WeakSet[Any] = weakref.WeakSet()
"""Locks and parts. They are created independently, and a fork must reach all of them."""
of_process: Final = Parts()
"""The state of this process that belongs to no project. Each kind is defined where it is used."""


def _in_forked_child() -> None:
    # Locks first: the parts may take some.
    for aware in sorted(_fork_aware, key=lambda aware: isinstance(aware, Parts)):
        aware.in_forked_child()


os.register_at_fork(after_in_child=_in_forked_child)
