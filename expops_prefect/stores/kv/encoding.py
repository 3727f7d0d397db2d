"""Helpers that the KV stores share: values as JSON text, key ranges, and series of metric points."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import orjson

from expops_prefect.errors import KVDamagedError, KVRefusedError
from expops_prefect.stores.kv.base import JSON, MetricPoint, MetricValue

_FINITE: Final = frozenset({str, int, bool, type(None)})
# Dataclasses and dates would be written in a form that is not read back as the same value.
_STRICT: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


def dump(value: JSON) -> str:
    """A value as JSON text.

    Raises:
        KVRefusedError: it is not a JSON value, or holds a number that JSON cannot express.
    """
    try:
        text = orjson.dumps(value, option=_STRICT).decode()
    except (TypeError, ValueError) as error:
        raise KVRefusedError(f"not a JSON value: {error}") from error
    # orjson writes NaN and infinities as null, which would lose them silently.
    if "null" in text:
        _refuse_non_finite(value)
    return text


def load(key: str, text: str) -> JSON:
    """A value from its JSON text.

    Args:
        key: named in the error.
        text: made by :func:`dump`, or by ExpOps.

    Raises:
        KVDamagedError: the text is not JSON.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise KVDamagedError(f"the value of {key} is not JSON; delete the key", key) from error


def successor(prefix: str) -> str | None:
    """The smallest text greater than every text with this prefix; ``None`` if no such text exists."""
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index])
        if point < 0x10FFFF:
            following = 0xE000 if 0xD7FF <= point < 0xE000 else point + 1
            return prefix[:index] + chr(following)
    return None


def check_key(key: str) -> str:
    """The key, unchanged, if every store can keep it.

    Raises:
        KVRefusedError: it is not text that UTF-8 can express.
    """
    try:
        key.encode()
    except UnicodeEncodeError as error:
        raise KVRefusedError(f"a key must be text that UTF-8 can express, not {key[:80]!r}") from error
    return key


def check_counter(key: str, value: JSON | None) -> int:
    """The number in a counter; 0 for a missing key.

    Raises:
        KVRefusedError: the key holds something else.
    """
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise KVRefusedError(f"{key} holds {type(value).__name__}, not a counter; delete the key to start again at 0")
    return value or 0


def check_series(key: str, value: JSON | None) -> dict[str, dict[str, MetricValue]]:
    """The series under a metrics key; empty for a missing key.

    Raises:
        KVRefusedError: the key holds something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(steps, dict) for steps in value.values()):
        raise KVRefusedError(f"{key} does not hold metrics of the form {{name: {{step: value}}}}; delete the key")
    try:
        for steps in value.values():
            for step in steps:
                int(step)
    except ValueError as error:
        raise KVRefusedError(f"{key} holds metrics with a step that is not a whole number: {error}") from error
    return value


def merge_points(
    series: dict[str, dict[str, MetricValue]], points: Iterable[MetricPoint]
) -> dict[str, dict[str, MetricValue]]:
    """Merge points into series, in place; new steps keep ascending order."""
    highest: dict[str, int] = {}
    unordered: set[str] = set()
    for point in points:
        steps = series.setdefault(point.name, {})
        top = highest.get(point.name)
        if top is None:
            top = max(map(int, steps), default=point.step)
        if point.step < top and str(point.step) not in steps:
            unordered.add(point.name)
        steps[str(point.step)] = point.value
        highest[point.name] = max(top, point.step)
    for name in unordered:
        series[name] = in_order(series[name])
    return series


def in_order(steps: dict[str, MetricValue]) -> dict[str, MetricValue]:
    """A series with its steps ascending by number."""
    return dict(sorted(steps.items(), key=lambda item: int(item[0])))


def _refuse_non_finite(value: JSON) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise KVRefusedError(f"{value} is not a JSON number; store it as text")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        # Each task run writes records: most of what is in them needs no further look.
        if type(item) not in _FINITE:
            _refuse_non_finite(item)
