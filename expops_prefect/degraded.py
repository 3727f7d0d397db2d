"""What went wrong beside the flow: logged once per kind and key, counted, shown in the run's summary."""

from __future__ import annotations

import logging
from collections import Counter

from expops_prefect.forks import ForkSafeLock

_logger = logging.getLogger("prefect.expops")
_lock = ForkSafeLock()
_counts: Counter[str] = Counter()
_said: set[tuple[str, str]] = set()


def degrade(kind: str, message: str, *, key: str = "") -> None:
    """Count an event and log it, once for each kind and key of this process.

    Args:
        kind: a few words for the summary, such as ``damaged results``.
        message: what happened and what follows, for the log.
        key: what it happened to.
    """
    with _lock:
        _counts[kind] += 1
        new = (kind, key) not in _said
        _said.add((kind, key))
    if new:
        _logger.warning("%s: %s", kind, message)


def counts() -> dict[str, int]:
    """How often each kind of event happened in this process so far."""
    with _lock:
        return dict(_counts)
