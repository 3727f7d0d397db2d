"""``expops-prefect runs``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cyclopts import App

from expops_prefect.cli.output import (
    OK,
    ProblemError,
    age,
    duration,
    moment,
    print_json,
    print_line,
    print_table,
)
from expops_prefect.names import readable
from expops_prefect.project import Project
from expops_prefect.records import Row, RunRecord

app = App(name="runs", help="Runs of the project.")


@app.command(name="list")
def list_runs(*, project: Path | None = None, limit: int = 20, json: bool = False) -> int:
    """List the project's runs, newest first.

    Example: expops-prefect runs list --limit 50

    Args:
        project: the project's root folder; without it found from the current folder.
        limit: how many at most.
        json: print JSON.
    """
    opened = Project.open(project)
    runs = opened.runs(limit=limit)
    if json:
        print_json([asdict(run) for run in runs])
        return OK
    if not runs:
        print_line(f"no runs in {opened.kv.describe()}; run a flow whose flow and task come from expops_prefect")
        return OK
    print_table(
        ["run", "flow", "status", "started", "took"],
        [(run.run_id, run.flow, run.status, age(run.started_at), duration(_length(run))) for run in runs],
    )
    return OK


@app.command
def show(run: str, *, project: Path | None = None, json: bool = False) -> int:
    """Show a run: what was executed, what came from the cache and from where, metrics and charts.

    Example: expops-prefect runs show latest

    Args:
        run: its id, the beginning or the end of it, or ``latest``.
        project: the project's root folder; without it found from the current folder.
        json: print JSON.
    """
    opened = Project.open(project)
    record = opened.run(run)
    if record is None:
        raise ProblemError(f"no run {run!r} (or more than one) in {opened.kv.describe()}; see expops-prefect runs list")
    rows = sorted(opened.rows(record.run_id), key=lambda row: (row.started_at or 0, row.path))
    metrics, charts = opened.metrics(record.run_id), opened.charts(record.run_id)
    if json:
        print_json({**asdict(record), "rows": [row.fields for row in rows], "metrics": metrics, "charts": charts})
        return OK
    print_line(f"{record.run_id}: flow {record.flow} {record.status}, {moment(record.started_at)}", style="bold")
    print_table(
        ["process or step", "status", "took", "saved", "computed by", "last metrics"],
        [_line(row, metrics.get(row.path, {})) for row in rows],
    )
    saved = sum(row.cached_execution_time or 0 for row in rows if _single(row))
    print_line(f"time saved by the cache: {duration(saved)}")
    for path, items in charts.items():
        for item in items:
            print_line(f"chart {item.get('title')} of {readable(path)}: {item.get('object_path')}")
    for kind, count in record.degraded.items():
        print_line(f"degraded: {kind}, {count} times", style="yellow")
    return OK


def _line(row: Row, metrics: dict[str, dict[str, Any]]) -> tuple[object, ...]:
    last = ", ".join(f"{name} {_last(series)}" for name, series in sorted(metrics.items()))
    calls = "" if _single(row) else f" ({sum(row.calls.values())} calls)"
    return (
        readable(row.path) + calls,
        row.status,
        duration(row.execution_time),
        duration(row.cached_execution_time) if _single(row) else "",
        row.cached_run_id if _single(row) else "",
        last,
    )


def _single(row: Row) -> bool:
    return sum(row.calls.values()) <= 1


def _last(series: dict[str, Any]) -> str:
    value = series[max(series, key=int)]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _length(run: RunRecord) -> float | None:
    return None if run.ended_at is None else run.ended_at - run.started_at
