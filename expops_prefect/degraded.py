"""What went wrong beside the flow: logged once per kind and key, counted, shown in the run's summary."""

from __future__ import annotations

import logging
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from expops_prefect.forks import ForkSafeLock
from expops_prefect.redaction import Redacting

_logger = logging.getLogger("prefect.expops")
_logger.addFilter(Redacting())
_lock = ForkSafeLock()
_said: set[tuple[str, str]] = set()
_denials: dict[str, bool] = {}
"""What stores deny for good, and whether that was warned of."""


@dataclass(eq=False)
class Events:
    """What happened in this process since this was made.

    Attributes:
        counts: how often each kind of event happened.
        since: when each happened first, epoch seconds.
    """

    counts: Counter[str] = field(default_factory=Counter)
    since: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with _lock:
            _watching.add(self)

    def add(self, kind: str, count: int, since: float) -> None:
        """Count events."""
        self.counts[kind] += count
        self.since[kind] = min(since, self.since.get(kind, since))

    def take(self) -> dict[str, dict[str, Any]]:
        """What was counted, as :func:`merged` takes it; from now on anew."""
        with _lock:
            taken = {kind: {"count": count, "since": self.since[kind]} for kind, count in self.counts.items()}
            self.counts.clear()
            self.since.clear()
        return taken


_watching: weakref.WeakSet[Events] = weakref.WeakSet()
_process = Events()


def degrade(kind: str, message: str, *, key: str = "") -> None:
    """Count an event and log it, once for each kind and key of this process.

    Args:
        kind: a few words for the summary, such as ``damaged results``.
        message: what happened and what follows, for the log.
        key: what it happened to.
    """
    now = time.time()
    with _lock:
        for events in _watching:
            events.add(kind, 1, now)
        new = (kind, key) not in _said
        _said.add((kind, key))
        denials = [text for text in _denials if text in message]
        follows = any(_denials[text] for text in denials)
        _denials.update(dict.fromkeys(denials, True))
    if new:
        _logger.log(logging.INFO if follows else logging.WARNING, "%s: %s", kind, message)


def first(kind: str, key: str) -> bool:
    """Whether this is the first time in this process that something is said of this kind and key."""
    with _lock:
        new = (kind, key) not in _said
        _said.add((kind, key))
    return new


def denied(text: str) -> None:
    """A store denies something for good: one warning says so, and what else follows from it is told at INFO.

    Args:
        text: what is denied and what to do, which stands in the messages of :func:`degrade`.
    """
    with _lock:
        _denials.setdefault(text, False)


def counts() -> dict[str, int]:
    """How often each kind of event happened in this process so far."""
    with _lock:
        return dict(_process.counts)


def merged(known: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """Two counts of events, ``{kind: {"count", "since"}}``, as one."""
    sums: dict[str, Any] = dict(known or {})
    for kind, event in more.items():
        held = sums.get(kind)
        if held is not None:
            event = {"count": held["count"] + event["count"], "since": min(held["since"], event["since"])}
        sums[kind] = event
    return sums


def described(counts: Mapping[str, int], since: Mapping[str, float]) -> str:
    """Events for people: ``results not stored 3x since 12:00:01``."""
    return ", ".join(f"{kind} {count}x{_since(since.get(kind))}" for kind, count in counts.items())


def _since(seconds: float | None) -> str:
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, tz=timezone.utc).astimezone().strftime(" since %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return ""
