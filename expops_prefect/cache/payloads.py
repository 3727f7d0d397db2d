"""The payloads of results: written once, and trusted only after their bytes were hashed.

A local file of an array or frame, which cannot contain code, is trusted as long as it has the stamp
(size, times, inode) that it had when it was written or last verified. A downloaded copy is hashed
before its first use in each process. Pickles are always read whole and hashed, and the same bytes are
unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from blake3 import blake3

from expops_prefect.errors import IntegrityError
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, StoredPayload
from expops_prefect.serialization.payloads import Payload, PayloadRef, digest
from expops_prefect.stores.objects.base import Buffer
from expops_prefect.stores.objects.gc_protection import protect

_CODE: Final = frozenset({".joblib", ".pkl"})
"""Suffixes of payloads that are unpickled: always read whole, hashed, and loaded from the same bytes."""
_SIDE_BY_SIDE: Final = 4


class _Payloads:
    """What this process knows of a project's payloads.

    Attributes:
        verified: downloaded copies that were hashed here, with their stamps (size, times, inode).
        damaged: remote objects whose content does not match their key. They are replaced when computed again.
    """

    def __init__(self, _: Project) -> None:
        self.verified: dict[str, tuple[int, ...]] = {}
        self.damaged: set[str] = set()


def checked_payload(project: Project, payload: StoredPayload) -> StoredPayload:
    """Make sure that a payload exists and matches its record; return it, with a new stamp if it was hashed again.

    Raises:
        IntegrityError: it is missing or was changed.
        ObjectStoreError: the object store failed.
    """
    if project.remote_objects:
        verified_copy(project, payload)
        return payload
    info = project.objects.stat(payload.key)
    place = project.objects.uri(payload.key)
    if info is None:
        raise IntegrityError(f"the payload {place} is gone")
    if info.size != payload.size:
        raise IntegrityError(f"the payload {place} has {info.size} bytes, not {payload.size}")
    if info.stamp == payload.stamp and project.settings.cache.verify == "auto":
        return payload
    path = project.objects.path(payload.key)
    if path is None or _file_digest(path) != payload.digest:
        raise IntegrityError(f"the payload {place} was changed after it was written")
    return payload if info.stamp == payload.stamp else replace(payload, stamp=info.stamp)


def verified_copy(project: Project, payload: StoredPayload) -> Path:
    """The hashed local copy of a remote payload, downloaded if needed.

    Raises:
        IntegrityError: it is missing, or does not match its record.
        ObjectStoreError: the object store failed.
    """
    place, known = project.objects.uri(payload.key), project.part(_Payloads)
    for _ in range(2):
        path = project.objects.fetch(payload.key)
        if path is None:
            raise IntegrityError(f"the payload {place} is gone")
        stamp = _stamp(path)
        if known.verified.get(str(path)) == stamp and project.settings.cache.verify == "auto":
            return path
        if stamp[0] == payload.size and _file_digest(path) == payload.digest:
            known.verified[str(path)] = stamp
            return path
        # Only the local copy may be damaged: download it again.
        path.unlink(missing_ok=True)
    known.damaged.add(place)
    raise IntegrityError(f"the payload {place} was changed after it was written")


def write_payloads(project: Project, payloads: Sequence[Payload]) -> tuple[StoredPayload, ...]:
    """Store payloads; several files in parallel, because each one waits for the disk.

    Raises:
        ObjectStoreError: the object store failed.
    """
    if len(payloads) < 2 or project.remote_objects:  # an upload holds a large piece in memory
        return tuple(write_payload(project, payload) for payload in payloads)
    with ThreadPoolExecutor(min(_SIDE_BY_SIDE, len(payloads))) as pool:
        return tuple(pool.map(partial(write_payload, project), payloads))


def write_payload(project: Project, payload: Payload) -> StoredPayload:
    """Store a payload unless it exists; an existing one is checked.

    Raises:
        ObjectStoreError: the object store failed.
    """
    key, ref = payload.ref.key, payload.ref
    objects, place = project.objects, project.objects.uri(payload.ref.key)
    damaged = project.part(_Payloads).damaged
    info = None if place in damaged else objects.create(key, payload.parts, read_only=True)
    if info is None and place not in damaged:
        info = protect(objects, key)
        path = None if project.remote_objects else objects.path(key)
        # It existed already. Check the file, because it may be damaged and the record vouches for it.
        if path is not None and _file_digest(path) != ref.digest:
            info = None
    if info is None:
        info = objects.put(key, payload.parts, read_only=True)
        damaged.discard(place)
    return StoredPayload(key=key, digest=ref.digest, size=ref.size, stamp=info.stamp)


@dataclass(frozen=True)
class StoredPayloads:
    """Reads the payloads of a verified record (a :class:`PayloadReader`).

    Reads only payloads that the record names.
    """

    project: Project
    record: CacheRecord

    @property
    def mmap(self) -> Literal["copy-on-write", "readonly", "off"]:
        """How files are mapped."""
        return self.project.settings.cache.mmap

    @property
    def project_root(self) -> Path:
        """The project's root."""
        return self.project.settings.root

    def data(self, ref: PayloadRef) -> Buffer:
        """A payload's bytes, verified.

        Raises:
            IntegrityError: missing, changed, or not named by the record.
        """
        stored = self._stored(ref)
        place = self.project.objects.uri(stored.key)
        data: bytes | None
        if self.project.remote_objects:
            data = verified_copy(self.project, stored).read_bytes()
        else:
            data = self.project.objects.get(stored.key)
        if data is None:
            raise IntegrityError(f"the payload {place} is gone")
        if len(data) != stored.size or digest([data]) != stored.digest:
            raise IntegrityError(f"the payload {place} was changed after it was written")
        return data

    def file(self, ref: PayloadRef) -> Path | None:
        """The local file of a payload without code whose stamp is unchanged since it was verified.

        Also used without mapping: the file is then read directly into the value's memory.
        """
        stored = self._stored(ref)
        if ref.suffix in _CODE:
            return None
        if self.project.remote_objects:
            return verified_copy(self.project, stored)
        path = self.project.objects.path(stored.key)
        info = None if path is None else self.project.objects.stat(stored.key)
        return path if info is not None and info.stamp == stored.stamp else None

    def _stored(self, ref: PayloadRef) -> StoredPayload:
        for stored in self.record.payloads:
            if stored.digest == ref.digest and stored.size == ref.size and stored.key == ref.key:
                return stored
        raise IntegrityError(f"the manifest {self.record.cache_path} names {ref.key}, which its record does not")


def _file_digest(path: Path) -> str:
    try:
        return blake3(max_threads=blake3.AUTO).update_mmap(os.fspath(path)).hexdigest()
    except FileNotFoundError as error:
        raise IntegrityError(f"the payload {path} is gone") from error


def _stamp(path: Path) -> tuple[int, ...]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
