"""Stores the files of a result: each content once, as an object that is named by its digest."""

from __future__ import annotations

import mmap
import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from blake3 import blake3

from expops_prefect._internal.files import make_folder, open_new
from expops_prefect.cache.files.tree import Scanned, Stamp, scan, stamp_of
from expops_prefect.cache.payloads import write_payload
from expops_prefect.effects.dependencies import ChangedMeanwhileError, relative
from expops_prefect.errors import ObjectStoreError
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.file_lists import FILE_SUFFIX, LIST_SUFFIX, Entry, StoredPath, dump
from expops_prefect.serialization.payloads import Payload, PayloadRef, payload
from expops_prefect.stores.objects.base import TEMPORARY, TakesFiles

_SMALL: Final = 8 << 20
"""Bytes up to which a file is read into memory at once."""
_CHUNK: Final = 8 << 20
_PARALLEL: Final = 8


def store(project: Project, paths: Sequence[tuple[str, tuple[Scanned, ...]]]) -> tuple[StoredPath, ...]:
    """Store the contents of files and folders.

    Args:
        project: the project.
        paths: absolute paths, with what was there when the body returned.

    Raises:
        ChangedMeanwhileError: one of them was changed since.
        ObjectStoreError: the object store failed.
    """
    found = []
    for path, entries in paths:
        name = relative(path, project.settings.root)
        try:
            found.append(StoredPath(name, _stored(project, path, entries)))
            if scan(path, project.data_rules()) != entries:
                raise ChangedMeanwhileError(f"{name} was changed before it was stored")
        except OSError as error:
            raise ChangedMeanwhileError(f"{name} was changed before it was stored ({error})") from error
    return tuple(found)


def with_list(project: Project, record: CacheRecord, paths: tuple[StoredPath, ...]) -> CacheRecord:
    """A record with the list of its files, which is a payload of its own if it is long.

    Raises:
        ObjectStoreError: the object store failed.
    """
    text = dump(paths)
    if len(text) <= project.settings.cache.small_bytes:
        return replace(record, file_list=text)
    stored = write_payload(project, payload([text.encode()], LIST_SUFFIX))
    return replace(record, file_list=stored.key, payloads=(*record.payloads, stored), size=record.size + stored.size)


def _stored(project: Project, path: str, entries: tuple[Scanned, ...]) -> tuple[Entry, ...]:
    with ThreadPoolExecutor(_PARALLEL if len(entries) > 1 else 1) as pool:
        return tuple(pool.map(partial(_entry, project, path), entries))


def _entry(project: Project, path: str, found: Scanned) -> Entry:
    if found.kind != "file" or found.stamp is None:
        return Entry(found.name, found.kind, found.mode, target=found.target)
    place = os.path.join(path, found.name) if found.name else path  # noqa: PTH118 - text
    size = found.stamp[0]
    store_file = _store_small if size <= _SMALL else _store_large
    return Entry(found.name, "file", found.mode, store_file(project, place, found.stamp), size)


def _store_small(project: Project, path: str, stamp: Stamp) -> str:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - text
        data = file.readall()
        _check(file.fileno(), path, stamp)
    digest = blake3(data).hexdigest()
    write_payload(project, Payload(PayloadRef(digest, len(data), FILE_SUFFIX), (data,)))
    return digest


def _store_large(project: Project, path: str, stamp: Stamp) -> str:
    """Store a file from a copy: mapping a file that somebody truncates would end the process."""
    objects = project.objects
    if isinstance(objects, TakesFiles):
        copy = objects.scratch()
    else:
        make_folder(project.settings.runtime_dir)
        copy = project.settings.runtime_dir / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        digest = _copy(path, copy, stamp)
        copy.chmod(0o444)  # as all stored results
        ref = PayloadRef(digest, stamp[0], FILE_SUFFIX)
        if isinstance(objects, TakesFiles) and objects.stat(ref.key) is None and objects.take(ref.key, copy):
            return digest
        with copy.open("rb") as file:
            # Never closed: the traceback of an exception may still refer to parts of it.
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        write_payload(project, Payload(ref, (mapped,)))
        return digest
    finally:
        copy.unlink(missing_ok=True)


def _copy(path: str, copy: Path, stamp: Stamp) -> str:
    """Copy a file, and return the digest of what was copied."""
    hasher = blake3(max_threads=blake3.AUTO)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - text
        try:
            with os.fdopen(open_new(copy, os.O_WRONLY | os.O_EXCL), "wb") as target:
                while chunk := file.read(_CHUNK):
                    hasher.update(chunk)
                    target.write(chunk)
        except OSError as error:
            raise ObjectStoreError(f"cannot copy {path} to {copy.parent}: {error}") from error
        _check(file.fileno(), path, stamp)
    return hasher.hexdigest()


def _check(descriptor: int, path: str, stamp: Stamp) -> None:
    if stamp_of(os.fstat(descriptor)) != stamp:
        raise ChangedMeanwhileError(f"{path} was changed before it was stored")
