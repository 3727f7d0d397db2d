"""Which watches a piece of code is under: a context variable, followed into the threads that bodies start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.process import of_process

if TYPE_CHECKING:
    from expops_prefect.effects.record import Record

_MARK: Final = "_expops_watch"
"""The attribute of a thread that a body started."""


class Link:
    """A watch and those around it.

    Contexts and threads that outlive a body hold its link alone; what was seen goes with the watch.

    Attributes:
        record: what the watch notes; ``None`` once its body has ended, and for what is not to be seen.
        outer: the link around it.
        quiet: nothing that runs here is seen, by the watches around it neither.
    """

    __slots__ = ("outer", "quiet", "record")

    def __init__(self, record: Record | None, outer: Link | None, *, quiet: bool = False) -> None:
        self.record = record
        self.outer = outer
        self.quiet = quiet


current: ContextVar[Link | None] = ContextVar("expops_watch", default=None)


class Running(dict[int, Link]):
    """The links whose bodies run in this process."""

    def in_forked_child(self) -> None:
        """A forked child is no part of the body that forked it."""
        for link in self.values():
            link.record = None
        self.clear()


running: Final = of_process(Running)
"""Held here, because the audit hook asks it at every event. While it is empty, nothing else is asked."""


def innermost() -> Link | None:
    """The nearest link whose body still runs; ``None`` outside bodies and where nothing is to be seen."""
    link = here()
    while link is not None and link.record is None:
        if link.quiet:
            return None
        link = link.outer
    return link


def here() -> Link | None:
    """The link of this context, or the one that this thread was started under."""
    link = current.get()
    if link is None:
        # Not by current_thread(), which makes an object for a thread that is none of Python's.
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        if thread is not None:
            link = thread.__dict__.get(_MARK)
    return link


def records(link: Link | None) -> list[Record]:
    """What the watches around here note, the innermost first."""
    found = []
    while link is not None:
        if link.record is not None:
            found.append(link.record)
        link = link.outer
    return found


def follow(thread: Any, link: Link) -> None:
    """Let what a thread does count for the body that started it."""
    setattr(thread, _MARK, link)


@contextmanager
def apart() -> Iterator[None]:
    """Let nothing that runs here be seen: for traffic of this package's own, and of Prefect's."""
    token = current.set(Link(None, here(), quiet=True))
    try:
        yield
    finally:
        current.reset(token)
