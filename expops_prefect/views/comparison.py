"""Compare two runs: differences in parameters, processes and metrics. Pure functions over recorded rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expops_prefect.models.names import CacheKey
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord

Metrics = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A value in the first run and in the second; ``None`` if it is missing."""

    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class ProcessDifference:
    """A process, call or step that differs between two runs.

    Attributes:
        path: its probe path.
        status: its status in each.
        seconds: its duration in each.
        changed: the parts of its cache key that differ: ``inputs``, ``config``, ``function``.
    """

    path: str
    status: Pair
    seconds: Pair
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences between two runs.

    Attributes:
        parameters: parameters of the flow, by name.
        processes: in their order in the second run, without those of the same status and key.
        metrics: last values, by probe path and metric.
    """

    parameters: Mapping[str, Pair] = field(default_factory=dict)
    processes: tuple[ProcessDifference, ...] = ()
    metrics: Mapping[tuple[str, str], Pair] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether the runs do not differ."""
        return not (self.parameters or self.processes or self.metrics)


def compare(
    first: tuple[RunRecord, Iterable[Row], Metrics], second: tuple[RunRecord, Iterable[Row], Metrics]
) -> Comparison:
    """Compare two runs.

    Args:
        first, second: the record of each, its rows, and its metrics.
    """
    one, other = ({row.path: row for row in rows} for _, rows, _ in (first, second))
    processes = tuple(
        found
        for path in sorted({*one, *other}, key=lambda path: _start(other.get(path) or one[path]))
        if (found := _process(path, one.get(path), other.get(path))) is not None
    )
    return Comparison(
        parameters=_differing(first[0].parameters, second[0].parameters),
        processes=processes,
        metrics=_differing(_last_values(first[2]), _last_values(second[2])),
    )


def _process(path: str, one: Row | None, other: Row | None) -> ProcessDifference | None:
    status = Pair(None if one is None else one.status, None if other is None else other.status)
    seconds = Pair(None if one is None else one.execution_time, None if other is None else other.execution_time)
    changed = _changed_parts(one, other)
    if status.first == status.second and not changed:
        return None
    return ProcessDifference(path, status, seconds, changed)


def _changed_parts(one: Row | None, other: Row | None) -> tuple[str, ...]:
    keys = [None if row is None else CacheKey.parse(str(row.fields.get("cache_key") or "")) for row in (one, other)]
    before, after = keys
    if before is None or after is None:
        return ()
    parts = ("inputs", "config", "function")
    return tuple(part for part in parts if getattr(before, part) != getattr(after, part))


def _differing(one: Mapping[Any, Any], other: Mapping[Any, Any]) -> dict[Any, Pair]:
    # Compare types too; NaN is stored as text.
    pairs = {name: Pair(one.get(name), other.get(name)) for name in {**one, **other}}
    return {
        name: pair for name, pair in pairs.items() if (type(pair.first), pair.first) != (type(pair.second), pair.second)
    }


def _last_values(metrics: Metrics) -> dict[tuple[str, str], Any]:
    return {
        (path, name): series[max(series, key=int)]
        for path, values in sorted(metrics.items())
        for name, series in sorted(values.items())
        if series
    }


def _start(row: Row) -> tuple[float, str]:
    return row.started_at or float("inf"), row.path
