"""Tracks which watches apply to the running code: by a context variable, also in threads that bodies start."""

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
"""The attribute with the link of a thread that a body started."""


class Link:
    """A watch, linked to the surrounding one.

    Contexts and threads that outlive a body keep only its link; the observations are freed with the watch.

    Attributes:
        record: the observations of the watch; ``None`` after its body has ended, and for unobserved code.
        outer: the surrounding link.
        quiet: nothing here is observed, not by the surrounding watches either.
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
        """Detach a forked child from the body that forked it."""
        for link in self.values():
            link.record = None
        self.clear()


running: Final = of_process(Running)
"""Kept in a module variable, because the audit hook reads it at every event and does nothing else while it is empty."""


def innermost() -> Link | None:
    """The nearest link whose body still runs; ``None`` outside bodies and for unobserved code."""
    link = here()
    while link is not None and link.record is None:
        if link.quiet:
            return None
        link = link.outer
    return link


def here() -> Link | None:
    """The link of this context, else the one under which this thread was started."""
    link = current.get()
    if link is None:
        # Not by current_thread(), which creates an object for a thread that Python did not start.
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        if thread is not None:
            link = thread.__dict__.get(_MARK)
    return link


def records(link: Link | None) -> list[Record]:
    """The records of the surrounding watches, the innermost first."""
    found = []
    while link is not None:
        if link.record is not None:
            found.append(link.record)
        link = link.outer
    return found


def follow(thread: Any, link: Link) -> None:
    """Attribute what a thread does to the body that started it."""
    setattr(thread, _MARK, link)


@contextmanager
def apart() -> Iterator[None]:
    """Observe nothing that runs here: for the traffic of this package and of Prefect."""
    token = current.set(Link(None, here(), quiet=True))
    try:
        yield
    finally:
        current.reset(token)
