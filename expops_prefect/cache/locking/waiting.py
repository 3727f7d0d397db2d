"""Waits for a lease by asking the store at growing intervals.

A wait is a generator of pauses, so that sync and async callers share its code. An async caller must
not block a thread while it pauses: the holder may need that thread to finish.
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
    """The pauses of one wait: random, and growing with time.

    Args:
        project: the project whose store is asked.
        what: the key that is waited for, for the log.
        context: the task run that waits; it receives the time waited.
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
        """The seconds to pause now, at most until an unrenewed lease expires; ``None`` after the timeout.

        Args:
            view: the last reading of the lease.
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
        """Whether it had to wait at all."""
        return self._begun is not None

    def over(self) -> None:
        """End the wait, and add its time to the context."""
        if self._begun is not None and self._context is not None:
            self._context.waited += time.monotonic() - self._begun
        self._begun = None


def wait(steps: Steps[T]) -> T:
    """Run the steps in this thread."""
    while True:
        try:
            pause = next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        time.sleep(pause)


async def await_(steps: Steps[T], undo: Callable[[], object] = bool) -> T:
    """Run each step in a thread; no thread is blocked during the pauses.

    Args:
        steps: the steps to run.
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
            # A thread cannot be cancelled: of the step and this coroutine, the second one sees the other's flag.
            abandoned.set()
            if ended.is_set():
                await asyncio.to_thread(undo)
            raise
        if pause is None:
            return outcome  # type: ignore[return-value]
        await asyncio.sleep(pause)
