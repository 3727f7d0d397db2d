"""Which calls of a run have metrics and charts: read when a result is stored, forgotten when the process ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from expops_prefect.models import names
from expops_prefect.record.cache_records import CacheRecord, Output
from expops_prefect.run_context import Call
from expops_prefect.stores.outbox.changes import Copy
from expops_prefect.tracking.run_summary import RunSummary

_METRICS, _CHARTS = "metrics", "charts"


class Outputs:
    """Probe paths with metrics or charts, by their process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_process: dict[str, dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_process.values()))

    def add_metrics(self, path: str) -> None:
        """Record that this path has metrics."""
        self._add(path, _METRICS)

    def add_charts(self, path: str) -> None:
        """Record that this path has charts."""
        self._add(path, _CHARTS)

    def carry_over(self, record: CacheRecord, call: Call, overview: RunSummary) -> Iterator[Copy]:
        """Copy a hit's metrics and charts to this run: clients do not follow ``cached_run_id``.

        Args:
            record: the cache record of the hit.
            call: the call that gets the result.
            overview: the summary of the run.
        """
        for output in record.outputs:
            source, target = record.path + output.path, call.path + output.path
            if output.metrics:
                self.add_metrics(target)
                overview.carry(target)
                yield Copy(names.metrics_key(record.run_id, source), names.metrics_key(call.run_id, target))
            if output.charts:
                self.add_charts(target)
                overview.charts = True
                yield Copy(names.charts_key(record.run_id, source), names.charts_key(call.run_id, target))

    def of(self, path: str) -> tuple[Output, ...]:
        """The outputs of a process or a step, including a process's steps; paths are relative to its own."""
        with self._lock:
            there = self._by_process.get(names.enclosing_process(path))
            if not there:
                return ()
            found = {other: kinds for other, kinds in there.items() if other == path or other.startswith(f"{path}/")}
            return tuple(
                Output(other[len(path) :], metrics=_METRICS in kinds, charts=_CHARTS in kinds)
                for other, kinds in sorted(found.items())
            )

    def forget(self, process: str) -> None:
        """Forget a process whose call has ended."""
        with self._lock:
            self._by_process.pop(process, None)

    def _add(self, path: str, kind: str) -> None:
        with self._lock:
            self._by_process.setdefault(names.enclosing_process(path), {}).setdefault(path, set()).add(kind)
