"""Earlier keys of a task, and which of them is nearest to a given key. The number of reads is bounded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from expops_prefect.errors import BackendError
from expops_prefect.explain.components import Code, load_parts, load_sources
from expops_prefect.explain.differences import (
    Difference,
    named_stable,
    of_code,
    of_config,
    of_inputs,
    of_others,
    of_process,
)
from expops_prefect.models import names
from expops_prefect.models.names import CacheKey
from expops_prefect.record import cache_records
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_lookup import newest_runs
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore
from expops_prefect.stores.objects.base import ObjectStore

_RUNS: Final = 20
"""How many earlier runs to search for the same call."""
_SCANNED: Final = 300
"""How many records of a task to read."""
_COMPARED: Final = 200
"""How many of them, the newest, to compare."""
_CODES: Final = 20
"""How many different codes of a task to compare."""


@dataclass(frozen=True, slots=True)
class PastKey:
    """A key, and its components as far as known.

    Attributes:
        key: the key.
        parts: the components of inputs and configuration.
        at: when its result was computed, or looked up in a run; epoch seconds.
        run_id, host: the run and the machine that computed it.
    """

    key: CacheKey
    parts: Mapping[str, Any] | None
    at: float = 0.0
    run_id: str = ""
    host: str = ""


class History:
    """The records before a run.

    Args:
        kv: the project's KV store.
        objects: its object store.
        run: the run.
    """

    def __init__(self, kv: KVStore, objects: ObjectStore, run: RunRecord) -> None:
        self.kv = kv
        self._objects = objects
        self._run = run
        self._runs: list[RunRecord] | None = None
        self._rows: dict[str, list[tuple[str, Mapping[str, JSON]]]] = {}
        self._tasks: dict[str, list[PastKey]] = {}
        self._codes: dict[str, Code | None] = {}
        self._cut: set[str] = set()

    def earlier_rows(self, path: str) -> list[tuple[str, Mapping[str, JSON]]]:
        """The rows of the same call in earlier runs with their run ids, newest first."""
        known = self._rows.get(path)
        if known is None:
            if self._runs is None:
                self._runs = newest_runs(self.kv, self._run.project_id, _RUNS, before=self._run)
            keys = {names.row_key(run.run_id, path): run.run_id for run in self._runs}
            found = tolerant_reads.get_many(self.kv, list(keys))
            known = self._rows[path] = [
                (run_id, _single_call_fields(path, found[key]))
                for key, run_id in keys.items()
                if isinstance(found.get(key), dict)
            ]
        return known

    def is_complete(self, task: str) -> bool:
        """Whether all records of a task were read in the search for the nearest key."""
        return task not in self._cut

    def made_of(self, key: CacheKey, row: Mapping[str, JSON]) -> PastKey:
        """The components of a row's key, from its record, or else from the row."""
        value = tolerant_reads.get(self.kv, key.record_key)
        parts = load_parts(value.get("parts")) if isinstance(value, dict) else None
        return PastKey(key, parts or load_parts(row.get("parts")))

    def nearest(self, row: Row, made: PastKey) -> PastKey | None:
        """The earlier key of the same task that shares most with a key, the newest of several; ``None`` if none exists.

        Keys that this run has computed belong to other calls and are left out. Among equally near keys, one of the same
        call in earlier runs comes first.

        Args:
            row: the row of the call.
            made: its key.
        """
        started = row.started_at or self._run.started_at
        own = self._run.run_id
        stored = (item for item in self._of_task(made.key.task) if item.at <= started and item.run_id != own)
        found = {str(item.key): item for item in stored}
        same_call = set()
        # These include the newest, however many are stored: stored ones are scanned in the order of their digests.
        for item in self._in_earlier_runs(row.path, made.key.task):
            same_call.add(str(item.key))
            known = found.get(str(item.key))
            if known is None or known.at < item.at:
                found[str(item.key)] = item if known is None or item.parts else known
        found.pop(str(made.key), None)
        newest = sorted(found.values(), key=lambda item: item.at, reverse=True)[:_COMPARED]
        self._load_codes([made, *newest])
        # The first of equals, which is the newest.
        return max(newest, key=lambda item: (self._shared(item, made), str(item.key) in same_call), default=None)

    def differences(self, before: PastKey, after: PastKey) -> Iterator[Difference]:
        """The differences between two keys; at least one if the keys differ."""
        unstable = (after.parts or {}).get("unstable")
        for found in self._differences(before, after):
            yield named_stable(found, unstable) if isinstance(unstable, dict) else found

    def _differences(self, before: PastKey, after: PastKey) -> Iterator[Difference]:
        old, new = before.parts, after.parts
        if before.key.inputs != after.key.inputs:
            found = [] if old is None or new is None else list(of_inputs(old["inputs"], new["inputs"]))
            if old is not None and new is not None:
                found += of_others(old.get("others") or [], new.get("others") or [])
                found += of_process(old.get("process") or {}, new.get("process") or {})
            yield from found or [Difference("input", "", "the inputs changed; their former values were not kept")]
        if before.key.config != after.key.config:
            changed = [] if old is None or new is None else list(of_config(old["config"], new["config"]))
            yield from changed or [Difference("config", "", "the configuration changed; its former value was not kept")]
        if before.key.function != after.key.function:
            one, two = self._codes.get(before.key.function), self._codes.get(after.key.function)
            if one is None or two is None:
                yield Difference("code", "", "the code changed; its former source was not kept")
            else:
                other = Difference("code", "", "the references between parts of the code changed")
                yield from list(of_code(one, two)) or [other]

    def _of_task(self, task: str) -> list[PastKey]:
        """The newest records of a task."""
        known = self._tasks.get(task)
        if known is None:
            prefix = f"{names.PROCESS_RECORD_PREFIX}{names.process_path(task)}:"
            stored = list(tolerant_reads.scan(self.kv, prefix, limit=_SCANNED))
            if len(stored) >= _SCANNED:
                self._cut.add(task)
            made = (_past_key(key, value) for key, value in stored)
            known = sorted((item for item in made if item is not None), key=lambda item: item.at, reverse=True)
            self._tasks[task] = known[:_COMPARED]
        return self._tasks[task]

    def _in_earlier_runs(self, path: str, task: str) -> Iterator[PastKey]:
        """The keys of the same call in earlier runs; their results may have been stored again since."""
        keys: dict[str, tuple[CacheKey, str, float, str | None]] = {}
        for run_id, fields in self.earlier_rows(path):
            key = CacheKey.parse(str(fields.get("cache_key", "")))
            if key is not None and key.task == task and key.record_key not in keys:
                at = fields.get("started_at")
                keys[key.record_key] = key, run_id, float(at or 0.0), fields.get("parts")
        values = tolerant_reads.get_many(self.kv, list(keys))
        for name, (key, run_id, at, parts) in keys.items():
            value = values.get(name)
            stored = value if isinstance(value, dict) else {}
            yield PastKey(key, load_parts(stored.get("parts")) or load_parts(parts), at, run_id)

    def _load_codes(self, items: Iterable[PastKey]) -> None:
        for item in items:
            function = item.key.function
            if function in self._codes:
                continue
            if len(self._codes) >= _CODES:
                return
            try:
                data = self._objects.get(names.sources_key(function))
            except BackendError:
                data = None  # compare without it
            self._codes[function] = None if data is None else load_sources(data, function)

    def _shared(self, one: PastKey, two: PastKey) -> float:
        """How much two keys share: inputs, configuration and code count equally."""
        shares = [
            1.0 if one.key.inputs == two.key.inputs else _share(_section(one, "inputs"), _section(two, "inputs")),
            1.0 if one.key.config == two.key.config else _share(_section(one, "config"), _section(two, "config")),
        ]
        if one.key.function == two.key.function:
            return sum(shares) + 1.0
        first, second = self._codes.get(one.key.function), self._codes.get(two.key.function)
        return sum(shares) + _share(first.parts if first else {}, second.parts if second else {})


def _single_call_fields(path: str, value: dict[str, JSON]) -> Mapping[str, JSON]:
    row = Row.load(path, value)
    return (row.first or row).fields


def _section(made: PastKey, name: str) -> Mapping[str, Any]:
    return (made.parts or {}).get(name) or {}


def _share(one: Mapping[str, Any], two: Mapping[str, Any]) -> float:
    """The share of equal parts; always below 1, because something differs."""
    every = one.keys() | two.keys()
    equal = sum(1 for name in every if one.get(name) == two.get(name))
    return float(equal) / (len(every) + 1)


def _past_key(kv_key: str, value: JSON) -> PastKey | None:
    key = cache_records.parse_record_key(kv_key)
    if key is None or not isinstance(value, dict) or not isinstance(value.get("ended_at"), int | float):
        return None
    parts = load_parts(value.get("parts"))
    return PastKey(key, parts, float(value["ended_at"]), str(value.get("run_id") or ""), str(value.get("host") or ""))
