"""The rows of processes, calls and steps: how they are made, and how calls of one name add up; and charts.

Pure functions over the JSON form. Every process that opens a project registers the changes, because it may
have to deliver the outbox of another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from expops_prefect._internal.diagnostics import merged as merged_events
from expops_prefect.models.names import PROCESS_STEP, shown
from expops_prefect.record.process_rows import FIRST, Status
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.outbox.changes import register_change

Fields = Mapping[str, JSON]
_OF_FIRST: Final = frozenset(
    {"started_at", "ended_at", "cached_run_id", "cached_started_at", "cached_ended_at", "cached_execution_time"}
    | {"cached_by", "cache_path", "waited_seconds", "task_run_id", "upstream", "failure", "log"}
)
"""Fields of the first call that a sum keeps for it; the other fields of a single call are in the sum itself."""
_CUT_OFF: Final = "cut_off"
"""Field of a sum: how many of its calls were marked as failed because their process seemed dead."""


class CountedCall(Protocol):
    """The attributes of a call that its row needs; see :class:`expops_prefect.run_context.Call`."""

    @property
    def run_id(self) -> str: ...  # noqa: D102

    @property
    def label(self) -> str: ...  # noqa: D102

    @property
    def path(self) -> str: ...  # noqa: D102

    @property
    def total(self) -> str: ...  # noqa: D102

    @property
    def step_of(self) -> tuple[str, str] | None: ...  # noqa: D102

    @property
    def attempt(self) -> int: ...  # noqa: D102


def call_row(call: CountedCall, status: Status, fields: Fields) -> dict[str, JSON]:
    """The row of one call.

    Args:
        call: the call.
        status: its status word.
        fields: ``started_at``, ``ended_at`` and other known fields.
    """
    return _timed({**_base(call, call.path), **fields, "status": status})


def add_to_total(
    row: JSON | None, call: CountedCall, before: Status | None, after: Status, fields: Fields
) -> dict[str, JSON]:
    """The row of a name after one of its calls changed its status.

    ``calls`` counts the calls by status. The sum is running while any call runs, failed if any
    failed, cached if all were cached, completed otherwise; it spans the first start to the last end.

    Args:
        row: the current row; ``None`` if there is none.
        call: the call that changed.
        before: the status that it counted under; ``None`` for a new call.
        after: its new status.
        fields: the known fields of the call.
    """
    return changed_total(row, total_arguments(call, before, after, fields))


def total_arguments(call: CountedCall, before: Status | None, after: Status, fields: Fields) -> dict[str, JSON]:
    """The arguments of :func:`changed_total`, as an outbox stores them."""
    first = call.path == call.total
    return {"base": _base(call, call.total), "before": before, "after": after, "fields": dict(fields), "first": first}


def changed_total(row: JSON | None, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    """:func:`add_to_total` over :func:`total_arguments`."""
    base, before, after, fields = (arguments[name] for name in ("base", "before", "after", "fields"))
    if row is None or row.get("attempt") != base["attempt"]:
        row = {}  # A restarted flow counts its calls from zero.
    calls: dict[str, int] = dict(row.get("calls") or {})
    row, before = _recount_cut_off(row, before)
    if before is not None:
        calls[before] = calls.get(before, 0) - 1
        if calls[before] <= 0:
            del calls[before]
    calls[after] = calls.get(after, 0) + 1
    merged = {**row, **base, **fields, "calls": calls, "status": _sum(calls)}
    # Outboxes of older releases lack it.
    if arguments.get("first"):
        merged[FIRST] = {} if sum(calls.values()) == 1 else _own_fields(fields, after)
    elif row.get(FIRST) == {}:
        merged[FIRST] = _own_fields(row, row["status"])
    if merged["status"] != "cached":
        # These belong to one of its calls, but the sum was executed.
        merged = {name: value for name, value in merged.items() if not name.startswith("cached_")}
    if "failure" in row:  # the first failure explains more than the later ones
        merged |= {name: row[name] for name in ("failure", "log") if name in row}
    if sum(calls.values()) > 1:
        merged["started_at"] = _first(row.get("started_at"), fields.get("started_at"))
        last = _last(row.get("ended_at_latest", row.get("ended_at")), fields.get("ended_at"))
        merged["ended_at_latest"] = last
        merged["ended_at"] = None if merged["status"] == "running" else last
    merged["upstream"] = sorted({*(row.get("upstream") or ()), *(fields.get("upstream") or ())})
    return _timed(merged)


register_change("rows.total", changed_total)


def with_chart(charts: JSON | None, item: Fields) -> dict[str, JSON]:
    """The charts of a process with one added; it replaces one of the same name."""
    items = [] if charts is None else charts.get("items", [])
    return {"type": "static", "items": [*(other for other in items if _chart(other) != _chart(item)), dict(item)]}


def _chart(item: Fields) -> tuple[JSON, str]:
    """The identity of a chart. Titles are shown with look-alikes; a file name without suffix is the whole name."""
    return item.get("title"), str(item.get("object_key")).rpartition(".")[0]


register_change("charts.add", with_chart)
register_change("degraded.add", merged_events)


def cut_off(row: Fields, now: float) -> dict[str, JSON]:
    """Mark a running row as failed, because its process has died.

    Args:
        row: the row of a call, or of a name.
        now: when its death was noticed, epoch seconds.
    """
    ended: dict[str, JSON] = {**row, "status": "failed", "ended_at": now}
    calls = row.get("calls")
    if calls:
        kept = {status: count for status, count in calls.items() if status != "running"}
        ended["calls"] = {**kept, "failed": kept.get("failed", 0) + calls.get("running", 0)}
        ended[_CUT_OFF] = row.get(_CUT_OFF, 0) + calls.get("running", 0)
    first = row.get(FIRST)
    if first and first.get("status") == "running":
        ended[FIRST] = _timed({**first, "status": "failed", "ended_at": now})
    return _timed(ended)


def _recount_cut_off(row: Fields, before: Status | None) -> tuple[Fields, Status | None]:
    """Count a running call that was marked as failed under ``failed``: its process lived, or was late."""
    cut = row.get(_CUT_OFF, 0)
    if before != "running" or not cut:
        return row, before
    return {**row, _CUT_OFF: cut - 1}, "failed"


def cut_off_if_running(row: JSON | None, now: float) -> dict[str, JSON]:
    """:func:`cut_off` of a row that is still running; any other row is unchanged."""
    value: dict[str, JSON] = row or {}
    return cut_off(value, now) if value.get("status") == "running" else value


def _sum(calls: Mapping[str, int]) -> Status:
    if calls.get("running"):
        return "running"
    if calls.get("failed"):
        return "failed"
    if calls.get("pending"):
        return "pending"
    return "cached" if set(calls) == {"cached"} else "completed"


def _own_fields(fields: Fields, status: Status) -> dict[str, JSON]:
    """The fields of the first call in a sum."""
    return _timed({**{name: fields[name] for name in fields if name in _OF_FIRST}, "status": status})


def _base(call: CountedCall, path: str) -> dict[str, Any]:
    return {
        "process_name": path,
        "step_name": PROCESS_STEP,
        "run_id": call.run_id,
        "label": shown(call.label),
        "attempt": call.attempt,
        "step_of": None if call.step_of is None else list(call.step_of),
    }


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    started, ended = row.get("started_at"), row.get("ended_at")
    row["execution_time"] = None if started is None or ended is None else max(0.0, ended - started)
    return row


def _first(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _last(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
