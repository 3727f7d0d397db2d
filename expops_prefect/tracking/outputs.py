"""Which calls of a run have left metrics and charts: asked for when a result is stored, forgotten with its process."""

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
    """Probe paths with metrics or charts, by the process that they belong to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_process: dict[str, dict[str, set[str]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_process.values()))

    def add_metrics(self, path: str) -> None:
        """There are metrics at this path."""
        self._add(path, _METRICS)

    def add_charts(self, path: str) -> None:
        """There are charts at this path."""
        self._add(path, _CHARTS)

    def carry_over(self, record: CacheRecord, call: Call, overview: RunSummary) -> Iterator[Copy]:
        """A hit's metrics and charts are shown under this run too: clients do not follow ``cached_run_id``.

        Args:
            record: what was found.
            call: whose result it is now.
            overview: told of them.
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
        """What a process or a step left, and the steps of a process; their paths are relative to its own."""
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
        """The call of a process has ended: nobody asks for it or its steps any more."""
        with self._lock:
            self._by_process.pop(process, None)

    def _add(self, path: str, kind: str) -> None:
        with self._lock:
            self._by_process.setdefault(names.enclosing_process(path), {}).setdefault(path, set()).add(kind)
