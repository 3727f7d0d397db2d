"""Bodies are followed into the threads that they start, and into the pools of threads that they use."""

from __future__ import annotations

import concurrent.futures
import functools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import Any

from expops_prefect.effects.chain import Link, current, innermost, running
from expops_prefect.effects.hearing import heard, note_thread
from expops_prefect.effects.origin import origin_of
from expops_prefect.effects.record import Record
from expops_prefect.fingerprint.identity import STANDS_FOR

_EVENTS_OF_THREADS = sys.version_info >= (3, 12)


def install() -> None:
    """Replace what starts threads, where Python tells no audit hook of it, and what gives work to a pool."""
    if not _EVENTS_OF_THREADS:
        threading.Thread.start = _followed_start(threading.Thread.start)  # type: ignore[method-assign]
    pool = concurrent.futures.ThreadPoolExecutor
    pool.submit = _followed_submit(pool.submit)  # type: ignore[method-assign]


def _followed_start(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def followed(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
        if running:
            link = innermost()
            if link is not None:
                heard(note_thread, self._bootstrap, link, sys._getframe(0))  # type: ignore[attr-defined]
        return start(self, *args, **kwargs)

    setattr(followed, STANDS_FOR, start)
    return followed


def _followed_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(submit)
    def followed(self: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if not running or not args:
            return submit(self, *args, **kwargs)
        link = innermost()
        made: list[_Work] = []
        if link is not None:
            heard(_take, made, args[0], link, sys._getframe(1))
        if not made:
            return submit(self, *args, **kwargs)
        future = submit(self, made[0], *args[1:], **kwargs)
        future.add_done_callback(made[0].over)  # it may be cancelled, and then never runs
        return future

    setattr(followed, STANDS_FOR, submit)
    return followed


def _take(made: list[_Work], function: Callable[..., Any], link: Link, frame: FrameType) -> None:
    if link.record is not None and origin_of(frame) is not None:
        made.append(_Work(function, link, link.record))


class _Work:
    """A call that a body gave to a pool, whose threads may be older than the body."""

    __slots__ = ("_function", "_link", "_record")

    def __init__(self, function: Callable[..., Any], link: Link, record: Record) -> None:
        self._function = function
        self._link = link
        self._record: Record | None = record
        record.unfinished.add(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token = current.set(self._link)
        try:
            return self._function(*args, **kwargs)
        finally:
            current.reset(token)
            self.over()

    def over(self, _future: Any = None) -> None:
        record, self._record = self._record, None
        if record is not None:
            record.unfinished.discard(self)
