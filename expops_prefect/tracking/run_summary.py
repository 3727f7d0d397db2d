"""The outcome of a run's processes and steps, collected while it runs, so that the summary needs no reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from expops_prefect.models.names import parse_path, total_path
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.process_rows import BY_PREFECT, Row, saved_seconds, single_calls
from expops_prefect.stores.kv.base import JSON, MetricValue
from expops_prefect.stores.outbox.numbering import LoggedPoint

LINKED_HITS: Final = 100
"""The most hits for which to keep the task run that computed them."""
SHOWN_CALLS: Final = 500
"""The most single calls that a summary shows, and again as many failed ones."""
READ_DOCUMENTS: Final = 50
"""The most documents that a summary reads from a store that bills each document."""
SHOWN_METRICS: Final = 500
"""The most metrics that a summary shows; the first in order are kept, however many the calls log."""


@dataclass(slots=True)
class ProcessSummary:
    """The calls of one process or step.

    Attributes:
        path: the probe path of the row that sums up the calls.
        label: the user's name for it.
        calls: how many calls ended with each status.
        started, ended: the first start and the last end, epoch seconds.
        saved: seconds that its hits saved over computing.
        sources: the runs that computed its hits, with the number of hits.
        computed: when each of those runs computed its first hit, epoch seconds.
        key: the cache key of the last call; empty if it has none.
        object_key: the object key of the result; empty if unknown.
        reasons: why calls were executed, with the number of calls.
        by_prefect: how many hits came from Prefect's own cache.
        upstream: the processes whose results its calls used.
        failure: why its first failed call failed, without secrets; empty if none did.
    """

    path: str
    label: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    started: float | None = None
    ended: float | None = None
    saved: float = 0.0
    sources: Counter[str] = field(default_factory=Counter)
    computed: dict[str, float] = field(default_factory=dict)
    key: str = ""
    object_key: str = ""
    reasons: Counter[str] = field(default_factory=Counter)
    by_prefect: int = 0
    upstream: set[str] = field(default_factory=set)
    failure: str = ""

    @property
    def took(self) -> float | None:
        """Seconds from the first start to the last end."""
        return None if self.started is None or self.ended is None else self.ended - self.started

    def add(self, status: str, fields: Mapping[str, JSON], object_key: str | None) -> None:
        """Count a call that has ended."""
        self.calls[status] += 1
        self.upstream.update(fields.get("upstream") or ())
        self.failure = self.failure or str(fields.get("failure") or "")
        started, ended = fields.get("started_at"), fields.get("ended_at")
        if started is not None:
            self.started = started if self.started is None else min(self.started, started)
        if ended is not None:
            self.ended = ended if self.ended is None else max(self.ended, ended)
        key = fields.get("cache_key") or self.key
        if object_key or key != self.key:
            self.key, self.object_key = key, object_key or ""
        if status == "cached":
            took = None if started is None or ended is None else ended - started
            self.saved += saved_seconds(fields.get("cached_execution_time"), took) or 0.0
            source, at = fields.get("cached_run_id") or "", fields.get("cached_ended_at")
            self.sources[source] += 1
            self.by_prefect += fields.get("cached_by") == BY_PREFECT
            if at is not None:
                self.computed[source] = min(at, self.computed.get(source, at))
        elif fields.get("miss_reason"):
            self.reasons[fields["miss_reason"]] += 1


@dataclass(frozen=True, slots=True)
class EndedCall:
    """One call that has ended.

    Attributes:
        path: its own probe path.
        status: how it ended.
        took: seconds; ``None`` if it never began.
        saved: seconds that a hit saved over computing.
        source: the run that computed it, or a name for Prefect's own cache.
        reason: why it was executed.
        task_run_id: its task run in Prefect.
    """

    path: str
    status: str
    took: float | None
    saved: float | None
    source: str
    reason: str
    task_run_id: str

    @classmethod
    def of(cls, path: str, status: str, fields: Mapping[str, JSON]) -> EndedCall:
        """Read it from its row."""
        started, ended = fields.get("started_at"), fields.get("ended_at")
        took = None if started is None or ended is None else ended - started
        hit = status == "cached"
        return cls(
            path,
            status,
            took,
            saved_seconds(fields.get("cached_execution_time"), took) if hit else None,
            str(fields.get("cached_run_id") or fields.get("cached_by") or "") if hit else "",
            "" if hit else str(fields.get("miss_reason") or ""),
            str(fields.get("task_run_id") or ""),
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A task run that was a hit, with the run and the task run that computed the result."""

    task_run_id: str
    run_id: str
    source_task_run_id: str | None


@dataclass(slots=True)
class Series:
    """The summary of a metric: its last, lowest and highest value, and its number of points."""

    last: MetricValue
    lowest: float | None = None
    highest: float | None = None
    points: int = 0

    def add(self, value: MetricValue) -> None:
        """Count a point."""
        self.last = value
        self.points += 1
        if not isinstance(value, str):
            self.lowest = value if self.lowest is None else min(self.lowest, value)
            self.highest = value if self.highest is None else max(self.highest, value)


class RunSummary:
    """The lines of a run, its hits and its metrics.

    Attributes:
        hits: the first hits of this process.
        calls: the first calls that ended, and the first that failed.
        series: metrics by probe path and name, the first in order.
        carried: the first probe paths that got their metrics from a hit's run.
        charts: whether the run has charts.
        elsewhere: whether other processes executed calls that this process did not see.
    """

    def __init__(self) -> None:
        self._lines: dict[str, ProcessSummary] = {}
        self.hits: list[Hit] = []
        self._calls: tuple[list[EndedCall], list[EndedCall]] = [], []
        self.series: dict[tuple[str, str], Series] = {}
        self._last_series: tuple[str, str] | None = None
        self.carried: list[str] = []
        self.charts = False
        self.elsewhere = False

    @property
    def lines(self) -> list[ProcessSummary]:
        """Processes in the order of their start, each followed by its steps."""
        first: dict[str, float] = {}
        for line in self._lines.values():
            process = _process(line.path)
            first[process] = min(first.get(process, float("inf")), line.started or float("inf"))
        return sorted(
            self._lines.values(),
            key=lambda line: (first[_process(line.path)], _process(line.path), "/step" in line.path, line.path),
        )

    @property
    def calls(self) -> list[EndedCall]:
        """Single calls, failed ones first."""
        failed, others = self._calls
        return [*failed, *others]

    def ended(
        self,
        path: str,
        label: str,
        status: str,
        fields: Mapping[str, JSON],
        object_key: str | None = None,
        *,
        call: str | None = None,
    ) -> None:
        """Add a call that has ended.

        Args:
            path: the probe path of the row that sums up its calls.
            label: the user's name for it.
            status: its final status.
            fields: the fields of its row.
            object_key: the object key of its result, if known.
            call: the probe path of the call, if it differs from ``path``.
        """
        kept = self._calls[status != "failed"]
        if len(kept) < SHOWN_CALLS:
            kept.append(EndedCall.of(call or path, status, fields))
        line = self._lines.get(path)
        if line is None:
            line = self._lines[path] = ProcessSummary(path, label)
        line.add(status, fields, object_key)

    def points(self, path: str, points: Iterable[LoggedPoint]) -> None:
        """Add points of a probe path's metrics."""
        for point in points:
            series = self.series.get((path, point.name)) or self._new_series((path, point.name), point.value)
            if series is not None:
                series.add(point.value)

    def _new_series(self, key: tuple[str, str], value: MetricValue) -> Series | None:
        """Start a series; at the limit it replaces the last one in order."""
        if self._last_series is not None:
            if key > self._last_series:
                return None
            del self.series[self._last_series]
        series = self.series[key] = Series(value)
        self._last_series = max(self.series) if len(self.series) >= SHOWN_METRICS else None
        return series

    def carry(self, path: str) -> None:
        """Record that a probe path got its metrics from a hit's run."""
        if len(self.carried) < READ_DOCUMENTS:
            self.carried.append(path)

    def hit(self, task_run_id: str, record: CacheRecord) -> None:
        """Add a hit of this process."""
        if len(self.hits) < LINKED_HITS:
            self.hits.append(Hit(task_run_id, record.run_id, record.task_run_id))

    def replace(self, rows: Iterable[Row]) -> None:
        """Replace the lines by the rows of a run that other processes have executed in part."""
        objects = {line.key: line.object_key for line in self._lines.values()}
        self._lines, self._calls = {}, ([], [])
        self.elsewhere = True
        sums: dict[str, Row] = {}
        for row in rows:
            total = total_path(row.path)
            if total == row.path and sum(row.calls.values()) > 1:
                sums[total] = row
        for row in single_calls(rows):
            if row.status != "running":
                known = objects.get(row.fields.get("cache_key") or "")
                self.ended(total_path(row.path), row.label, row.status, row.fields, known, call=row.path)
        for total, row in sums.items():
            # Rows of older releases do not identify the first call.
            line = self._lines.setdefault(total, ProcessSummary(total, row.label))
            line.calls = Counter(row.calls)
            line.upstream.update(row.upstream)
            line.failure = line.failure or row.failure
            line.started, line.ended = row.started_at, row.fields.get("ended_at_latest") or row.ended_at


def _process(path: str) -> str:
    parsed: Any = parse_path(path)
    return path if parsed is None else parsed.process
