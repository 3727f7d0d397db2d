"""Rows of processes, their calls and steps, as ExpOps' clients read them, with fields of this package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from expops_prefect._internal.redaction import masked_message
from expops_prefect.errors import ProcessNotFoundError
from expops_prefect.models import names
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore

Status = Literal["pending", "running", "completed", "cached", "failed"]
TERMINAL: Final = frozenset({"completed", "cached", "failed"})
STATUSES: Final = TERMINAL | {"pending", "running"}
FIRST: Final = "first"
"""Field of a row that sums up calls: the first call, which has no row of its own; empty for a single call."""
OF_ONE_CALL: Final = frozenset({"cache_key", "miss", "miss_reason", "not_kept", "parts"})
"""Fields that make no sense for several calls: a sum keeps those of the first call."""
BY_PREFECT: Final = "Prefect's own cache"
"""The value of ``cached_by`` for a result from Prefect's own cache."""
_NAMED: Final = 10
"""How many processes a message names."""
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
    """A process, one of its calls, or a step, as ExpOps' clients read it, with fields of this package."""

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
        """Read the known fields of a stored row; a field of a wrong type counts as absent.

        Rows may also come from ExpOps, or from anybody else who can write to the store.
        """
        row = dict(value) if isinstance(value, dict) else {}
        for name, kinds in _ROW_KINDS.items():
            if name in row and (not isinstance(row[name], kinds) or isinstance(row[name], bool)):
                row[name] = None
        if row.get("status") not in STATUSES:
            row["status"] = "pending"
        for name in _MESSAGES:
            if row.get(name):
                row[name] = masked_message(str(row[name]))  # older releases did not mask them
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
        """Seconds that a hit saved over computing; ``None`` if the row is not a single hit."""
        if self.status != "cached" or sum(self.calls.values()) > 1:
            return None
        took = self.execution_time
        if took is None and self.started_at is not None and self.ended_at is not None:
            took = self.ended_at - self.started_at
        return saved_seconds(self.cached_execution_time, took)

    @property
    def failure(self) -> str:
        """Why it failed, or why its first failed call did; empty if unknown."""
        return str(self.fields.get("failure") or "")

    @property
    def first(self) -> Row | None:
        """The first of several calls that the row sums up, if it is known and has no row of its own.

        Its path has the number 1.
        """
        said = self.fields.get(FIRST)
        if not said or sum(self.calls.values()) <= 1:
            return None
        shared = {name: self.fields[name] for name in ("label", *OF_ONE_CALL) if name in self.fields}
        return Row.load(names.first_call_path(self.path), {**shared, **said})


def saved_seconds(computing: float | None, hit: float | None) -> float | None:
    """Seconds that a hit saved: computing time less its own, at least zero; ``None`` if unknown."""
    return None if computing is None else max(0.0, computing - (hit or 0.0))


def without_repetitions(rows: Iterable[Row]) -> list[Row]:
    """The rows, without those that sum up a single call which has a row of its own: a task mapped over one item."""
    found = list(rows)
    paths = {row.path for row in found}

    def repeats(row: Row) -> bool:
        first = names.first_call_path(row.path)
        return sum(row.calls.values()) == 1 and first != row.path and first in paths

    return [row for row in found if not repeats(row)]


def single_calls(rows: Iterable[Row]) -> Iterator[Row]:
    """Each call once: from its own row, or as the first call of a row that sums up several."""
    for row in without_repetitions(rows):
        if sum(row.calls.values()) <= 1:
            yield row
        elif (first := row.first) is not None:
            yield first


def labels_of(called: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The labels of a run's processes and steps by name; by path if another one has the same name.

    Names are unique below one call, but not across calls or processes. A task that was given another process's
    name is shown by that name.

    Args:
        called: pairs of probe path and label.
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


def rows_named(run_id: str, rows: Iterable[Row], name: str) -> list[Row]:
    """The rows of the process or step of a name, with those of its calls.

    Args:
        run_id: the run, for the message.
        rows: its rows.
        name: as shown or as in your code, or a probe path.

    Raises:
        ProcessNotFoundError: no row has this name.
    """
    rows = list(rows)
    found = [row for row in rows if _is_named(row, name)]
    if not found:
        known = list(dict.fromkeys(_process(row.path) for row in rows))
        some = f"; it has {', '.join(known[:_NAMED])}{', …' if len(known) > _NAMED else ''}" if known else ""
        raise ProcessNotFoundError(
            f"no process or step {name!r} in run {run_id}{some}; see expops-prefect runs show {run_id[-8:]}"
        )
    return found


def _is_named(row: Row, wanted: str) -> bool:
    parsed = names.parse_path(row.path)
    known = {row.path, row.label, names.readable(row.path)}
    if parsed is not None:
        known |= {parsed.process} if parsed.step is None else {parsed.step}
    return not known.isdisjoint({wanted, names.process_name(wanted), names.normalise(wanted)})


def _process(path: str) -> str:
    parsed = names.parse_path(path)
    return path if parsed is None else parsed.process


def read_rows(kv: KVStore, run: str) -> list[Row]:
    """All rows of a run: processes, calls and steps."""
    prefix, suffix = names.run_rows_prefix(run), f":{names.PROCESS_STEP}"
    found = ((key, value) for key, value in tolerant_reads.scan(kv, prefix) if key.endswith(suffix))
    return [Row.load(key[len(prefix) : -len(suffix)], value) for key, value in found]
