"""Read all objects that records refer to, and compare them with their digests."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from blake3 import blake3

from expops_prefect.maintenance.entries import (
    PARALLEL,
    Progress,
    Stored,
    read_entries,
    refresh_objects,
    remove_records,
    remove_unreadable,
    same,
    silent,
    unshared,
)
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import leads_to
from expops_prefect.stores.objects.base import TEMPORARY, ObjectStore
from expops_prefect.stores.objects.gc_protection import ensure_stored
from expops_prefect.stores.outbox.changes import KeepObject
from expops_prefect.stores.outbox.journal import Journal

_AT_ONCE: Final = 2
"""Local files to hash at once: each is hashed by all cores."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A record whose objects are missing, damaged or unknown, or that is not to be trusted (``stored.trusted``).

    Attributes:
        stored: the record.
        missing: keys of missing objects.
        damaged: keys of objects with other bytes than were written.
        misleading: whether its Prefect metadata are damaged, or point to the result of another key.
    """

    stored: Stored
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    misleading: bool = False


@dataclass(frozen=True, slots=True)
class Verified:
    """The outcome of a verification.

    Attributes:
        records: how many records were verified.
        objects: how many objects were hashed.
        bytes: how many bytes were hashed.
        elsewhere: records of other machines whose local files cannot be read here.
        broken: records that cannot be used.
        repaired: how many of them were removed.
        files: records that hold their result, and whose file for other readers is missing or damaged; hits do
            not need it.
        unwritten: how many such files a process of this machine is about to write.
        written: how many of these files were written.
        unreadable: the KV keys of records that are not JSON; they count as repaired.
    """

    records: int
    objects: int
    bytes: int
    elsewhere: int
    broken: tuple[Broken, ...]
    repaired: int
    files: tuple[Broken, ...] = ()
    unwritten: int = 0
    written: int = 0
    unreadable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Object:
    key: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True)
class _ObjectState:
    """The state of an object: its stamp if it exists, and whether its content is as written."""

    stamp: str | None
    whole: bool


def verify(project: Project, *, repair: bool = False, progress: Progress = silent) -> Verified:
    """Hash the manifest and payloads of every record; remote ones are downloaded but not kept.

    Args:
        project: the project.
        repair: remove unusable records, so that their next use recomputes them, and damaged objects; write the
            missing files of results that are kept in their records.
        progress: called with the progress.

    Raises:
        BackendError: a store failed, which does not count as damage.
        FormatError: a newer release has written to the cache.
    """
    unreadable: list[str] = []
    keys = {stored: entry.key for entry in read_entries(project, unreadable) for stored in entry.stored}
    records = list(keys)
    progress("records", len(records))
    states = _check_all(project, {item for stored in records for item in _objects_of(stored)}, progress)
    elsewhere, suspects, unwritten = 0, [], []
    misleading = {stored for stored, key in keys.items() if not _leads_to(stored, key)}
    for stored in records:
        bad = _unusable(stored, states)
        if bad and _of_another_machine(project, stored, states):
            elsewhere += 1
        elif bad or stored.lost_files or not stored.trusted or stored in misleading:
            suspects.append(stored)
        elif not all(states[item].whole for item in _objects_of(stored)) and not _of_another_machine(
            project, stored, states
        ):
            unwritten.append(stored)
    # Meanwhile a flow may have written a record again, or a collection removed it with its objects.
    there = [stored for stored in suspects if same(project.kv.get(stored.kv_key), stored.record)]
    broken = tuple(
        replace(_broken(stored, states, _unusable(stored, states)), misleading=stored in misleading) for stored in there
    )
    files, waiting = _files(project, unwritten, states)
    repaired = _repair(project, records, there, states) if repair and broken else 0
    repaired += remove_unreadable(project, unreadable, "repaired") if repair else 0
    written = _write(project, unwritten) if repair else 0
    return Verified(
        records=len(records) - elsewhere,
        objects=sum(found.stamp is not None for found in states.values()),
        bytes=sum(item.size for item, found in states.items() if found.stamp is not None),
        elsewhere=elsewhere,
        broken=broken,
        repaired=repaired,
        files=files,
        unwritten=waiting,
        written=written,
        unreadable=tuple(unreadable),
    )


def _objects_of(stored: Stored) -> Iterator[_Object]:
    record = stored.record
    if record.object_key:
        yield _Object(record.object_key, record.digest, stored.objects[record.object_key])
        for item in record.payloads:
            yield _Object(item.key, item.digest, item.size)
        for entry in stored.files:
            yield _Object(entry.key, entry.digest, entry.size)


def _unusable(stored: Stored, states: dict[_Object, _ObjectState]) -> list[_Object]:
    """The objects that a hit needs and that are missing or damaged."""
    held = stored.record.held()
    in_record = {} if held is None else {stored.record.object_key: blake3(held).hexdigest() == stored.record.digest}
    return [item for item in _objects_of(stored) if not in_record.get(item.key, states[item].whole)]


def _leads_to(stored: Stored, key: names.CacheKey | None) -> bool:
    """Whether a hit could follow Prefect's metadata; unknown, and so true, for results in other storages."""
    metadata = stored.record.prefect_metadata
    place = None if key is None or not stored.record.object_key else str(key)
    return metadata is None or leads_to(metadata, stored.record, place)


def _files(
    project: Project, unwritten: list[Stored], states: dict[_Object, _ObjectState]
) -> tuple[tuple[Broken, ...], int]:
    """The missing or damaged files of small results, and how many others wait to be written."""
    if not unwritten:
        return (), 0
    changes = Journal.waiting_in(project.outbox.folder)
    waiting = {change.object_key for change in changes if isinstance(change, KeepObject)}
    found = []
    left = [stored for stored in unwritten if stored.record.object_key not in waiting]
    # A file that no longer waits was written, before or just now.
    again = {**states, **_check_all(project, {item for stored in left for item in _objects_of(stored)}, silent)}
    for stored in left:
        bad = [item for item in _objects_of(stored) if not again[item].whole]
        if bad and same(project.kv.get(stored.kv_key), stored.record):
            found.append(_broken(stored, again, bad))
    return tuple(found), len(unwritten) - len(left)


def _broken(stored: Stored, states: dict[_Object, _ObjectState], bad: list[_Object]) -> Broken:
    return Broken(
        stored,
        missing=tuple(item.key for item in bad if states[item].stamp is None),
        damaged=tuple(item.key for item in bad if states[item].stamp is not None),
    )


def _of_another_machine(project: Project, stored: Stored, states: dict[_Object, _ObjectState]) -> bool:
    """Whether a shared record belongs to another machine that does not share its objects."""
    shared = project.settings.kv.is_shared and not project.settings.objects.is_shared
    missing = all(states[item].stamp is None for item in _objects_of(stored))
    return shared and missing and stored.record.host != socket.gethostname()


def _repair(project: Project, records: list[Stored], broken: list[Stored], states: dict[_Object, _ObjectState]) -> int:
    gone = {stored.kv_key for stored in broken}
    refresh_objects(project, unshared(broken, [stored for stored in records if stored.kv_key not in gone]))
    removed = remove_records(project, broken, "repaired")
    damaged = {item for stored in broken for item in _objects_of(stored) if not states[item].whole}
    with _uncopied(project) as objects:
        for item in damaged:
            # Useless, and in the way of the same content when it is stored again. It may be whole by now.
            now = objects.stat(item.key)
            if now is not None and not _check(objects, item, project).whole:
                project.objects.delete(item.key, stamp=now.stamp)
    return removed


def _write(project: Project, unwritten: list[Stored]) -> int:
    """Write the files of results that are kept in their records, if these still exist."""
    written = 0
    for stored in unwritten:
        held = stored.record.held()
        if held is not None and same(project.kv.get(stored.kv_key), stored.record):
            ensure_stored(project.objects, stored.record.object_key, held)
            written += 1
    return written


def _check_all(project: Project, items: Iterable[_Object], progress: Progress) -> dict[_Object, _ObjectState]:
    found: dict[_Object, _ObjectState] = {}
    ordered = sorted(items, key=lambda item: item.key)
    with _uncopied(project) as objects, ThreadPoolExecutor(PARALLEL if project.remote_objects else _AT_ONCE) as pool:
        checked = pool.map(lambda item: _check(objects, item, project), ordered)
        for count, (item, look) in enumerate(zip(ordered, checked, strict=True), 1):
            found[item] = look
            progress("objects", count)
    return found


@contextmanager
def _uncopied(project: Project) -> Iterator[ObjectStore]:
    """The object store without this machine's copies, which are not to be verified."""
    if not project.remote_objects:
        yield project.objects
        return
    parent = project.settings.runtime_dir
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{TEMPORARY}verify-", dir=parent) as folder:
        objects = project.settings.objects.open(replace(project.settings.place, runtime_dir=Path(folder)))
        try:
            yield objects
        finally:
            objects.close()


def _check(objects: ObjectStore, item: _Object, project: Project) -> _ObjectState:
    info = objects.stat(item.key)
    if info is None:
        return _ObjectState(None, whole=False)
    if info.size != item.size:
        return _ObjectState(info.stamp, whole=False)
    path = objects.fetch(item.key)
    try:
        if path is None:
            return _ObjectState(None, whole=False)
        return _ObjectState(info.stamp, _digest_of(path) == item.digest)
    except FileNotFoundError:
        return _ObjectState(None, whole=False)
    finally:
        if path is not None and project.remote_objects:
            path.unlink(missing_ok=True)


def _digest_of(path: Path) -> str:
    return blake3(max_threads=blake3.AUTO).update_mmap(os.fspath(path)).hexdigest()
