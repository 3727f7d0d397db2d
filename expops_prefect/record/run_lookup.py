"""Look up runs by name, for Python and for the command line; and find the newest runs without reading all."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, TypeAlias

from expops_prefect.errors import RunNotFoundError
from expops_prefect.models import names
from expops_prefect.record import run_records
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.base import KVStore

RunName: TypeAlias = "str | RunRecord"
"""A run: its record, ``latest``, its id, or the start or the end of its distinguishing digits."""

_DIGITS: Final = re.compile(r"-(\d{14}-([0-9a-f]{8}))$")
_FIRST_WINDOW: Final = 60.0
_WIDER: Final = 8.0
_BESIDE: Final = 8
"""How many runs may be read in addition to those that are asked for."""
_NEAREST: Final = 3
_NEAR: Final = 100
"""How many runs to search for the nearest to a name."""


def short_run(run: str | None) -> str:
    """A run id without its project; you can look a run up by it."""
    found = _DIGITS.search(run or "")
    return found[1] if found else run or ""


def find_run(kv: KVStore, project_id: str, name: RunName) -> RunRecord:
    """The record of a run.

    Args:
        kv: the project's KV store.
        project_id: its id.
        name: the run.

    Raises:
        RunNotFoundError: no run matches, or several do; the message names similar ones.
        FormatError: its record is not one of this package, or is of a newer release.
        BackendError: the store failed.
    """
    if isinstance(name, RunRecord):
        return name
    if name == "latest":
        for run in newest_runs(kv, project_id, 1):
            return run
        raise RunNotFoundError(f"no runs yet in {kv.describe()}")
    exact = run_records.read_run(kv, name) if name else None
    if exact is not None:
        return exact
    found = list(_matching(kv, project_id, name)) if name else []
    if len(found) == 1:
        return found[0]
    place = kv.describe()
    if found:
        found.sort(key=lambda run: run.started_at, reverse=True)
        some = ", ".join(short_run(run.run_id) for run in found[:_NEAREST]) + (", …" if len(found) > _NEAREST else "")
        raise RunNotFoundError(
            f"{name!r} matches {len(found)} runs in {place}: {some}; give more of the id, or 'latest'", tuple(found)
        )
    near = _nearest(kv, project_id, name)
    some = f"; the nearest: {', '.join(short_run(run.run_id) for run in near)}" if near else ""
    raise RunNotFoundError(f"no run {name!r} in {place}{some}; see expops-prefect runs list", tuple(near))


def _matching(kv: KVStore, project_id: str, name: str) -> Iterator[RunRecord]:
    """The runs that match a name. If it is the start of an id or of its time, no others are read."""
    own = f"project-{project_id}-"
    heads = [name] if name.startswith("project-") else [own + name] if name[:4].isdigit() else []
    seen = set()
    for head in heads:
        for run in run_records.read_runs(kv, head=head):
            seen.add(run.run_id)
            yield run
    if seen or name.startswith("project-"):
        return
    for run in run_records.read_runs(kv):
        digits = _DIGITS.search(run.run_id)
        if run.run_id.endswith(name) or run.run_id.startswith(name) or (digits and digits[2].startswith(name)):
            yield run


def _nearest(kv: KVStore, project_id: str, name: str) -> list[RunRecord]:
    runs = {short_run(run.run_id): run for run in newest_runs(kv, project_id, _NEAR)}
    wanted = short_run(name)
    ends = {short.rpartition("-")[2]: short for short in runs}
    close = [
        *difflib.get_close_matches(wanted, runs, _NEAREST),
        *(ends[end] for end in difflib.get_close_matches(wanted, ends, _NEAREST)),
        *runs,
    ]
    return [runs[short] for short in list(dict.fromkeys(close))[:_NEAREST]]


# The newest runs --------------------------------------------------------------------------------


def newest_runs(kv: KVStore, project_id: str, limit: int, *, before: RunRecord | None = None) -> list[RunRecord]:
    """The newest runs, newest first. The number of records read does not grow with the number of runs.

    Stores read keys in ascending order, and run ids start with the time. So read windows that start ever
    earlier until one holds enough runs, and, if it holds many more, windows that start later.

    Args:
        kv: the project's KV store.
        project_id: its id.
        limit: the most runs.
        before: only runs that started no later than this one, without it.
    """
    most = limit + _BESIDE
    window = _Windows(kv, project_id, most, before)
    end = time.time() if before is None else _start_of(before)
    span = _FIRST_WINDOW
    found, whole = window.after(end - span)
    while whole and len(found) < limit and span < end:
        span *= _WIDER
        found, whole = window.after(end - span)
    if whole and len(found) < limit:
        found, whole = window.everything()
    early, late = end - span, end
    while not whole and late - early > 1:
        middle = (early + late) / 2
        found, whole = window.after(middle)
        if whole and len(found) < limit:
            late, whole = middle, False
        elif not whole:
            early = middle
    if not whole:  # many began within one second
        found, _ = window.after(early, most=None)
    return sorted(found, key=lambda run: run.started_at, reverse=True)[:limit]


@dataclass(frozen=True)
class _Windows:
    """Reads the runs after a given time."""

    kv: KVStore
    project_id: str
    most: int
    before: RunRecord | None

    def after(self, start: float, most: int | None = 0) -> tuple[list[RunRecord], bool]:
        """The first runs after a time, and whether they are all."""
        begin = names.first_run_id(self.project_id, max(start, 0.0))
        return self._read(run_records.scan_runs(self.kv, after=begin, limit=self._limit(most)), self._limit(most))

    def everything(self) -> tuple[list[RunRecord], bool]:
        """Like :meth:`after`, for all runs, including ids of other projects or without a project."""
        return self._read(run_records.scan_runs(self.kv), None)

    def _limit(self, most: int | None) -> int | None:
        return None if most is None else self.most + 1

    def _read(self, found: Iterator[tuple[str, RunRecord | None]], limit: int | None) -> tuple[list[RunRecord], bool]:
        runs: list[RunRecord] = []
        before, count = self.before, 0
        # Runs that began in the same second come in any order.
        last = None if before is None else f"{before.run_id.rpartition('-')[0]}-~"
        for run_id, run in found:
            count += 1
            if last is not None and run_id > last:
                return runs, True
            if run is None or (before is not None and not _is_before(run, before)):
                continue
            runs.append(run)
        return runs, limit is None or count < limit


def _is_before(run: RunRecord, other: RunRecord) -> bool:
    return run.run_id != other.run_id and run.started_at <= other.started_at


def _start_of(run: RunRecord) -> float:
    """The time in a run's id, by which it is sorted."""
    digits = _DIGITS.search(run.run_id)
    try:
        moment = datetime.strptime(digits[1][:14] if digits else "", "%Y%m%d%H%M%S")
    except ValueError:
        return run.started_at
    return moment.replace(tzinfo=timezone.utc).timestamp()
