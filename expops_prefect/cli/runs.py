"""``expops-prefect runs``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

from cyclopts import App

from expops_prefect._internal.formatting import age, duration, moment, saving, span
from expops_prefect.cli.drawing import draw
from expops_prefect.cli.output import OK, print_json, print_line, print_note, print_table, print_tree
from expops_prefect.cli.project_lookup import HOW, Limit, Unfold, find_run, is_empty, open_project
from expops_prefect.explain.components import shown_row
from expops_prefect.models.names import CanonicalName, parse_path, readable
from expops_prefect.record.process_rows import Row, row_labels, single_calls, without_repetitions
from expops_prefect.record.run_lookup import short_run
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views.folding import Fold, fold
from expops_prefect.views.graph import graph_of

app = App(name="runs", help="Runs of the project.")


@app.command(name="list")
def list_runs(*, project: Path | None = None, limit: Limit = 20, json: bool = False) -> int:
    """List the project's runs, newest first.

    Example: expops-prefect runs list --limit 50

    Args:
        project: the project's root folder; by default found from the current folder.
        limit: the most runs to list.
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
        print_note(f"showing the newest {limit}; see more with --limit")
    return OK


@app.command
def show(run: str = "latest", *, unfold: Unfold = False, project: Path | None = None, json: bool = False) -> int:
    """Show a run: what was executed, what came from the cache and which run computed it, metrics and charts.

    Example: expops-prefect runs show latest

    Args:
        run: its id, the start or the end of its digits, or ``latest``, which is the default.
        unfold: print a line for each call of a mapped or looped task.
        project: the project's root folder; by default found from the current folder.
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
                "rows": [shown_row(row.fields) for row in rows],
                "metrics": metrics,
                "charts": charts,
            }
        )
        return OK
    print_line(f"{record.run_id}: flow {record.flow} {record.status}, {moment(record.started_at)}", style="bold")
    labels = row_labels(rows)
    _print_failure(record, labels)
    calls = _calls(without_repetitions(rows), metrics)
    print_table(
        ["process or step", "status", "took", "saved", "computed", "computed by", "because", "last metrics"],
        [_line(item) for item in fold(calls, _path, _outcome, labels=labels, unfold=unfold)],
    )
    graph = graph_of(rows, charts)
    if graph.edges:
        print_tree(draw(graph, "", {row.path: row for row in rows}))
    saved = saving(sum(row.saved or 0.0 for row in single_calls(rows)))
    if saved:
        print_line(f"time saved by the cache: {saved}")
    for path, items in charts.items():
        for item in items:
            print_line(f"chart {item.get('title')} of {readable(path, labels)}: {item.get('object_path')}")
    if record.died:
        words = f"its process, {record.pid} on {record.host}, died; its end is its last heartbeat"
        print_line(words, style="yellow")
    for kind, count in record.degraded.items():
        since = moment(record.degraded_since.get(kind))
        print_line(f"degraded: {kind}, {count} times" + (f", since {since}" if since else ""), style="yellow")
    return OK


def _print_failure(record: RunRecord, labels: Mapping[str, str]) -> None:
    if record.status != "failed":
        return
    if record.failure and not record.died:
        print_line(f"failed: {record.failure}", style="red")
    if record.failed_path:
        because = f": {record.failed_because}" if record.failed_because else ""
        print_line(f"failed first: {readable(record.failed_path, labels)}{because}", style="red")
    print_line(f"its log: {record.log}")


@app.command
def reconcile(*, project: Path | None = None, dry_run: bool = False, json: bool = False) -> int:
    """Mark runs as failed whose processes have died, on this machine or another.

    A run counts as dead if its process is gone from this machine, or has sent no heartbeat for two
    minutes; its age does not matter. Suspended runs are left alone. Flows do the same when they start.

    Example: expops-prefect runs reconcile --dry-run

    Args:
        project: the project's root folder; by default found from the current folder.
        dry_run: only print the runs.
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
        print_line("every open run is alive")
        return OK
    print_table(
        ["run", "flow", "process", "started", "last heartbeat"],
        [
            (short_run(run.run_id), run.flow, f"{run.pid} on {run.host}", age(run.started_at), moment(run.ended_at))
            for run in ended
        ],
    )
    runs = f"{len(ended)} run{'' if len(ended) == 1 else 's'}"
    print_line(f"{runs} would be marked as failed" if dry_run else f"{runs} marked as failed")
    return OK


def _in_order(rows: list[Row]) -> list[Row]:
    """Processes in the order of their start, each followed by its calls and steps."""
    paths = {row.path: parse_path(row.path) or CanonicalName(row.path, None, None, None) for row in rows}
    starts: dict[str, float] = {}
    for row in rows:
        process = paths[row.path].process
        starts[process] = min(row.started_at or math.inf, starts.get(process, math.inf))

    def place(row: Row) -> tuple[object, ...]:
        path = paths[row.path]
        return (
            starts[path.process],
            path.process,
            path.call or 0,
            path.step is not None,
            row.started_at or math.inf,
            row.path,
        )

    return sorted(rows, key=place)


_Call: TypeAlias = tuple[Row, Mapping[str, Mapping[str, Any]]]
"""A row with its metrics."""


def _calls(rows: Iterable[Row], metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[_Call]:
    for row in rows:
        first, logged = row.first, metrics.get(row.path, {})
        if first is None:
            yield row, logged
            continue
        yield row, {}
        # Its metrics are under the name's own path.
        yield first, logged


def _path(call: _Call) -> str:
    return call[0].path


def _outcome(call: _Call) -> tuple[object, ...]:
    row = call[0]
    return row.status, row.cached_run_id, row.fields.get("miss_reason"), row.failure, _single(row)


def _line(item: Fold[_Call]) -> tuple[object, ...]:
    rows = [row for row, _ in item.items]
    one, single = rows[0], _single(rows[0])
    took = [row.execution_time for row in rows if row.execution_time is not None]
    computed = [at for row in rows if (at := row.fields.get("cached_ended_at")) is not None]
    return (
        item.name + ("" if single else f" ({sum(one.calls.values())} calls)"),
        one.status,
        (duration if single else span)(sum(took) if took else None),
        saving(sum(row.saved or 0.0 for row in rows)),
        age(min(computed)) if single and computed else "",
        ", ".join(filter(None, (short_run(one.cached_run_id), one.fields.get("cached_by")))) if single else "",
        (one.failure or one.fields.get("miss_reason")) if single else "",
        _last_metrics([logged for _, logged in item.items]),
    )


def _last_metrics(logged: Sequence[Mapping[str, Mapping[str, Any]]]) -> str:
    """The last value of each metric; for several calls the lowest and the highest."""
    found: dict[str, list[Any]] = {}
    for metrics in logged:
        for name, series in metrics.items():
            found.setdefault(name, []).append(series[max(series, key=int)])
    return ", ".join(f"{name} {_spread(values)}" for name, values in sorted(found.items()))


def _spread(values: Sequence[Any]) -> str:
    texts = list(dict.fromkeys(map(_number, values)))
    if len(texts) == 1:
        return texts[0]
    numbers = [value for value in values if not isinstance(value, str)]
    return f"{_number(min(numbers))} to {_number(max(numbers))}" if numbers else ", ".join(texts)


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _single(row: Row) -> bool:
    return sum(row.calls.values()) <= 1


def _length(run: RunRecord) -> float | None:
    return None if run.ended_at is None else run.ended_at - run.started_at
