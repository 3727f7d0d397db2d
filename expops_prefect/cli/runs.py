"""``expops-prefect runs``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cyclopts import App

from expops_prefect.cli.drawing import draw
from expops_prefect.cli.opening import HOW, Limit, find_run, is_empty, open_project
from expops_prefect.cli.output import OK, print_json, print_line, print_note, print_table, print_tree
from expops_prefect.formatting import age, duration, moment, saving
from expops_prefect.graph import graph_of
from expops_prefect.lookup import short_run
from expops_prefect.names import CanonicalName, normalise, parse_path, readable
from expops_prefect.records import Row, RunRecord, single_calls

app = App(name="runs", help="Runs of the project.")


@app.command(name="list")
def list_runs(*, project: Path | None = None, limit: Limit = 20, json: bool = False) -> int:
    """List the project's runs, newest first.

    Example: expops-prefect runs list --limit 50

    Args:
        project: the project's root folder; without it found from the current folder.
        limit: how many at most.
        json: print JSON.
    """
    opened = open_project(project)
    runs = [] if is_empty(opened) else opened.runs(limit=limit + 1)
    if json:
        print_json([asdict(run) for run in runs[:limit]])
        return OK
    if not runs:
        print_line(f"no runs in {opened.kv.describe()}; {HOW}")
        return OK
    print_table(
        ["run", "flow", "status", "started", "took"],
        [
            (short_run(run.run_id), run.flow, run.status, age(run.started_at), duration(_length(run)))
            for run in runs[:limit]
        ],
    )
    if len(runs) > limit:
        print_note(f"the newest {limit}; more with --limit")
    return OK


@app.command
def show(run: str, *, project: Path | None = None, json: bool = False) -> int:
    """Show a run: what was executed, what came from the cache and from where, metrics and charts.

    Example: expops-prefect runs show latest

    Args:
        run: its id, the beginning or the end of its digits, or ``latest``.
        project: the project's root folder; without it found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    record = find_run(opened, run)
    rows = _in_order(opened.rows(record))
    metrics, charts = opened.metrics(record), opened.charts(record)
    if json:
        print_json(
            {
                **asdict(record),
                "log": record.log,
                "rows": [row.fields for row in rows],
                "metrics": metrics,
                "charts": charts,
            }
        )
        return OK
    print_line(f"{record.run_id}: flow {record.flow} {record.status}, {moment(record.started_at)}", style="bold")
    _print_failure(record)
    print_table(
        ["process or step", "status", "took", "saved", "computed", "computed by", "executed because", "last metrics"],
        [line for row in rows for line in _lines(row, metrics.get(row.path, {}))],
    )
    graph = graph_of(rows, charts)
    if graph.edges:
        print_tree(draw(graph, "", {row.path: row for row in rows}))
    saved = saving(sum(row.saved or 0.0 for row in single_calls(rows)))
    if saved:
        print_line(f"time saved by the cache: {saved}")
    for path, items in charts.items():
        for item in items:
            print_line(f"chart {item.get('title')} of {readable(path)}: {item.get('object_path')}")
    if record.died:
        words = f"its process, {record.pid} on {record.host}, died; it ends with its last sign of life"
        print_line(words, style="yellow")
    for kind, count in record.degraded.items():
        since = moment(record.degraded_since.get(kind))
        print_line(f"degraded: {kind}, {count} times" + (f", since {since}" if since else ""), style="yellow")
    return OK


def _print_failure(record: RunRecord) -> None:
    if record.status != "failed":
        return
    if record.failure and not record.died:
        print_line(f"failed: {record.failure}", style="red")
    if record.failed_path:
        because = f": {record.failed_because}" if record.failed_because else ""
        print_line(f"failed first: {readable(record.failed_path)}{because}", style="red")
    print_line(f"its log: {record.log}")


@app.command
def reconcile(*, project: Path | None = None, dry_run: bool = False, json: bool = False) -> int:
    """Show runs as failed whose processes have died, on this machine or another.

    A run is dead when its process is gone from this machine, or has given no sign of life for two
    minutes; never because it is old. Suspended runs are left alone. Flows do the same when they start.

    Example: expops-prefect runs reconcile --dry-run

    Args:
        project: the project's root folder; without it found from the current folder.
        dry_run: only say which.
        json: print JSON.
    """
    opened = open_project(project)
    if not dry_run:
        opened.outbox.deliver_orphans()
    ended = [] if is_empty(opened) else opened.reconcile(dry_run=dry_run)
    if json:
        print_json({"dry_run": dry_run, "runs": [asdict(run) for run in ended]})
        return OK
    if not ended:
        print_line("every open run gives signs of life")
        return OK
    print_table(
        ["run", "flow", "process", "started", "last sign of life"],
        [
            (short_run(run.run_id), run.flow, f"{run.pid} on {run.host}", age(run.started_at), moment(run.ended_at))
            for run in ended
        ],
    )
    print_line(f"{len(ended)} runs would be shown as failed" if dry_run else f"{len(ended)} runs are shown as failed")
    return OK


def _in_order(rows: list[Row]) -> list[Row]:
    """Processes as they started; below each its calls and steps."""
    paths = {row.path: parse_path(row.path) or CanonicalName(row.path, None, None, None) for row in rows}
    starts: dict[str, float] = {}
    for row in rows:
        process = paths[row.path].process
        starts[process] = min(row.started_at or 0, starts.get(process, math.inf))

    def place(row: Row) -> tuple[object, ...]:
        path = paths[row.path]
        return starts[path.process], path.process, path.call or 0, path.step is not None, row.started_at or 0, row.path

    return sorted(rows, key=place)


def _lines(row: Row, metrics: dict[str, dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    first = row.first
    if first is None:
        yield _line(row, metrics)
        return
    yield _line(row, {})
    # What it logged stands under the name's own path.
    yield _line(first, metrics)


def _line(row: Row, metrics: dict[str, dict[str, Any]]) -> tuple[object, ...]:
    last = ", ".join(f"{name} {_last(series)}" for name, series in sorted(metrics.items()))
    # What the user called it, where that could not be its name.
    label = "" if row.label in (normalise(row.label), row.path) else f" ({row.label})"
    calls = "" if _single(row) else f" ({sum(row.calls.values())} calls)"
    return (
        readable(row.path) + label + calls,
        row.status,
        duration(row.execution_time),
        saving(row.saved),
        age(row.fields.get("cached_ended_at")) if _single(row) else "",
        short_run(row.cached_run_id) if _single(row) else "",
        row.fields.get("miss_reason") if _single(row) else "",
        last,
    )


def _single(row: Row) -> bool:
    return sum(row.calls.values()) <= 1


def _last(series: dict[str, Any]) -> str:
    value = series[max(series, key=int)]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _length(run: RunRecord) -> float | None:
    return None if run.ended_at is None else run.ended_at - run.started_at
