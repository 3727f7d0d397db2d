"""Metric series cut to Firestore's limits: batches, parts, and thinned series. Pure functions.

A document holds at most 1 MiB and 40,000 index entries, two for each point. Points that do not fit
go into parts; the document that clients read keeps a thinned series.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from expops_prefect.stores.kv.base import MetricPoint, MetricValue
from expops_prefect.stores.kv.encoding import in_order

Series = dict[str, dict[str, MetricValue]]

MAX_POINTS: Final = 15_000
"""Points in a document that is written whole."""
MAX_BYTES: Final = 700_000
THINNED_POINTS: Final = 7_500
THINNED_BYTES: Final = 250_000
_BATCH_POINTS: Final = 10_000
"""Points in one commit: below Firestore's limit even together with a thinned document."""
_BATCH_BYTES: Final = 2_000_000
_PART_BYTES: Final = 900_000


def batches(points: Sequence[MetricPoint]) -> Iterator[Sequence[MetricPoint]]:
    """Split points into pieces, one for each commit."""
    start = size = 0
    for index, point in enumerate(points):
        # The path of every point is sent along with its value.
        cost = 4 * len(point.name) + 60
        if index > start and (index - start >= _BATCH_POINTS or size + cost > _BATCH_BYTES):
            yield points[start:index]
            start, size = index, 0
        size += cost
    if start < len(points):
        yield points[start:]


def fits(series: Series) -> bool:
    """Whether one document can hold the series."""
    return _count(series) <= MAX_POINTS and _size(series) <= MAX_BYTES


def has_spare(series: Series) -> bool:
    """Whether thinning would make room in the document that holds the series."""
    return _count(thinned(series)) <= _count(series) * 2 / 3


def thinned(series: Series) -> Series:
    """Each series reduced to its first and last point and evenly spaced ones between them."""
    share = min(1.0, THINNED_POINTS / max(_count(series), 1), THINNED_BYTES / max(_size(series), 1))
    return {name: _every(steps, max(2, int(len(steps) * share))) for name, steps in series.items()}


def parts(series: Series) -> list[Series]:
    """Split the series into pieces that each fit into a document as JSON text."""
    pieces: list[Series] = [{}]
    size = 0
    for name, steps in series.items():
        for step, value in steps.items():
            # A character may take six bytes in JSON.
            cost = len(step) + len(repr(value)) + 6 + (0 if name in pieces[-1] else 6 * len(name) + 6)
            if size + cost > _PART_BYTES:
                pieces.append({})
                size = 0
            size += cost
            pieces[-1].setdefault(name, {})[step] = value
    return pieces


def merged(pieces: Sequence[Mapping[str, Mapping[str, MetricValue]]]) -> Series:
    """Merge pieces, later ones first, with steps ascending."""
    whole: Series = {}
    for piece in pieces:
        for name, steps in piece.items():
            whole.setdefault(name, {}).update(steps)
    return {name: in_order(steps) for name, steps in whole.items()}


def _every(steps: Mapping[str, MetricValue], count: int) -> dict[str, MetricValue]:
    ordered = list(in_order(dict(steps)).items())
    if len(ordered) <= count:
        return dict(ordered)
    last = len(ordered) - 1
    return dict(ordered[round(index * last / (count - 1))] for index in range(count))


def _count(series: Series) -> int:
    return sum(map(len, series.values()))


def _size(series: Series) -> int:
    # As Firestore counts: names in UTF-8 and one byte, numbers eight bytes.
    return sum(len(name.encode()) + 1 + sum(len(step) + 9 for step in steps) for name, steps in series.items())
