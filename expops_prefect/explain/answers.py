"""Explain why calls of a run were executed, or which run their results came from.

A row says briefly why its call was executed. If it says "no result yet", this module compares its key with the
nearest earlier key of the same task, component by component.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from expops_prefect.errors import FormatError
from expops_prefect.explain.differences import Difference
from expops_prefect.explain.history import History
from expops_prefect.models import names
from expops_prefect.models.misses import MissKind
from expops_prefect.record import process_rows, run_records
from expops_prefect.record.cache_records import read_cache_record, read_removal
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.objects.base import ObjectStore

Because = Literal[
    MissKind,
    "hit",
    "new",
    "changed",
    "not stable",
    "removed",
    "failed",
    "calls",
    "unknown",
]
"""A kind of miss, or: ``new``: never computed before; ``changed``: see the differences; ``not stable``: the
differences appear each time; ``removed``: its result was removed; ``failed``: it failed the last time; ``calls``:
several calls with explanations of their own; ``unknown``: nothing was recorded."""


@dataclass(frozen=True, slots=True)
class Computed:
    """The computation of a result. Times are epoch seconds.

    Attributes:
        run_id: the run; empty outside runs.
        host: the machine; empty if unknown.
        started_at, ended_at: its start and end.
        execution_time: seconds.
        key: the cache key; empty if unknown.
    """

    run_id: str
    host: str
    started_at: float | None
    ended_at: float | None
    execution_time: float | None
    key: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call was executed, or which run its result came from.

    Attributes:
        path: the probe path of the process, call or step.
        label: the user's name for it.
        status: its status word.
        calls: how many calls the row sums up. For several calls recorded by an older release, not all of them
            hits, this explains the first.
        took: seconds.
        because: the answer for programs.
        reason: the answer for people, one line.
        differences: from the nearest earlier record, if they are the reason.
        compared_with: that record.
        computed_by: for a hit, the computation of its result.
        saved: for a hit, the seconds that it saved.
        upstream: processes whose results it used and that were executed in the same run.
    """

    path: str
    label: str
    status: str
    calls: int
    took: float | None
    because: Because
    reason: str
    differences: tuple[Difference, ...] = ()
    compared_with: Computed | None = None
    computed_by: Computed | None = None
    saved: float | None = None
    upstream: tuple[str, ...] = ()


def explain(kv: KVStore, objects: ObjectStore, run: RunRecord, process: str | None = None) -> list[Explanation]:
    """Explain the calls of a run, in the order of their start.

    Args:
        kv: the project's KV store.
        objects: its object store.
        run: the run.
        process: only this one: the name of a process or step, as shown or as in your code, or a probe path.

    Raises:
        ProcessNotFoundError: the run has no process or step of that name.
        BackendError: a store failed.
    """
    rows = process_rows.read_rows(kv, run.run_id)
    paths = {row.path for row in rows}
    executed = {_process(row.path) for row in rows if row.status != "cached"}
    if process is not None:
        rows = process_rows.rows_named(run.run_id, rows, process)
    rows = process_rows.without_repetitions(rows)
    rows.sort(key=lambda row: (row.started_at or 0.0, row.path))
    history = History(kv, objects, run)
    return [
        replace(item, upstream=tuple(name for name in row.upstream if name in executed))
        for row in rows
        for item in _explain_all(history, row, paths)
    ]


def _explain_all(history: History, row: Row, paths: Container[str]) -> Iterator[Explanation]:
    first = row.first
    if first is None:
        mapped = sum(row.calls.values()) > 1 and names.first_call_path(row.path) in paths
        yield _summarise_calls(row) if mapped else _explain(history, row)
        return
    yield _summarise_calls(row)
    # Earlier runs recorded it under the name's own path too.
    yield replace(_explain(history, replace(first, path=row.path)), path=first.path)


def _process(path: str) -> str:
    parsed = names.parse_path(path)
    return path if parsed is None else parsed.process


def _explain(history: History, row: Row) -> Explanation:
    calls = max(1, sum(row.calls.values()))
    if row.status == "cached":
        return _explain_hit(history.kv, row, calls)
    because, reason = row.fields.get("miss"), str(row.fields.get("miss_reason", ""))
    if because == "absent":
        return _explain_miss(history, row, calls, reason)
    if because is None and calls > 1:
        return _summarise_calls(row)
    if because is None:
        reason = "no reason was recorded: a flow, which always runs, or a run of an older release"
    return Explanation(row.path, row.label, row.status, calls, row.execution_time, because or "unknown", reason)


def _summarise_calls(row: Row) -> Explanation:
    reason = ", ".join(f"{count} {status}" for status, count in sorted(row.calls.items()))
    calls = sum(row.calls.values())
    return Explanation(row.path, row.label, row.status, calls, row.execution_time, "calls", reason)


def _explain_hit(kv: KVStore, row: Row, calls: int) -> Explanation:
    key = str(row.fields.get("cache_key", ""))
    run_id = row.cached_run_id or ""
    parsed = names.CacheKey.parse(key)
    record = None if parsed is None else read_cache_record(kv, parsed)
    host = record.host if record is not None and record.run_id == run_id else ""
    if not host and run_id:
        host = _host_of(kv, run_id)
    fields, took = row.fields, row.cached_execution_time
    by = Computed(run_id, host, fields.get("cached_started_at"), fields.get("cached_ended_at"), took, key)
    saved = process_rows.saved_seconds(took, row.execution_time)
    reason = f"computed by {f'run {run_id}' if run_id else 'a task outside any run'}"
    return Explanation(
        row.path,
        row.label,
        row.status,
        calls,
        row.execution_time,
        "hit",
        reason + (f" on {host}" if host else ""),
        computed_by=by,
        saved=saved,
    )


def _host_of(kv: KVStore, run_id: str) -> str:
    try:
        run = run_records.read_run(kv, run_id)
    except FormatError:
        return ""
    return "" if run is None else run.host


def _explain_miss(history: History, row: Row, calls: int, reason: str) -> Explanation:
    def explained(because: Because, text: str, **more: Any) -> Explanation:
        return Explanation(row.path, row.label, row.status, calls, row.execution_time, because, text, **more)

    key = names.CacheKey.parse(str(row.fields.get("cache_key", "")))
    if key is None:
        return explained("absent", reason)
    before = _computed_before(history, row, key)
    if before is not None:
        return explained(*before)
    made = history.made_of(key, row.fields)
    nearest = history.nearest(row, made)
    if nearest is None:
        if history.is_complete(key.task):
            return explained("new", f"never computed before: {key.task} has no earlier record")
        return explained("unknown", f"none of the results of {key.task} that were read can be compared")
    differences = tuple(history.differences(nearest, made))
    more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
    with_ = Computed(nearest.run_id, nearest.host, None, nearest.at, None, str(nearest.key))
    because: Because = "changed" if any(found.stable for found in differences) else "not stable"
    return explained(because, differences[0].text + more, differences=differences, compared_with=with_)


def _computed_before(history: History, row: Row, key: names.CacheKey) -> tuple[Because, str] | None:
    """Why there is no result although this key was computed before; ``None`` if it was not."""
    same = next((item for item in history.earlier_rows(row.path) if item[1].get("cache_key") == str(key)), None)
    removal = read_removal(history.kv, key)
    ended = (same[1].get("ended_at") or 0.0) if same is not None else 0.0
    if removal is not None and ended <= removal.at <= (row.started_at or removal.at):
        return "removed", f"its result was {removal.text}"
    if same is None:
        return None
    run_id, fields = same
    if fields.get("not_kept"):
        return "not kept", f"run {run_id} computed it, but its result could not be kept: {fields['not_kept']}"
    if fields.get("status") == "failed":
        return "failed", f"it failed in run {run_id}, and only results of completed task runs are kept"
    if fields.get("status") in ("completed", "cached"):
        return "removed", f"its result, of run {run_id} or an earlier one, is not in the cache any more"
    return None
