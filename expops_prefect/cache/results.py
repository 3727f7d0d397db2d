"""Reads and writes cached results: objects first, the record last; verified before anything is unpickled.

This is the sync core below Prefect's two storage blocks. Absence is ``None``. A damaged result is
reported, counted and also ``None``, so that the task is executed again.
"""

from __future__ import annotations

import base64
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.signing import FIELD as SIGNATURE
from expops_prefect.cache.context import CacheContext, Computation
from expops_prefect.cache.key_components import keep_sources
from expops_prefect.cache.last_used import note_use
from expops_prefect.cache.payloads import checked_payload, write_payloads
from expops_prefect.errors import BackendError, ExpOpsPrefectError, FormatError, IntegrityError, KVError, KVRefusedError
from expops_prefect.models import names
from expops_prefect.models.record_format import is_newer
from expops_prefect.project import Project
from expops_prefect.record.cache_records import COMPLETED, KEPT, CacheRecord, expiry, foreign_record_key
from expops_prefect.serialization.manifest import Packed
from expops_prefect.serialization.payloads import digest
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.objects.gc_protection import ensure_stored
from expops_prefect.stores.outbox.changes import KeepObject, Publish

_logger = logging.getLogger("prefect.expops")
_HOST: Final = socket.gethostname()
_parsed: Final = lru_cache(maxsize=256)(names.CacheKey.parse)
"""Cached, because a task run parses its own key several times."""


@dataclass(slots=True)
class Found:
    """A hit that was checked and loaded, until Prefect reads it.

    Attributes:
        record: its record.
        content: its verified bytes, or the envelope that holds its value.
    """

    record: CacheRecord
    content: bytes


@lru_cache(maxsize=256)
def record_key(key: str) -> str:
    """The KV key of the record under a transaction key, also one of another policy."""
    parsed = _parsed(key)
    return foreign_record_key(key) if parsed is None else parsed.record_key


def write_result(
    project: Project, key: str, content: Packed | bytes, context: CacheContext | None, *, no_hit: str = ""
) -> CacheRecord:
    """Store the payloads and the manifest of a result, and return the record, which is still to be written.

    The record of a small manifest contains it too; the outbox may then write its file later.

    Args:
        project: the project.
        key: the transaction key.
        content: a packed result, or another serializer's bytes.
        context: the task run that computed it.
        no_hit: why it is not a hit for later task runs, and only kept for references to it; empty for a hit.

    Raises:
        ObjectStoreError: the object store failed; no readable result was left behind.
    """
    if isinstance(content, Packed):
        kind: Literal["packed", "raw"] = "packed"
        manifest, payloads = content.manifest, content.payloads
    else:
        kind, manifest, payloads = "raw", bytes(content), ()
    stored = write_payloads(project, payloads)
    manifest_digest = digest_of(content)
    parsed = _parsed(key)
    by = Computation() if context is None else context.computation()
    task = "foreign" if parsed is None else parsed.task
    object_key = names.manifest_key(by.run_id or "unrecorded", task, manifest_digest)
    inline = base64.b64encode(manifest).decode() if len(manifest) <= project.settings.cache.small_bytes else None
    if inline is not None and not project.remote_objects:
        # Hits read only the record; the file is for ExpOps' own readers. If this process is killed now, the next one
        # writes it.
        project.outbox.write(KeepObject(object_key, manifest))
        stamp = ""
    else:
        stamp = ensure_stored(project.objects, object_key, manifest).stamp
    now = time.time()
    started = now if by.started is None else by.started
    ended = now if by.ended is None else by.ended
    return CacheRecord(
        status=KEPT if no_hit else COMPLETED,
        cache_path=project.objects.uri(object_key),
        run_id=by.run_id,
        path=by.path,
        started_at=started,
        ended_at=ended,
        execution_time=max(0.0, ended - started),
        object_key=object_key,
        digest=manifest_digest,
        size=len(manifest) + sum(item.size for item in stored),
        stamp=stamp,
        kind=kind,
        payloads=stored,
        outputs=by.outputs,
        host=_HOST,
        task_run_id=by.task_run_id,
        no_hit=no_hit,
        parts=None if by.components is None else by.components.text,
        sources_size=0 if by.components is None else keep_sources(project, by.components.code),
        inline=inline,
    )


def digest_of(content: Packed | bytes) -> str:
    """The digest that a record holds of its result."""
    return digest([content.manifest if isinstance(content, Packed) else bytes(content)])


def write_record(project: Project, key: str, record: CacheRecord, context: CacheContext | None) -> None:
    """Publish a result: from here on it is a hit.

    Raises:
        KVError: the KV store failed.
    """
    # A newer release's record is not replaced; ours is then only kept for references to it.
    aside = context.newer if context is not None else is_newer(project.kv.get(record_key(key)))
    values = _values(project, key, record, _step_of(context), aside=aside)
    if record.prefect_metadata is None and not aside:
        name = record_key(key)
        project.kv.update(name, _keeping_metadata(project, key, values.pop(name)))
    if values:
        project.kv.put_many(values)


def _keeping_metadata(project: Project, key: str, value: dict[str, JSON]) -> Callable[[JSON | None], JSON]:
    """Replace another writer's record, but keep its metadata until those of this result follow.

    A record without metadata is not a hit, and a reader that was just promised one could not load it.
    """

    def change(before: JSON | None) -> JSON:
        record = hit_of(project, key, before)
        if record is None or record.prefect_metadata is None:
            return value
        kept = {"prefect_metadata": record.prefect_metadata, "expires_at": record.expires_at}
        return project.signatures.signed(record_key(key), {**value, **kept})

    return change


def _values(
    project: Project, key: str, record: CacheRecord, step_of: tuple[str, str] | None, *, aside: bool
) -> dict[str, JSON]:
    """The record under its own key, and for a step under ExpOps' key; if ``aside``, under a separate key only."""
    kv_keys = [foreign_record_key(key) if aside else record_key(key)]
    parsed = _parsed(key)
    if aside:
        record = replace(record, status=KEPT)
    elif parsed is not None and step_of is not None:
        kv_keys.append(parsed.step_record_key(*step_of))
    value = record.dump()
    return {kv_key: project.signatures.signed(kv_key, value) for kv_key in kv_keys}


def _step_of(context: CacheContext | None) -> tuple[str, str] | None:
    return None if context is None else context.step_of


def publish(project: Project, key: str, record: CacheRecord, context: CacheContext | None) -> None:
    """Write a record now, or queue it for later delivery; its objects are already stored.

    Raises:
        KVRefusedError: the KV store will never accept it.
        LeaseLostError: another process computes the same result, or has computed it.
    """
    try:
        with project.kv_availability.watch():
            if context is not None and context.lease is not None:
                context.lease.check()
            write_record(project, key, record, context)
    except KVRefusedError:
        raise
    except BackendError as error:
        degrade("records delayed", f"{error}; results computed now become hits once the store answers again")
        values = _values(project, key, record, _step_of(context), aside=context is not None and context.newer)
        project.outbox.write(*(Publish(name, value) for name, value in values.items()))
    if context is not None and context.told_when_stored is not None and record.status == COMPLETED:
        context.told_when_stored()


def withdraw(project: Project, key: str, context: CacheContext | None = None) -> None:
    """Make the result under a key no longer a hit, because its code does more than compute; references still work.

    Args:
        project: the project.
        key: the transaction key.
        context: the task run whose body showed it, if any.
    """
    try:
        with project.kv_availability.watch():
            record = read_hit(project, key)
        if record is not None:
            publish(project, key, replace(record, status=KEPT, no_hit="effect"), context)
    except ExpOpsPrefectError as error:
        degrade("results not withdrawn", f"{key}: {error}; later runs may use its result until it is removed")


def read_record(project: Project, key: str) -> CacheRecord | None:
    """The record under a key, hit or not; ``None`` if there is none of a known format.

    Raises:
        KVError: the KV store failed.
    """
    name = record_key(key)
    value = project.kv.get(name)
    if is_newer(value):
        name = foreign_record_key(key)
        value = project.kv.get(name)
    return _loaded(project, name, value)


def read_hit(project: Project, key: str) -> CacheRecord | None:
    """The record under a key that makes a task run a hit: completed, not expired.

    Raises:
        KVError: the KV store failed.
    """
    return hit_of(project, key, project.kv.get(record_key(key)))


def hit_of(project: Project, key: str, value: JSON | None) -> CacheRecord | None:
    """The record if it is a hit; see :func:`read_hit`."""
    record = _loaded(project, record_key(key), value)
    try:
        return None if record is None or record.status != COMPLETED or _expired(project, key, record) else record
    except TypeError as error:  # for example a time that is not a number
        _logger.warning("%s: %s; the task is executed", key, error)
        return None


def kept_digest(project: Project, key: str, value: JSON | None) -> str | None:
    """The digest of a kept result that is not a hit; ``None`` if there is none."""
    if not isinstance(value, dict) or value.get("status") != KEPT:
        return None
    record = _loaded(project, record_key(key), value)
    return None if record is None else record.digest


def _loaded(project: Project, name: str, value: JSON | None) -> CacheRecord | None:
    """The record under a KV key, if it is of a known format and its signature is valid."""
    if value is None:
        return None
    if is_newer(value):
        said = "a newer expops-prefect wrote this record; it is not replaced, and the task is executed"
        degrade("newer records", f"{name}: {said}")
        return None
    if not project.signatures.valid(name, value):
        said = "the record is not signed with a key of prefect.cache.signing_key_file; the task is executed"
        degrade("unsigned records", f"{name}: {said}")
        return None
    try:
        return CacheRecord.load(value)
    except (FormatError, TypeError) as error:
        _logger.warning("%s: %s; the task is executed", name, error)
        return None


def _expired(project: Project, key: str, record: CacheRecord) -> bool:
    parsed = _parsed(key)
    expires = expiry(record, None if parsed is None else project.settings.cache.ttl_of(parsed.task))
    return expires is not None and expires <= time.time()


def verified(project: Project, key: str, record: CacheRecord) -> bytes:
    """Check everything that a record refers to, and return its manifest, which is read once.

    Raises:
        IntegrityError: something is missing or differs from what was written; the message names it.
        ObjectStoreError: the object store failed.
    """
    manifest, place = record.held(), "in its record"
    if manifest is None:
        manifest, place = project.objects.get(record.object_key), record.cache_path
    if manifest is None:
        raise IntegrityError(f"the manifest {place} is gone")
    if digest([manifest]) != record.digest:
        raise IntegrityError(f"the manifest {place} was changed after it was written")
    refreshed = [checked_payload(project, payload) for payload in record.payloads]
    if any(new is not old for new, old in zip(refreshed, record.payloads, strict=True)):
        _remember_stamps(project, record_key(key), replace(record, payloads=tuple(refreshed)))
    note_use(project, record_key(key), record)
    return manifest


def _remember_stamps(project: Project, name: str, record: CacheRecord) -> None:
    """Store the stamps of payloads that were hashed again (a moved folder has other inodes), so the next hit is fast.

    A record that was replaced or removed meanwhile is left alone.
    """
    try:
        _write_stamps(project, name, record)
    except KVError as error:  # if the store cannot be written, each hit hashes them again
        _logger.debug("%s: the stamps of its payloads are not kept: %s", name, error)


def _write_stamps(project: Project, name: str, record: CacheRecord) -> None:
    found = project.kv.get_versioned(name)
    known = found.value if found is not None and isinstance(found.value, dict) else {}
    if not project.signatures.required and SIGNATURE in known:
        return  # A signature would not match any more, and other machines require it.
    if found is not None and (known.get("digest"), known.get("ended_at")) == (record.digest, record.ended_at):
        project.kv.compare_and_set(name, found.version, project.signatures.signed(name, record.dump()))
