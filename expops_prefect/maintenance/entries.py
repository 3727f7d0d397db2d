"""All cached results of a project, each with every key that its record stands under, and how records are removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from expops_prefect.errors import FormatError, KVDamagedError
from expops_prefect.models import names
from expops_prefect.models.record_format import is_newer
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, parse_record_key
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.outbox.changes import Publish, Put
from expops_prefect.stores.outbox.journal import Journal

PARALLEL: Final = 8
_PAGE: Final = 200
_PREFIXES: Final = (names.PROCESS_RECORD_PREFIX, names.STEP_RECORD_PREFIX, names.FOREIGN_RECORD_PREFIX)

Progress: TypeAlias = Callable[[str, int], None]
"""Told what kind of thing was dealt with and how many so far."""


def silent(kind: str, count: int) -> None:
    """No progress is shown."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record and the KV key that it stands under; hits do not use one that is not ``trusted``."""

    kv_key: str
    record: CacheRecord
    trusted: bool = True

    @property
    def objects(self) -> dict[str, int]:
        """The keys of its objects with their sizes in bytes: manifest, payloads, sources of the code."""
        record = self.record
        found: dict[str, int] = {}
        if record.object_key:  # else another storage has the result
            found[record.object_key] = record.size - sum(item.size for item in record.payloads)
            found |= {item.key: item.size for item in record.payloads}
        if record.sources_size:
            found[names.sources_key(self.kv_key.rpartition(":")[2])] = record.sources_size
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached result: the record that hits read comes first, then those that ExpOps reads for steps.

    Attributes:
        task: the task's normalised name.
        key: its cache key; ``None`` for a key of another policy's.
        stored: its records, at least one.
        used_at: when it was used last, as far as that was noted, or else computed; epoch seconds.
    """

    task: str
    key: names.CacheKey | None
    stored: tuple[Stored, ...]
    used_at: float

    @property
    def record(self) -> CacheRecord:
        """The first of its records."""
        return self.stored[0].record

    @property
    def name(self) -> str:
        """Its cache key, or the KV key of its record."""
        return self.stored[0].kv_key if self.key is None else str(self.key)

    @property
    def objects(self) -> dict[str, int]:
        """The keys of all its objects, with their sizes in bytes."""
        return {key: size for stored in self.stored for key, size in stored.objects.items()}


def read_entries(project: Project, damaged: list[str] | None = None) -> list[Entry]:
    """All cached results.

    Args:
        project: the project.
        damaged: gets the KV keys of records that are no JSON; without it a warning names each.

    Raises:
        KVError: the KV store failed.
        FormatError: a newer release has written there; what its records refer to is not known here.
    """
    uses = {key: time_of(value) for key, value in tolerant_reads.scan(project.kv, names.USE_PREFIX)}
    told = tolerant_reads.warn if damaged is None else damaged.append
    groups: dict[object, list[Stored]] = {}
    keys: dict[object, names.CacheKey] = {}
    for prefix in _PREFIXES:
        for kv_key, value in tolerant_reads.scan(project.kv, prefix, damaged=told):
            record = _load(kv_key, value)
            if record is None:
                continue
            key = _cache_key(kv_key, record)
            identity: object = kv_key if key is None else key
            trusted = project.signatures.valid(kv_key, value)
            groups.setdefault(identity, []).append(Stored(kv_key, record, trusted))
            if key is not None:
                keys[identity] = key
    entries = []
    for identity, stored in groups.items():
        key, first = keys.get(identity), stored[0]
        used_at = max([first.record.ended_at, *(uses.get(names.use_key(item.kv_key), 0.0) for item in stored)])
        task = _task_of(first.record) if key is None else key.task
        entries.append(Entry(task, key, tuple(stored), used_at))
    return entries


def waiting_objects(project: Project) -> set[str]:
    """The objects of records that wait on this machine for the KV store, in an outbox of any process.

    Raises:
        FormatError: a newer release has written there.
    """
    found: set[str] = set()
    for change in Journal.waiting_in(project.outbox.folder):
        if isinstance(change, (Publish, Put)) and change.key.startswith(_PREFIXES):
            record = _load(change.key, change.value)
            if record is not None:
                found.update(Stored(change.key, record).objects)
    return found


def same(value: JSON | None, record: CacheRecord) -> bool:
    """Whether what stands in the KV store now is still this record."""
    known = value if isinstance(value, dict) else {}
    return known.get("digest") == record.digest and known.get("ended_at") == record.ended_at


def remove_records(project: Project, doomed: Iterable[Stored], how: str) -> int:
    """Remove records, but for those that were written again meanwhile; how many were removed.

    Args:
        project: the project.
        doomed: which.
        how: what is done to them, for whoever asks later: ``invalidated``, ``collected``, ``repaired``.

    Raises:
        KVError: the KV store failed.
    """
    removed = 0
    for page in _pages(list(doomed)):
        there = tolerant_reads.get_many(project.kv, [item.kv_key for item in page])
        gone = [item.kv_key for item in page if same(there.get(item.kv_key), item.record)]
        removed += project.kv.delete_many(gone)
        noted = {names.removed_key(key): {"at": time.time(), "how": how} for key in gone}
        if noted:
            project.kv.put_many(noted)
    return removed


def remove_unreadable(project: Project, keys: Iterable[str], how: str) -> int:
    """Remove records that are no JSON, but for those that were written again meanwhile; how many were removed.

    Args:
        project: the project.
        keys: their KV keys.
        how: see :func:`remove_records`.

    Raises:
        KVError: the KV store failed.
    """
    removed = 0
    for key in keys:
        try:
            project.kv.get(key)
        except KVDamagedError:
            removed += project.kv.delete(key)
            project.kv.put(names.removed_key(key), {"at": time.time(), "how": how})
    return removed


def refresh_objects(project: Project, keys: Collection[str]) -> None:
    """Let a collection leave objects alone for a while: whoever has just read their record may be reading them.

    Raises:
        ObjectStoreError: the object store failed.
    """
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(project.objects.refresh, keys))


def unshared(doomed: Iterable[Stored], kept: Iterable[Stored]) -> dict[str, int]:
    """The objects, with sizes, that only those records refer to that are going to be removed."""
    referenced = {key for stored in kept for key in stored.objects}
    return {key: size for stored in doomed for key, size in stored.objects.items() if key not in referenced}


def _load(kv_key: str, value: JSON) -> CacheRecord | None:
    """A record of ours; ``None`` for one of ExpOps' own, and for one that somebody has damaged: it is no hit."""
    try:
        record = CacheRecord.load(value)
        return record if _is_whole(record) else None
    except (FormatError, TypeError) as error:
        if is_newer(value):
            raise FormatError(f"{kv_key}: {error}") from error
        return None


def time_of(use: JSON) -> float:
    """When something was noted, epoch seconds; 0 if that is not known."""
    at = use.get("at") if isinstance(use, dict) else None
    return float(at) if isinstance(at, int | float) else 0.0


def _is_whole(record: CacheRecord) -> bool:
    """Whether what is computed with here has its type, and nothing is named but results: it may be deleted."""
    numbers = [record.ended_at, record.expires_at or 0.0, record.size, *(item.size for item in record.payloads)]
    texts = [record.object_key, record.run_id, record.path, *(item.key for item in record.payloads)]
    typed = all(isinstance(item, int | float) for item in numbers) and all(isinstance(item, str) for item in texts)
    return typed and record.names_results_only


def _cache_key(kv_key: str, record: CacheRecord) -> names.CacheKey | None:
    if not kv_key.startswith(names.STEP_RECORD_PREFIX):
        return parse_record_key(kv_key)
    # Under which task a step was stored says its manifest: the alias has the step's name.
    return names.CacheKey.parse("/".join([_task_of(record), *kv_key.split(":")[-3:]]))


def _task_of(record: CacheRecord) -> str:
    parts = record.object_key.removeprefix(names.MANIFEST_PREFIX).split("/")
    return parts[1] if len(parts) == 3 else ""


def _pages(items: Sequence[Stored]) -> Iterator[Sequence[Stored]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))
