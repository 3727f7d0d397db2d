"""``expops-prefect run``: the pipeline of an ExpOps project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from cyclopts import Parameter

from expops_prefect._internal.formatting import duration, saving, span
from expops_prefect.cli.output import OK, PROBLEM, UsageError, print_json, print_line, print_table
from expops_prefect.cli.project_lookup import open_project
from expops_prefect.models.names import flow_run_key, parse_path, readable
from expops_prefect.project import Project

if TYPE_CHECKING:
    from expops_prefect.record.process_rows import Row


def run(
    *,
    project: Path | None = None,
    param: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json: bool = False,
) -> int:
    """Run the pipeline in project_config.yaml as a Prefect flow; unchanged processes come from the cache.

    Example: expops-prefect run --param train_model.epochs=10

    Args:
        project: the project's root folder; by default found from the current folder.
        param: NAME=VALUE or PROCESS.NAME=VALUE overrides a configured parameter: JSON or text; repeatable.
        json: print JSON.
    """
    opened = open_project(project)
    parameters = dict(map(_parameter, param))
    flow = opened.as_flow()
    with _without_heartbeats():
        state: Any = flow(parameters or None, return_state=True)
    rows, run_id = _rows(opened, str(state.state_details.flow_run_id))
    if json:
        print_json({"run_id": run_id, "status": _status(state), "rows": [row.fields for row in rows]})
    else:
        _print(rows, run_id, state)
    return OK if state.is_completed() else PROBLEM


@contextmanager
def _without_heartbeats() -> Iterator[None]:
    """Disable Prefect's heartbeat thread, which delays the end of a run to the next full second.

    You see a crash here yourself. A frequency that you have set is kept.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings(set_defaults={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--param {text}: write NAME=VALUE or PROCESS.NAME=VALUE")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value  # text needs no quotes


def _rows(project: Project, flow_run_id: str) -> tuple[list[Row], str | None]:
    mapped = project.kv.get(flow_run_key(flow_run_id)) if project.settings.record.enabled else None
    if mapped is None:
        return [], None
    rows = project.rows(mapped["run_id"])
    return sorted(rows, key=lambda row: (row.started_at or 0, row.path)), mapped["run_id"]


def _status(state: Any) -> str:
    return "completed" if state.is_completed() else "failed"


def _took(row: Row) -> str:
    return (span if sum(row.calls.values()) > 1 else duration)(row.execution_time)


def _print(rows: list[Row], run_id: str | None, state: Any) -> None:
    processes = [row for row in rows if (parsed := parse_path(row.path)) is None or parsed.step is None]
    print_table(
        ["process", "status", "took", "saved"],
        [(readable(row.path), row.status, _took(row), saving(row.saved)) for row in processes],
    )
    counts = Counter(row.status for row in processes)
    executed = counts["completed"] + counts["failed"]
    failed = f", {counts['failed']} of them failed" if counts["failed"] else ""
    print_line(
        f"{run_id or 'the run'} {_status(state)}: {executed} executed{failed}, {counts['cached']} from the cache",
        style="bold",
    )
