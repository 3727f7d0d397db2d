"""Follows bodies into the threads that they start and the thread pools that they use.

A thread inherits the watch and the place in the recorded run, so that what it logs belongs to the task.
"""

from __future__ import annotations

import concurrent.futures
import functools
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import Any

from expops_prefect import run_context
from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.effects.chain import Link, current, innermost, running
from expops_prefect.effects.hearing import heard, note_thread
from expops_prefect.effects.origin import Place, origin_of, place_of
from expops_prefect.effects.record import Record
from expops_prefect.fingerprint.identity import STANDS_FOR
from expops_prefect.run_context import RunContext

_EVENTS_OF_THREADS = sys.version_info >= (3, 12)
_POOL_OF_THREADS = "multiprocessing.pool"
_POOL_METHODS = ("apply_async", "_map_async", "imap", "imap_unordered")
"""The methods of a thread pool that all others call; the function is their first argument."""


class _Replaced:
    """What is replaced in this process: ``threading``, and thread pools once they are imported."""

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.modules: set[str] = set()


def install() -> None:
    """Replace the functions that start threads and that submit work to a pool, once each."""
    here = of_process(_Replaced)
    if len(here.modules) == 2:
        return
    with here.lock:
        if "threading" not in here.modules:
            here.modules.add("threading")
            threading.Thread.start = _followed_start(threading.Thread.start)  # type: ignore[method-assign]
            executor = concurrent.futures.ThreadPoolExecutor
            executor.submit = _followed_submit(executor.submit)  # type: ignore[method-assign]
        if _POOL_OF_THREADS in sys.modules and _POOL_OF_THREADS not in here.modules:
            here.modules.add(_POOL_OF_THREADS)
            pool: Any = sys.modules[_POOL_OF_THREADS].ThreadPool
            for name in _POOL_METHODS:
                setattr(pool, name, _followed_method(getattr(pool, name)))


def _followed_start(start: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(start)
    def followed(self: threading.Thread, *args: Any, **kwargs: Any) -> None:
        if running and not _EVENTS_OF_THREADS:  # otherwise the audit hook sees it
            link = innermost()
            if link is not None:
                heard(note_thread, self._bootstrap, link, sys._getframe(0))  # type: ignore[attr-defined]
        heard(_mark, self, sys._getframe(1))
        return start(self, *args, **kwargs)

    setattr(followed, STANDS_FOR, start)
    return followed


def _mark(thread: threading.Thread, frame: FrameType) -> None:
    """Mark a thread with its task if the project's code starts it; threads of libraries may serve several tasks."""
    if place_of(frame.f_code.co_filename) is Place.PROJECT and origin_of(frame) is not None:
        run_context.follow(thread, run_context.place())


def _followed_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(submit)
    def followed(self: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        made: list[_Work] = []
        if args:
            heard(_take, made, args[0], sys._getframe(1))
        if not made:
            return submit(self, *args, **kwargs)
        future = submit(self, made[0], *args[1:], **kwargs)
        if made[0].is_noted:
            future.add_done_callback(made[0].over)  # a cancelled call never runs
        return future

    setattr(followed, STANDS_FOR, submit)
    return followed


def _followed_method(give: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(give)
    def followed(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        made: list[_Work] = []
        if args:
            # Its threads are noted when they start, which covers what they still do at the end.
            heard(_take, made, args[0], sys._getframe(1), noted=False)
        return give(self, made[0], *args[1:], **kwargs) if made else give(self, *args, **kwargs)

    setattr(followed, STANDS_FOR, give)
    return followed


def _take(made: list[_Work], function: Callable[..., Any], frame: FrameType, *, noted: bool = True) -> None:
    if origin_of(frame) is None:
        return
    link, place = innermost() if running else None, run_context.place()
    if link is not None or place is not None:
        made.append(_Work(function, link, link.record if link is not None and noted else None, place))


class _Work:
    """A call that a body submitted to a pool, whose threads may be older than the body."""

    __slots__ = ("_function", "_link", "_place", "_record")

    def __init__(
        self, function: Callable[..., Any], link: Link | None, record: Record | None, place: RunContext | None
    ) -> None:
        self._function = function
        self._link = link
        self._place = place
        self._record = record
        if record is not None:
            record.unfinished.add(self)

    @property
    def is_noted(self) -> bool:
        """Whether a watch tracks its end."""
        return self._record is not None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        token, place_token = current.set(self._link), run_context.given.set(self._place)
        try:
            return self._function(*args, **kwargs)
        finally:
            run_context.given.reset(place_token)
            current.reset(token)
            self.over()

    def over(self, _future: Any = None) -> None:
        record, self._record = self._record, None
        if record is not None:
            record.unfinished.discard(self)
