"""The format of cache records, and which of two records under one key counts."""

from __future__ import annotations

from typing import Any, Final

RECORD_FORMAT: Final = 2
"""The newest version of cache and run records that can be read; a record of a newer one is not used."""


def is_newer(value: Any) -> bool:
    """Whether a newer release wrote a record, which this one neither uses nor replaces."""
    known = value.get("format") if isinstance(value, dict) else None
    return isinstance(known, int) and known > RECORD_FORMAT


def later(before: Any, value: Any) -> Any:
    """Which of two cache records counts, where one was delayed: that of the later computation.

    Args:
        before: the record that is stored; ``None`` if there is none.
        value: the record that arrives late.
    """
    return before if is_newer(before) or _ended_at(before) > _ended_at(value) else value


def _ended_at(value: Any) -> float:
    ended = value.get("ended_at") if isinstance(value, dict) else None
    return ended if isinstance(ended, (int, float)) else float("-inf")
