"""What a process has one of: state that is made when it is first asked for, and locks that a forked child can take.

This module alone asks the system to be told of forks. A forked child keeps its parent's state, but for what says
otherwise by ``in_forked_child``.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

_T = TypeVar("_T")


class ForkSafeLock:
    """A lock of one process. In a forked child it is free, because the thread that held it is gone there."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _fork_aware.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def in_forked_child(self) -> None:
        """Forget who holds it."""
        self._lock = threading.Lock()


class Parts:
    """Objects of which an owner has one each, made when they are first asked for.

    Args:
        owner: what each is made of; nothing for the process itself.
    """

    def __init__(self, *owner: Any) -> None:
        self._owner = owner
        self._held: dict[Any, Any] = {}
        _fork_aware.add(self)

    def __call__(self, kind: Callable[..., _T]) -> _T:
        """The owner's only object of a kind, in this process."""
        held: _T | None = self._held.get(kind)
        if held is None:
            # Without a lock: to make one may take a request. Of two that are made at once one is dropped, unused.
            made = kind(*self._owner)
            held = self._held.setdefault(kind, made)
        return held

    def in_forked_child(self) -> None:
        """Tell the parts that want to know."""
        for part in list(self._held.values()):
            tell = getattr(part, "in_forked_child", None)
            if tell is not None:
                tell()


_fork_aware: weakref.WeakSet[Any] = weakref.WeakSet()
"""Locks and parts. What makes one does not know of the others, and a fork asks for all of them."""
of_process: Final = Parts()
"""The state of this process that belongs to no project. Each kind of it stands where it is used."""


def _in_forked_child() -> None:
    # Locks first: what the parts do may take some.
    for aware in sorted(_fork_aware, key=lambda aware: isinstance(aware, Parts)):
        aware.in_forked_child()


os.register_at_fork(after_in_child=_in_forked_child)
