"""Reading and writing cached results: objects first, the record last; verified before anything is unpickled.

This is the sync core below Prefect's two storage blocks. Absence is ``None``; a damaged result is
reported, counted and ``None`` as well, so that the task is executed again.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from blake3 import blake3

from expops_prefect import names
from expops_prefect.caching.attempts import Attempt
from expops_prefect.degraded import degrade
from expops_prefect.errors import BackendError, FormatError, IntegrityError, KVRefusedError
from expops_prefect.kv.base import JSON
from expops_prefect.objects.base import Buffer
from expops_prefect.outbox.changes import Put
from expops_prefect.project import Project
from expops_prefect.records import CacheRecord, StoredPayload, foreign_record_key
from expops_prefect.serialization.manifest import Packed
from expops_prefect.serialization.payloads import Payload, PayloadRef

_logger = logging.getLogger("prefect.expops")
_HOST: Final = socket.gethostname()
_CODE: Final = frozenset({".joblib"})
"""Payloads that are unpickled: always read whole, hashed, and loaded from those very bytes."""
_PARALLEL: Final = 1 << 20


def record_key(key: str) -> str:
    """The KV key of the record under a transaction key, ours or foreign."""
    parsed = names.CacheKey.parse(key)
    return foreign_record_key(key) if parsed is None else parsed.record_key


def write_result(project: Project, key: str, content: Packed | bytes, attempt: Attempt | None) -> CacheRecord:
    """Store payloads and manifest of a result, and return the record that is still to be written.

    Raises:
        ObjectStoreError: the object store failed; nothing that could be read was left behind.
    """
    if isinstance(content, Packed):
        kind: Literal["packed", "raw"] = "packed"
        manifest, payloads = content.manifest, content.payloads
    else:
        kind, manifest, payloads = "raw", bytes(content), ()
    stored = tuple(_write_payload(project, payload) for payload in payloads)
    digest = _digest(manifest)
    parsed = names.CacheKey.parse(key)
    run_id = attempt.run_id if attempt is not None and attempt.run_id else "unrecorded"
    object_key = names.manifest_key(run_id, "foreign" if parsed is None else parsed.task, digest)
    info = project.objects.create(object_key, [manifest], read_only=True) or project.objects.stat(object_key)
    if info is None:
        raise IntegrityError(f"{object_key} vanished while it was written; the task will be executed again next time")
    now = time.time()
    started = attempt.started if attempt is not None and attempt.started is not None else now
    ended = attempt.ended if attempt is not None and attempt.ended is not None else now
    return CacheRecord(
        status="completed",
        cache_path=project.objects.uri(object_key),
        run_id=attempt.run_id if attempt is not None else "",
        path=attempt.path if attempt is not None else "",
        started_at=started,
        ended_at=ended,
        execution_time=max(0.0, ended - started),
        object_key=object_key,
        digest=digest,
        size=len(manifest) + sum(item.size for item in stored),
        stamp=info.stamp,
        kind=kind,
        payloads=stored,
        outputs=attempt.outputs() if attempt is not None else (),
        host=_HOST,
        task_run_id=None if attempt is None else str(attempt.task_run.id),
    )


def write_record(project: Project, key: str, record: CacheRecord, attempt: Attempt | None) -> None:
    """Publish a result: from here on it is a hit.

    Raises:
        KVError: the KV store failed.
    """
    project.kv.put_many(_values(key, record, attempt))


def _values(key: str, record: CacheRecord, attempt: Attempt | None) -> dict[str, JSON]:
    """The record under its own key, and for a step under the one that ExpOps reads."""
    value = record.dump()
    values = {record_key(key): value}
    parsed = names.CacheKey.parse(key)
    if parsed is not None and attempt is not None and attempt.step_of is not None:
        values[parsed.step_record_key(*attempt.step_of)] = value
    return values


def publish(project: Project, key: str, record: CacheRecord, attempt: Attempt | None) -> None:
    """Write a record now, or have it delivered later: its objects are stored, so nothing is lost.

    Raises:
        KVRefusedError: the KV store will never take it.
    """
    try:
        with project.availability.watch():
            write_record(project, key, record, attempt)
    except KVRefusedError:
        raise
    except BackendError as error:
        degrade("records delayed", f"{error}; what is computed now hits once the store is back")
        project.outbox.write(*(Put(name, value) for name, value in _values(key, record, attempt).items()))


def read_record(project: Project, key: str) -> CacheRecord | None:
    """The valid record under a key: known format, completed, not expired.

    Raises:
        KVError: the KV store failed.
    """
    value = project.kv.get(record_key(key))
    if value is None:
        return None
    try:
        record = CacheRecord.load(value)
    except FormatError as error:
        _logger.warning("%s: %s; the task is executed", key, error)
        return None
    if record.status != "completed":
        return None
    now = time.time()
    if record.expires_at is not None and record.expires_at <= now:
        return None
    parsed = names.CacheKey.parse(key)
    ttl = None if parsed is None else project.settings.cache.ttl_of(parsed.task)
    if ttl is not None and record.ended_at + ttl.total_seconds() <= now:
        return None
    return record


def verified(project: Project, key: str, record: CacheRecord) -> bytes:
    """Check everything that a record refers to and return its manifest, read once.

    Raises:
        IntegrityError: something is missing or differs from what was written; the message names it.
        ObjectStoreError: the object store failed.
    """
    manifest = project.objects.get(record.object_key)
    if manifest is None:
        raise IntegrityError(f"the manifest {record.cache_path} is gone")
    if _digest(manifest) != record.digest:
        raise IntegrityError(f"the manifest {record.cache_path} was changed after it was written")
    refreshed = [_checked_payload(project, payload) for payload in record.payloads]
    if any(new is not old for new, old in zip(refreshed, record.payloads, strict=True)):
        # Verified anew (a moved project folder has other inodes): remember it, so the next hit is quick.
        project.kv.put(record_key(key), replace(record, payloads=tuple(refreshed)).dump())
    return manifest


def _checked_payload(project: Project, payload: StoredPayload) -> StoredPayload:
    info = project.objects.stat(payload.key)
    place = project.objects.uri(payload.key)
    if info is None:
        raise IntegrityError(f"the payload {place} is gone")
    if info.size != payload.size:
        raise IntegrityError(f"the payload {place} has {info.size} bytes, not {payload.size}")
    if info.stamp == payload.stamp and project.settings.cache.verify == "auto":
        return payload
    path = project.objects.path(payload.key)
    if path is None:
        # Not a file here: hashed when it is downloaded.
        return payload
    if _file_digest(path) != payload.digest:
        raise IntegrityError(f"the payload {place} was changed after it was written")
    return payload if info.stamp == payload.stamp else replace(payload, stamp=info.stamp)


@dataclass(frozen=True)
class StoredPayloads:
    """Reads the payloads of a verified record (a :class:`PayloadReader`).

    Only what the record names is read; everything that is unpickled is hashed first, the very
    bytes that are then used.
    """

    project: Project
    record: CacheRecord

    @property
    def mmap(self) -> Literal["copy-on-write", "readonly", "off"]:
        """How files are mapped."""
        return self.project.settings.cache.mmap

    def data(self, ref: PayloadRef) -> Buffer:
        """A payload's bytes, verified.

        Raises:
            IntegrityError: missing, changed, or not named by the record.
        """
        stored = self._stored(ref)
        data = self.project.objects.get(stored.key)
        if data is None:
            raise IntegrityError(f"the payload {self.project.objects.uri(stored.key)} is gone")
        if len(data) != stored.size or _digest(data) != stored.digest:
            raise IntegrityError(f"the payload {self.project.objects.uri(stored.key)} was changed after it was written")
        return data

    def file(self, ref: PayloadRef) -> Path | None:
        """The local file of a payload that carries no code and still has the stamp it was verified with."""
        stored = self._stored(ref)
        if ref.suffix in _CODE or self.project.settings.cache.mmap == "off":
            return None
        path = self.project.objects.path(stored.key)
        info = None if path is None else self.project.objects.stat(stored.key)
        return path if info is not None and info.stamp == stored.stamp else None

    def _stored(self, ref: PayloadRef) -> StoredPayload:
        for stored in self.record.payloads:
            if stored.digest == ref.digest and stored.size == ref.size and stored.key == ref.key:
                return stored
        raise IntegrityError(f"the manifest {self.record.cache_path} names {ref.key}, which its record does not")


def _write_payload(project: Project, payload: Payload) -> StoredPayload:
    key, ref = payload.ref.key, payload.ref
    info = project.objects.create(key, payload.parts, read_only=True)
    if info is None:
        info = project.objects.stat(key)
        path = project.objects.path(key)
        # It was there already. Files may have been damaged since, and the record vouches for them.
        if info is None or (path is not None and _file_digest(path) != ref.digest):
            info = project.objects.put(key, payload.parts, read_only=True)
    return StoredPayload(key=key, digest=ref.digest, size=ref.size, stamp=info.stamp)


def _digest(data: Buffer) -> str:
    hasher = blake3(max_threads=blake3.AUTO) if len(data) >= _PARALLEL else blake3()
    return hasher.update(data).hexdigest()


def _file_digest(path: str | os.PathLike[str]) -> str:
    try:
        return blake3(max_threads=blake3.AUTO).update_mmap(os.fspath(path)).hexdigest()
    except FileNotFoundError as error:
        raise IntegrityError(f"the payload {path} is gone") from error
