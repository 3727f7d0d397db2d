"""Failures beside the flow: logged once per kind and key, counted, and shown in the summary of the run concerned.

Failures are attributed where they happen. Code of a run calls :func:`concern`; threads and coroutines that copy
their context inherit it. Threads that work for a project name its outbox folder, and their failures count for its
open runs.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from expops_prefect._internal.formatting import moment
from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect._internal.redaction import Redacting

_logger = logging.getLogger("prefect.expops")
_logger.addFilter(Redacting())


@dataclass(eq=False)
class Events:
    """Events of a run in this process.

    Attributes:
        project: the outbox folder of its project.
        counts: how often each kind of event happened.
        since: when each kind first happened, epoch seconds.
        said: the kinds and keys that were logged.
    """

    project: Path | None = None
    counts: Counter[str] = field(default_factory=Counter)
    since: dict[str, float] = field(default_factory=dict)
    said: set[tuple[str, str]] = field(default_factory=set)

    def add(self, kind: str, count: int, since: float) -> None:
        """Count events."""
        self.counts[kind] += count
        self.since[kind] = min(since, self.since.get(kind, since))

    def take(self) -> dict[str, dict[str, Any]]:
        """Return the counts in the form of :func:`merged`, and reset them."""
        with of_process(_Diagnostics).lock:
            taken = {kind: {"count": count, "since": self.since[kind]} for kind, count in self.counts.items()}
            self.counts.clear()
            self.since.clear()
        return taken


Concern: TypeAlias = Events | Path | None
"""A run's events, the outbox folder of a project, or ``None``."""
_concern: ContextVar[Concern] = ContextVar("expops_concern", default=None)


class _Diagnostics:
    """The diagnostics of this process.

    Attributes:
        noticed: the kinds and keys of :func:`first`: notices without a run.
        denials: texts of permanent denials by stores, with whether each was logged as a warning.
        watching: the events of open runs.
        process: the events of the process itself.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.noticed: set[tuple[str, str]] = set()
        self.denials: dict[str, bool] = {}
        self.watching: weakref.WeakSet[Events] = weakref.WeakSet()
        self.process = Events()


def events_of_run(project: Path) -> Events:
    """The events of a run that begins here. Failures of its project also count for it.

    Args:
        project: the outbox folder of its project.
    """
    events, here = Events(project), of_process(_Diagnostics)
    with here.lock:
        here.watching.add(events)
    return events


def concern(whom: Concern) -> None:
    """Attribute later failures in this context to this run or project."""
    _concern.set(whom)


def concerned() -> Concern:
    """The run or project to which failures here are attributed; pass it to a thread that goes on with the work."""
    return _concern.get()


@contextmanager
def concerning(whom: Concern) -> Iterator[None]:
    """Like :func:`concern`, for a block of code."""
    token = _concern.set(whom)
    try:
        yield
    finally:
        _concern.reset(token)


def degrade(kind: str, message: str, *, key: str = "", about: str = "") -> None:
    """Count a failure and log it, once for each kind and key of the run concerned, or of this process.

    Args:
        kind: a few words for the summary, such as ``damaged results``.
        message: the failure and its consequence, for the log.
        key: the object of the failure.
        about: the task or flow that the message starts with.
    """
    now, whom, here = time.time(), _concern.get(), of_process(_Diagnostics)
    with here.lock:
        runs = [whom] if isinstance(whom, Events) else [item for item in here.watching if whom and item.project == whom]
        for events in {here.process, *runs}:
            events.add(kind, 1, now)
        places = runs or [here.process]
        new = any((kind, key) not in events.said for events in places)
        for events in places:
            events.said.add((kind, key))
        denials = [text for text in here.denials if text in message]
        follows = any(here.denials[text] for text in denials)
        here.denials.update(dict.fromkeys(denials, True))
    if new:
        level = logging.INFO if follows else logging.WARNING
        if about:
            _logger.log(level, "%s: %s: %s", kind, about, message)
        else:
            _logger.log(level, "%s: %s", kind, message)


def first(kind: str, key: str) -> bool:
    """Whether this is the first call in this process with this kind and key."""
    here = of_process(_Diagnostics)
    with here.lock:
        new = (kind, key) not in here.noticed
        here.noticed.add((kind, key))
    return new


def suppress_repeats(text: str) -> None:
    """Warn only once of a permanent denial by a store; log its other consequences at INFO.

    Args:
        text: the denial and its remedy, which is part of the messages to :func:`degrade`.
    """
    here = of_process(_Diagnostics)
    with here.lock:
        here.denials.setdefault(text, False)


def counts() -> dict[str, int]:
    """How often each kind of failure happened in this process so far."""
    here = of_process(_Diagnostics)
    with here.lock:
        return dict(here.process.counts)


def merged(known: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Add up two counts of events, ``{kind: {"count", "since"}}``."""
    sums: dict[str, Any] = dict(known or {})
    for kind, event in more.items():
        held = sums.get(kind)
        if held is not None:
            event = {"count": held["count"] + event["count"], "since": min(held["since"], event["since"])}
        sums[kind] = event
    return sums


def described(counts: Mapping[str, int], since: Mapping[str, float]) -> str:
    """Format events: ``results not stored 3x since 2026-11-25 12:00:01 UTC``."""
    return ", ".join(
        f"{kind} {count}x" + (f" since {at}" if (at := moment(since.get(kind))) else "")
        for kind, count in counts.items()
    )
