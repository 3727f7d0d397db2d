"""Format times and durations for people: in commands, artifacts, reasons and the log."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Final

UNKNOWN: Final = "unknown"
"""Shown for impossible times."""
_CENTURIES: Final = 1e10
"""Seconds; a longer time cannot be the duration of a run."""
_SAVING: Final = 0.001
"""Seconds; a shorter time does not count as saved."""
_UNITS: Final = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def moment(seconds: float | None) -> str:
    """Format a point in time: local, with its time zone.

    Args:
        seconds: since the epoch; ``None`` for an empty text.
    """
    if seconds is None:
        return ""
    try:
        local = datetime.fromtimestamp(seconds, tz=timezone.utc).astimezone()
    except (ValueError, OverflowError, OSError):
        return UNKNOWN
    zone = local.strftime("%z")
    return f"{local:%Y-%m-%d %H:%M:%S} {'UTC' if zone == '+0000' else f'{zone[:3]}:{zone[3:5]}'}"


def duration(seconds: float | None) -> str:
    """Format a duration; an empty text for ``None``."""
    if seconds is None:
        return ""
    if not abs(seconds) <= _CENTURIES:
        return UNKNOWN
    if seconds < 0.001:
        return "< 1 ms"
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.2f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def span(seconds: float | None) -> str:
    """Format the time from the start of the first of several calls to the end of the last."""
    return "" if seconds is None else f"within {duration(seconds)}"


def saving(seconds: float | None) -> str:
    """Format the time that a hit saved; an empty text if it saved none."""
    return duration(seconds) if seconds is not None and seconds >= _SAVING else ""


def between(earlier: float | None, later: float | None) -> str:
    """The time between two points in time, such as ``3 days``; an empty text if one is unknown."""
    if earlier is None or later is None:
        return ""
    passed = later - earlier
    if not abs(passed) <= _CENTURIES:
        return UNKNOWN
    passed = max(0.0, passed)
    unit, length = next((item for item in _UNITS if passed >= item[1]), _UNITS[-1])
    count = round(passed / length)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def age(seconds: float | None) -> str:
    """The time since a point in time, such as ``3 days ago``; an empty text if it is unknown."""
    passed = between(seconds, time.time())
    return passed if passed in ("", UNKNOWN) else f"{passed} ago"
