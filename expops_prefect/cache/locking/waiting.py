"""Waiting for a lease: asks the store once, says how long to pause, and asks again.

What waits is written as a generator of pauses, so that the same lines serve sync and async callers.
An async caller must not occupy a thread while it pauses: the holder may need that thread to end.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Callable, Generator
from typing import Final, TypeAlias, TypeVar

from expops_prefect.cache.context import CacheContext
from expops_prefect.cache.locking.leases import LeaseSnapshot
from expops_prefect.project import Project

T = TypeVar("T")
Steps: TypeAlias = Generator[float, None, T]
"""Yields seconds to pause; returns the outcome."""

_logger = logging.getLogger("prefect.expops")
_LOCAL: Final = (0.02, 0.2)
_REMOTE: Final = (0.1, 0.8)
_GROWTH: Final = 1.5


class Pauses:
    """The pauses of one wait: random, and longer the longer it takes.

    Args:
        project: whose store is asked.
        what: what is waited for, for the log.
        context: the task run that waits; its wait is added up there.
        timeout: seconds to wait at most; ``None`` for no limit.
    """

    def __init__(self, project: Project, what: str, context: CacheContext | None, timeout: float | None) -> None:
        self._shortest, self._longest = _REMOTE if project.settings.kv.is_remote else _LOCAL
        self._upper = self._shortest
        self._what = what
        self._context = context
        self._begun: float | None = None
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def next(self, view: LeaseSnapshot) -> float | None:
        """How long to pause now, at most until a lease ends that is not renewed; ``None`` if the time is over.

        Args:
            view: what was seen of the lease that is in the way.
        """
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            return None
        lease = view.lease
        if self._begun is None and lease is not None:
            self._begun = now
            _logger.info(
                "%s waits: the same result is being computed by process %d on %s", self._what, lease.pid, lease.host
            )
        self._upper = min(self._longest, self._upper * _GROWTH)
        pause = random.uniform(self._shortest, self._upper)  # noqa: S311 - only to keep waiters apart
        if view.left:
            pause = min(pause, view.left)
        return pause if self._deadline is None else min(pause, self._deadline - now)

    @property
    def waited(self) -> bool:
        """Whether there was a reason to wait."""
        return self._begun is not None

    def over(self) -> None:
        """The wait has ended: tell the record."""
        if self._begun is not None and self._context is not None:
            self._context.waited += time.monotonic() - self._begun
        self._begun = None


def wait(steps: Steps[T]) -> T:
    """Go through the steps in this thread."""
    while True:
        try:
            pause = next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        time.sleep(pause)


async def await_(steps: Steps[T], undo: Callable[[], object] = bool) -> T:
    """Go through the steps, each in a thread of its own; no thread is kept during the pauses.

    Args:
        steps: what to go through.
        undo: called if the caller is cancelled while a step may have had its effect.
    """
    abandoned, ended = threading.Event(), threading.Event()

    def step() -> tuple[float | None, T | None]:
        try:
            return next(steps), None
        except StopIteration as end:
            return None, end.value
        finally:
            ended.set()
            if abandoned.is_set():
                undo()

    while True:
        ended.clear()
        try:
            pause, outcome = await asyncio.to_thread(step)
        except asyncio.CancelledError:
            # A thread cannot be cancelled: whoever comes second of it and us sees the other's mark.
            abandoned.set()
            if ended.is_set():
                await asyncio.to_thread(undo)
            raise
        if pause is None:
            return outcome  # type: ignore[return-value]
        await asyncio.sleep(pause)
