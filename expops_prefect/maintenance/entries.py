"""All cached results of a project, with all keys of their records, and the removal of records."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from expops_prefect.errors import FormatError, IntegrityError, KVDamagedError
from expops_prefect.models import names
from expops_prefect.models.record_format import is_newer
from expops_prefect.project import Project
from expops_prefect.record import file_lists
from expops_prefect.record.cache_records import CacheRecord, parse_record_key
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.outbox.changes import Publish, Put
from expops_prefect.stores.outbox.journal import Journal

PARALLEL: Final = 8
_PAGE: Final = 200
_PREFIXES: Final = (names.PROCESS_RECORD_PREFIX, names.STEP_RECORD_PREFIX, names.FOREIGN_RECORD_PREFIX)

Progress: TypeAlias = Callable[[str, int], None]
"""Called with the kind of the items processed and their number so far."""


def silent(kind: str, count: int) -> None:
    """Show no progress."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record with its KV key; a hit does not use it unless it is ``trusted``.

    Attributes:
        files: the stored contents of its files, each once.
        lost_files: the list of its files is missing or damaged, so that it is no hit.
    """

    kv_key: str
    record: CacheRecord
    trusted: bool = True
    files: tuple[file_lists.Entry, ...] = ()
    lost_files: bool = False

    @property
    def objects(self) -> dict[str, int]:
        """The keys of its objects with their sizes in bytes: manifest, payloads, files, code sources."""
        record = self.record
        found: dict[str, int] = {}
        if record.object_key:  # otherwise another storage holds the result
            found[record.object_key] = record.size - sum(item.size for item in record.payloads)
            found |= {item.key: item.size for item in record.payloads}
            found |= {item.key: item.size for item in self.files}
        if record.sources_size:
            found[names.sources_key(self.kv_key.rpartition(":")[2])] = record.sources_size
        return found


@dataclass(frozen=True, slots=True)
class Entry:
    """A cached result: first the record that hits read, then those that ExpOps reads for steps.

    Attributes:
        task: the task's normalised name.
        key: its cache key; ``None`` for a key of another policy.
        stored: its records, at least one.
        used_at: its last recorded use, or else when it was computed; epoch seconds.
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
        damaged: collects the KV keys of records that are not JSON; by default a warning names each.

    Raises:
        KVError: the KV store failed.
        FormatError: a newer release has written records, whose objects are unknown here.
    """
    uses = {key: time_of(value) for key, value in tolerant_reads.scan(project.kv, names.USE_PREFIX)}
    report = tolerant_reads.warn if damaged is None else damaged.append
    groups: dict[object, list[Stored]] = {}
    keys: dict[object, names.CacheKey] = {}
    for prefix in _PREFIXES:
        for kv_key, value in tolerant_reads.scan(project.kv, prefix, damaged=report):
            record = _load(kv_key, value)
            if record is None:
                continue
            key = _cache_key(kv_key, record)
            identity: object = kv_key if key is None else key
            trusted = project.signatures.valid(kv_key, value)
            groups.setdefault(identity, []).append(_stored(project, kv_key, record, trusted=trusted))
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
    """The objects of records that wait on this machine for the KV store, in the outbox of any process.

    Raises:
        FormatError: a newer release has written records.
    """
    found: set[str] = set()
    for change in Journal.waiting_in(project.outbox.folder):
        if isinstance(change, (Publish, Put)) and change.key.startswith(_PREFIXES):
            record = _load(change.key, change.value)
            if record is not None:
                found.update(_stored(project, change.key, record).objects)
    return found


def same(value: JSON | None, record: CacheRecord) -> bool:
    """Whether a value from the KV store is still this record."""
    known = value if isinstance(value, dict) else {}
    return known.get("digest") == record.digest and known.get("ended_at") == record.ended_at


def remove_records(project: Project, doomed: Iterable[Stored], how: str) -> int:
    """Remove records, except those that were written again meanwhile; return how many were removed.

    Args:
        project: the project.
        doomed: the records.
        how: how they are removed, for later explanations: ``invalidated``, ``collected``, ``repaired``.

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
    """Remove records that are not JSON, except those that were written again meanwhile; return how many were removed.

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
    """Protect objects from collections for a while: a task that has just read their record may be reading them.

    Raises:
        ObjectStoreError: the object store failed.
    """
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(project.objects.refresh, keys))


def unshared(doomed: Iterable[Stored], kept: Iterable[Stored]) -> dict[str, int]:
    """The objects, with sizes, to which only the doomed records refer."""
    referenced = {key for stored in kept for key in stored.objects}
    return {key: size for stored in doomed for key, size in stored.objects.items() if key not in referenced}


def _stored(project: Project, kv_key: str, record: CacheRecord, *, trusted: bool = True) -> Stored:
    """A record with its files.

    Raises:
        ObjectStoreError: a long list of files could not be read.
    """
    try:
        files = tuple(file_lists.contents(file_lists.of_record(record, project.objects.get)))
    except (IntegrityError, FormatError):
        return Stored(kv_key, record, trusted, lost_files=True)
    return Stored(kv_key, record, trusted, files)


def _load(kv_key: str, value: JSON) -> CacheRecord | None:
    """Read a record; ``None`` for one of ExpOps, and for a damaged one: neither can be a hit."""
    try:
        record = CacheRecord.load(value)
        return record if _is_whole(record) else None
    except (FormatError, TypeError) as error:
        if is_newer(value):
            raise FormatError(f"{kv_key}: {error}") from error
        return None


def time_of(use: JSON) -> float:
    """The time of a note, epoch seconds; 0 if unknown."""
    at = use.get("at") if isinstance(use, dict) else None
    return float(at) if isinstance(at, int | float) else 0.0


def _is_whole(record: CacheRecord) -> bool:
    """Whether the fields used here have their types, and all objects are content-addressed results, safe to delete."""
    numbers = [record.ended_at, record.expires_at or 0.0, record.size, *(item.size for item in record.payloads)]
    texts = [record.object_key, record.run_id, record.path, *(item.key for item in record.payloads)]
    typed = all(isinstance(item, int | float) for item in numbers) and all(isinstance(item, str) for item in texts)
    return typed and record.names_results_only


def _cache_key(kv_key: str, record: CacheRecord) -> names.CacheKey | None:
    if not kv_key.startswith(names.STEP_RECORD_PREFIX):
        return parse_record_key(kv_key)
    # The manifest says under which task a step was stored: the alias has the step's name.
    return names.CacheKey.parse("/".join([_task_of(record), *kv_key.split(":")[-3:]]))


def _task_of(record: CacheRecord) -> str:
    parts = record.object_key.removeprefix(names.MANIFEST_PREFIX).split("/")
    return parts[1] if len(parts) == 3 else ""


def _pages(items: Sequence[Stored]) -> Iterator[Sequence[Stored]]:
    return (items[start : start + _PAGE] for start in range(0, len(items), _PAGE))
