"""Rows of processes, their calls and steps, as ExpOps' clients read them, with fields of our own beside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from expops_prefect._internal.redaction import masked_message
from expops_prefect.models import names
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore

Status = Literal["pending", "running", "completed", "cached", "failed"]
TERMINAL: Final = frozenset({"completed", "cached", "failed"})
STATUSES: Final = TERMINAL | {"pending", "running"}
FIRST: Final = "first"
"""Field of a row that sums calls up: the first call, which has no row of its own; empty while it is the only one."""
OF_ONE_CALL: Final = frozenset({"cache_key", "miss", "miss_reason", "not_kept", "parts"})
"""Fields that say nothing of several calls together: in a sum they are the first call's."""
BY_PREFECT: Final = "Prefect's own cache"
"""What a row's ``cached_by`` says of a result that is none of ours."""
_TIMES: Final = (
    *("started_at", "ended_at", "execution_time"),
    *("cached_started_at", "cached_ended_at", "cached_execution_time", "waited_seconds"),
)
_MESSAGES: Final = ("miss_reason", "not_kept")
_TEXTS: Final = (
    "status",
    "label",
    "cached_run_id",
    "cache_path",
    "cache_key",
    "task_run_id",
    "not_kept",
    "parts",
    "failure",
    "log",
)
_ROW_KINDS: Final[dict[str, Any]] = {
    **dict.fromkeys(_TIMES, (int, float)),
    **dict.fromkeys(_TEXTS, str),
    "calls": dict,
    FIRST: dict,
    "upstream": list,
}


@dataclass(frozen=True, slots=True)
class Row:
    """A process, one of its calls, or a step, as ExpOps' clients read it, with our fields beside."""

    path: str
    status: Status
    started_at: float | None
    ended_at: float | None
    execution_time: float | None
    cached_run_id: str | None
    cached_execution_time: float | None
    cache_path: str | None
    label: str
    calls: Mapping[str, int]
    upstream: tuple[str, ...]
    fields: Mapping[str, JSON]
    """The whole row."""

    @classmethod
    def load(cls, path: str, value: JSON) -> Row:
        """Take out of a stored row what readers use; what is of another kind than it should be counts as absent.

        Others write rows too: ExpOps itself, and whoever may write to the store.
        """
        row = dict(value) if isinstance(value, dict) else {}
        for name, kinds in _ROW_KINDS.items():
            if name in row and (not isinstance(row[name], kinds) or isinstance(row[name], bool)):
                row[name] = None
        if row.get("status") not in STATUSES:
            row["status"] = "pending"
        for name in _MESSAGES:
            if row.get(name):
                row[name] = masked_message(str(row[name]))  # older releases wrote them as they were
        calls, upstream = row.get("calls") or {}, row.get("upstream") or ()
        return cls(
            path=path,
            status=row["status"],
            started_at=row.get("started_at"),
            ended_at=row.get("ended_at"),
            execution_time=row.get("execution_time"),
            cached_run_id=row.get("cached_run_id"),
            cached_execution_time=row.get("cached_execution_time"),
            cache_path=row.get("cache_path"),
            label=row.get("label") or path,
            calls={status: count for status, count in calls.items() if type(count) is int},
            upstream=tuple(name for name in upstream if isinstance(name, str)),
            fields=row,
        )

    @property
    def saved(self) -> float | None:
        """Seconds that a hit took less than computing; ``None`` for what is no hit of one call."""
        if self.status != "cached" or sum(self.calls.values()) > 1:
            return None
        took = self.execution_time
        if took is None and self.started_at is not None and self.ended_at is not None:
            took = self.ended_at - self.started_at
        return saved_seconds(self.cached_execution_time, took)

    @property
    def failure(self) -> str:
        """Why it failed, or the first of its calls that did; empty if that is not known."""
        return str(self.fields.get("failure") or "")

    @property
    def first(self) -> Row | None:
        """Of a row that sums several calls up the first one, if there is no row of its own and it is known.

        Its path has the number 1.
        """
        said = self.fields.get(FIRST)
        if not said or sum(self.calls.values()) <= 1:
            return None
        shared = {name: self.fields[name] for name in ("label", *OF_ONE_CALL) if name in self.fields}
        return Row.load(names.first_call_path(self.path), {**shared, **said})


def saved_seconds(computing: float | None, hit: float | None) -> float | None:
    """What a hit saved: the seconds of computing less its own, never below zero; ``None`` if they are not known."""
    return None if computing is None else max(0.0, computing - (hit or 0.0))


def single_calls(rows: Iterable[Row]) -> Iterator[Row]:
    """Each call once: the rows that are of one call, and first calls out of the rows that sum several up."""
    for row in rows:
        if sum(row.calls.values()) <= 1:
            yield row
        elif (first := row.first) is not None:
            yield first


def labels_of(called: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What users call the processes and steps of a run, by their names; by its path where another has that name.

    Names are kept apart below one call. Below two, perhaps in two processes, each may have the same name.
    A task that was given another process's name is shown by that.

    Args:
        called: probe paths with their labels.
    """
    found: dict[str, str] = {}
    for path, label in called:
        parsed = names.parse_path(path)
        name = None if parsed is None else parsed.step or parsed.process
        if name is None or label == path or not names.is_named_by(name, label):
            continue
        if found.setdefault(name, label) != label:
            found[path] = label
    return found


def row_labels(rows: Iterable[Row]) -> dict[str, str]:
    """:func:`labels_of` of rows."""
    return labels_of((row.path, row.label) for row in rows)


def read_rows(kv: KVStore, run: str) -> list[Row]:
    """All rows of a run: processes, calls and steps."""
    prefix, suffix = names.run_rows_prefix(run), f":{names.PROCESS_STEP}"
    found = ((key, value) for key, value in tolerant_reads.scan(kv, prefix) if key.endswith(suffix))
    return [Row.load(key[len(prefix) : -len(suffix)], value) for key, value in found]
