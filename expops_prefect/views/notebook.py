"""What a project's readers return besides plain data: pandas frames, and views for notebooks.

``Project.runs()`` is a list and ``Project.metrics(run)`` a dictionary; both have ``frame()``, and a run
displays itself in a notebook.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import fields
from html import escape
from typing import TYPE_CHECKING, Any, Final

from expops_prefect.models.names import parse_path
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views.timeline import draw_run

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_RUNS: Final = 30
_NUMBERS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class ShownRun(RunRecord):
    """A run's record that displays itself in a notebook: its timeline and the curves of its metrics."""

    __slots__ = ("_read",)
    _read: Callable[[], tuple[list[Row], MetricValues]]

    @classmethod
    def of(cls, record: RunRecord, read: Callable[[], tuple[list[Row], MetricValues]]) -> ShownRun:
        """Combine a record with a function that reads its rows and metrics each time it is displayed."""
        shown = cls(**{item.name: getattr(record, item.name) for item in fields(RunRecord)})
        object.__setattr__(shown, "_read", read)
        return shown

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RunRecord):
            return NotImplemented
        return all(getattr(self, item.name) == getattr(other, item.name) for item in fields(RunRecord))

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return RunRecord, tuple(getattr(self, item.name) for item in fields(RunRecord))

    def _repr_html_(self) -> str:
        rows, metrics = self._read()
        return draw_run(self, rows, metrics)


class RunList(list[RunRecord]):
    """Runs, newest first."""

    def frame(self) -> pd.DataFrame:
        """A row for each run: its times, its status, and the flow's parameters as ``parameter.<name>``.

        Raises:
            ImportError: pandas is not installed.
        """
        pandas = _pandas()
        columns: dict[str, list[Any]] = {
            "run_id": [run.run_id for run in self],
            "flow": [run.flow for run in self],
            "flow_run_id": [run.flow_run_id for run in self],
            "status": [run.status for run in self],
            "started": pandas.to_datetime([run.started_at for run in self], unit="s", utc=True, errors="coerce"),
            "seconds": [math.nan if run.ended_at is None else run.ended_at - run.started_at for run in self],
            "attempt": [run.attempt for run in self],
            "host": [run.host for run in self],
            "degraded": [sum(run.degraded.values()) for run in self],
        }
        names = dict.fromkeys(name for run in self for name in run.parameters)
        for name in names:
            columns[f"parameter.{name}"] = [run.parameters.get(name) for run in self]
        return pandas.DataFrame(columns)

    def _repr_html_(self) -> str:
        lines = [
            f"<tr><td>{escape(run.run_id)}</td><td>{escape(run.flow)}</td><td>{escape(run.status)}</td></tr>"
            for run in self[:_SHOWN_RUNS]
        ]
        more = f"<p>… and {len(self) - _SHOWN_RUNS} more</p>" if len(self) > _SHOWN_RUNS else ""
        return f"<table><tr><th>run</th><th>flow</th><th>status</th></tr>{''.join(lines)}</table>{more}"


class MetricValues(dict[str, dict[str, dict[str, Any]]]):
    """Metrics of a run: probe path, metric, step number as text, value."""

    def frame(self) -> pd.DataFrame:
        """A row for each point. Values are floats, including NaN and infinities.

        ``within`` is the step of the process that logged it, ``step`` the number of the point.

        Raises:
            ImportError: pandas is not installed.
        """
        return (
            _pandas()
            .DataFrame(list(self._points()), columns=["process", "call", "within", "metric", "step", "value"])
            .astype({"call": "Int64", "step": "int64", "value": "float64"})
        )

    def _points(self) -> Iterable[tuple[str, int | None, str | None, str, int, float]]:
        for path, metrics in self.items():
            parsed = parse_path(path)
            place = (path, None, None) if parsed is None else (parsed.process, parsed.call, parsed.step)
            for name, series in metrics.items():
                for step in sorted(series, key=int):
                    yield *place, name, int(step), number(series[step])


def number(value: Any) -> float:
    """A stored value of a metric as a number."""
    return _NUMBERS[value] if isinstance(value, str) else float(value)


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("frames need pandas: pip install pandas") from error
    return pd
