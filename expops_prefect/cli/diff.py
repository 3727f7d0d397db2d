"""``expops-prefect runs diff``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from expops_prefect._internal.formatting import age, duration
from expops_prefect.cli.output import OK, print_json, print_line, print_table
from expops_prefect.cli.project_lookup import Unfold, find_run, open_project
from expops_prefect.models.names import readable
from expops_prefect.project import Project
from expops_prefect.record.process_rows import row_labels
from expops_prefect.record.run_lookup import newest_runs, short_run
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views.comparison import Comparison, ProcessDifference, compare
from expops_prefect.views.folding import Fold, fold

_LOOKED_AT: Final = 20
"""How many earlier runs to search for one of the same flow."""


def diff_runs(
    first: str = "latest",
    second: str | None = None,
    *,
    unfold: Unfold = False,
    project: Path | None = None,
    json: bool = False,
) -> int:
    """Compare two runs: the flow's parameters, what was executed and why, and the last values of metrics.

    For a process whose cache key changed, it names the parts that differ: inputs, config or function.
    ``latest`` alone is compared with the previous run of the same flow, any other run with ``latest``.

    Example: expops-prefect runs diff 0f3a latest

    Args:
        first: a run: its id, the start or the end of its digits, or ``latest``, which is the default.
        second: the other run.
        unfold: print a line for each call of a mapped or looped task.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    records = [find_run(opened, first), find_run(opened, second or "latest")]
    if second is None and records[0].run_id == records[1].run_id:
        records[0] = _previous_run(opened, records[0])
    one, other = ((record, opened.rows(record), opened.metrics(record)) for record in records)
    found = compare(one, other)
    labels = row_labels([*one[1], *other[1]])
    if json:
        print_json(_as_json([record.run_id for record in records], found))
        return OK
    for sign, record in zip("-+", records, strict=True):
        print_line(
            f"{sign} {short_run(record.run_id)}: flow {record.flow} {record.status}, {age(record.started_at)}",
            style="bold",
        )
    if found.same:
        print_line("the runs do not differ in parameters, statuses, cache keys or metrics")
        return OK
    if found.parameters:
        print_table(
            ["parameter", "-", "+"],
            [(name, _value(pair.first), _value(pair.second)) for name, pair in found.parameters.items()],
        )
    if found.processes:
        print_table(
            ["process or step", "-", "took", "+", "took", "changed"],
            [_line(item) for item in fold(found.processes, _path, _outcome, labels=labels, unfold=unfold)],
        )
    if found.metrics:
        print_table(
            ["metric", "of", "-", "+", "change"],
            [
                (
                    name,
                    readable(path, labels),
                    _value(pair.first),
                    _value(pair.second),
                    _change(pair.first, pair.second),
                )
                for (path, name), pair in found.metrics.items()
            ],
        )
    return OK


def _path(item: ProcessDifference) -> str:
    return item.path


def _outcome(item: ProcessDifference) -> tuple[object, ...]:
    return item.status, item.changed


def _line(item: Fold[ProcessDifference]) -> tuple[object, ...]:
    one = item.items[0]
    first = [found.seconds.first for found in item.items if found.seconds.first is not None]
    second = [found.seconds.second for found in item.items if found.seconds.second is not None]
    return (
        item.name,
        one.status.first or "absent",
        duration(sum(first) if first else None),
        one.status.second or "absent",
        duration(sum(second) if second else None),
        ", ".join(one.changed),
    )


def _previous_run(project: Project, run: RunRecord) -> RunRecord:
    """The previous run of the same flow, else the previous run of any flow, else the run itself."""
    earlier = newest_runs(project.kv, project.project_id, _LOOKED_AT, before=run)
    return next((item for item in earlier if item.flow == run.flow), earlier[0] if earlier else run)


def _value(value: Any) -> str:
    if value is None:
        return "absent"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _change(before: Any, after: Any) -> str:
    numbers = isinstance(before, int | float) and isinstance(after, int | float)
    return f"{after - before:+.6g}" if numbers else ""


def _as_json(runs: list[str], found: Comparison) -> dict[str, Any]:
    return {
        "runs": runs,
        "parameters": {name: asdict(pair) for name, pair in found.parameters.items()},
        "processes": [asdict(item) for item in found.processes],
        "metrics": [{"path": path, "metric": name, **asdict(pair)} for (path, name), pair in found.metrics.items()],
    }
