"""Prefect's edge of the cache: the result storage block and the key storage block.

Prefect hands the serializer's envelope to :meth:`ExpOpsResultStorage.write_path` and then its own
metadata to :meth:`ExpOpsKeyStorage.write_path`, which publishes the record. It asks the key
storage first when it reads, and takes any failure there for a miss; so everything is checked
there, and what was read is kept for the two reads that follow.

This is the edge to Prefect, so failures are logged and counted here and never reach a flow.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
from prefect.exceptions import SerializationError
from prefect.filesystems import WritableFileSystem
from prefect.serializers import Serializer
from pydantic import Field

from expops_prefect.caching import attempts, flights, reasons, results
from expops_prefect.caching.attempts import Attempt
from expops_prefect.caching.payloads import StoredPayloads
from expops_prefect.caching.results import Found
from expops_prefect.caching.waiting import await_, wait
from expops_prefect.degraded import degrade
from expops_prefect.errors import BackendError, ExpOpsPrefectError, IntegrityError
from expops_prefect.project import Project
from expops_prefect.records import CacheRecord, is_newer
from expops_prefect.serialization.manifest import pack
from expops_prefect.serialization.serializer import Envelope

_logger = logging.getLogger("prefect.expops")
_NONE: Final = pack(None).manifest
_LONGEST_NONE: Final = 1024
_OWN_SERIALIZER: Final = "expops"


class _ProjectBlock(WritableFileSystem):
    """What both blocks share: the project they belong to.

    Prefect declares the base's methods async, but calls the plain ones with ``_sync=True`` and those
    named with an ``a`` from async code.
    """

    project_root: str | None = Field(
        default=None,
        description="The project's root folder. Empty: found as EXPOPS_PROJECT_ROOT, else from the current folder.",
    )
    project_id: str | None = Field(
        default=None, description="The project's id, for people; the configuration at the root decides."
    )

    def project(self) -> Project:
        """The project of this block.

        Raises:
            ConfigurationError: its configuration is wrong.
        """
        return Project.open(self.project_root)

    def _resolve_path(self, path: str) -> None:
        """Prefect asks unsaved blocks for the place of a key; the key itself is ours to resolve."""

    def _project_of(self, attempt: Attempt | None) -> Project:
        return self.project() if attempt is None else attempt.project


class ExpOpsResultStorage(_ProjectBlock):
    """Keeps results in the project's object store, in ExpOps' layout.

    Example:
        ```python
        from expops_prefect import ExpOpsResultStorage

        ExpOpsResultStorage(project_root="/srv/churn").save("churn-results")
        ```
    """

    _block_type_name = "ExpOps Result Storage"
    _block_type_slug = "expops-result-storage"

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Store a result; without our key storage also publish it.

        Args:
            path: Prefect's storage key.
            content: the serializer's bytes, or its envelope.
            _sync: Prefect's way to ask for the sync form; this is the sync form.

        Raises:
            SerializationError: the result cannot be pickled, and our key storage is not in use.
            ExpOpsPrefectError: it could not be stored, and our key storage is not in use.
        """
        attempt = attempts.of_key(path)
        # Where the metadata go elsewhere, what is not stored has to be said by raising: they would be written all
        # the same, and a hit that finds no result fails the task.
        paired = attempt is not None and attempt.paired
        if isinstance(content, Envelope) and content.failure is not None:
            if not paired:
                raise SerializationError(str(content.failure)) from content.failure
            degrade("results not stored", f"{_short(path)}: {content.failure}", key=path)
            _not_kept(attempt, str(content.failure))
            return
        body = content.packed if isinstance(content, Envelope) and content.packed is not None else bytes(content)
        try:
            project = self._project_of(attempt)
            no_hit = _no_hit(project, content, attempt) if paired else ""
            if no_hit and attempt is not None and attempt.kept is not None and attempt.kept == results.digest_of(body):
                return  # It is there, and as little of a hit as before.
            with project.objects_availability.watch():
                record = results.write_result(project, path, body, attempt, no_hit=no_hit)
            if isinstance(content, Envelope) and content.files:
                record = replace(record, files=True)
            if attempt is not None:
                attempt.object_key = record.object_key
            if paired:
                _pending[path] = record
            else:
                results.publish(project, path, record, attempt)
        except ExpOpsPrefectError as error:
            said = f"{_short(path)}: {error}; the flow goes on, the result is not cached"
            degrade("results not stored", said, key=_once_for(error, path))
            _not_kept(attempt, str(error))
            if not paired:
                raise

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Read a verified result.

        Args:
            path: Prefect's storage key.
            _sync: see :meth:`write_path`.

        Raises:
            IntegrityError: there is none, or it was changed; nothing of it was unpickled.
        """
        attempt = attempts.current(path)
        if attempt is not None and attempt.verified is not None:
            found, attempt.verified = attempt.verified, None
            attempt.hit = found.record
            return found.content
        project = self._project_of(attempt)
        record = results.read_record(project, path)
        if record is None:
            raise IntegrityError(f"no result under {path} in {project.kv.describe()}")
        content = _content(project, record, results.verified(project, path, record))
        if attempt is not None:
            attempt.hit = record
        return content

    async def awrite_path(self, path: str, content: bytes) -> None:
        """The async form of :meth:`write_path`."""
        await asyncio.to_thread(self.write_path, path, content)

    async def aread_path(self, path: str) -> bytes:
        """The async form of :meth:`read_path`."""
        return await asyncio.to_thread(self.read_path, path)


class ExpOpsKeyStorage(_ProjectBlock):
    """Keeps the records of cached results in the project's KV store, where ExpOps' clients read them.

    Example:
        ```python
        from expops_prefect import ExpOpsKeyStorage
        from prefect.cache_policies import INPUTS

        policy = INPUTS.configure(key_storage=ExpOpsKeyStorage(project_root="/srv/churn"))
        ```
    """

    _block_type_name = "ExpOps Key Storage"
    _block_type_slug = "expops-key-storage"

    def write_path(self, path: str, content: bytes, _sync: bool = True) -> None:  # type: ignore[override]
        """Publish the record of a result that was just stored.

        Args:
            path: the transaction key.
            content: Prefect's metadata, JSON.
            _sync: Prefect's way to ask for the sync form; this is the sync form.
        """
        attempt = attempts.of_key(path)
        record = _pending.pop(path, None)
        metadata = bytes(content).decode()
        try:
            project = self._project_of(attempt)
            if record is None:
                if attempt is not None and attempt.paired:
                    return  # The result was not stored: it was None, failed, or could not be.
                record = results.read_record(project, path) or _metadata_only()
            record = replace(record, prefect_metadata=metadata, expires_at=_expiration(metadata))
            results.publish(project, path, record, attempt)
        except ExpOpsPrefectError as error:
            said = f"{_short(path)}: {error}; the flow goes on, the result is not cached"
            degrade("records not stored", said, key=_once_for(error, path))
            _not_kept(attempt, str(error))
        finally:
            computed = attempts.current(path)
            if computed is not None:
                computed.land()
            if attempt is not None:
                attempts.committed(attempt)

    def read_path(self, path: str, _sync: bool = True) -> bytes:  # type: ignore[override]
        """Prefect's metadata of a valid, verified result.

        Args:
            path: the transaction key.
            _sync: see :meth:`write_path`.

        Raises:
            IntegrityError: a miss. Prefect takes any failure for one, so it is logged here.
        """
        attempt = attempts.current(path)
        found = self._look(attempt, path)
        if found is None and attempt is not None and flights.wanted(attempt):
            found = wait(flights.fly(attempt, lambda: self._look(attempt, path)))
        if found is None:
            raise _miss(attempt, path)
        return found

    def _look(self, attempt: Attempt | None, path: str) -> bytes | None:
        """The metadata of a valid, verified result, or ``None``; it is kept for the read that follows."""
        if attempt is not None and attempt.verified is not None:
            return _metadata(attempt.verified.record)
        try:
            project = self._project_of(attempt)
            with project.kv_availability.watch():
                value = project.kv.get(results.record_key(path))
            record = results.hit_of(project, path, value)
            if record is None or record.prefect_metadata is None:
                if attempt is not None:
                    attempt.kept = results.kept_digest(project, path, value)
                    attempt.newer = is_newer(value)
                    attempt.why = reasons.of_value(project, path, value)
                return None
            _check_metadata(record, record.prefect_metadata)
            if record.object_key:
                # What stands in the record alone is there even while the object store is away.
                with nullcontext() if record.is_whole else project.objects_availability.watch():
                    manifest = results.verified(project, path, record)
                if attempt is not None:
                    attempt.verified = Found(record, _loaded(_content(project, record, manifest), record))
        except IntegrityError as error:
            degrade("damaged results", f"{_short(path)}: {error}; the task is executed again", key=path)
            if attempt is not None:
                attempt.why = reasons.damaged(str(error))
            return None
        except Exception as error:  # noqa: BLE001 - the edge to Prefect, which takes it for a miss without a word
            said = str(error) if isinstance(error, ExpOpsPrefectError) else repr(error)
            degrade("cache not readable", f"{_short(path)}: {said}; the task is executed", key=_once_for(error, path))
            if attempt is not None:
                attempt.why = reasons.unreadable(said)
            return None
        if attempt is not None:
            attempt.material = None
        return _metadata(record)

    async def awrite_path(self, path: str, content: bytes) -> None:
        """The async form of :meth:`write_path`."""
        await asyncio.to_thread(self.write_path, path, content)

    async def aread_path(self, path: str) -> bytes:
        """The async form of :meth:`read_path`."""
        attempt = attempts.current(path)
        found = await asyncio.to_thread(self._look, attempt, path)
        if found is None and attempt is not None and flights.wanted(attempt):
            found = await await_(flights.fly(attempt, lambda: self._look(attempt, path)), attempt.land)
        if found is None:
            raise await asyncio.to_thread(_miss, attempt, path)
        return found


_pending: dict[str, CacheRecord] = {}
"""Results whose objects are stored and whose record the key storage writes next."""


def _miss(attempt: Attempt | None, path: str) -> IntegrityError:
    if attempt is not None:
        attempt.miss()
    return IntegrityError(f"no valid result under {path}")


def _once_for(error: Exception, path: str) -> str:
    """A store that is away is said once, not for each result."""
    return "" if isinstance(error, BackendError) else path


def _short(path: str) -> str:
    """A key for people: enough of it to tell it from others."""
    return "/".join(part[:8] if place else part for place, part in enumerate(path.split("/")))


def _metadata(record: CacheRecord) -> bytes:
    if record.prefect_metadata is None:
        raise IntegrityError("the record has no metadata of Prefect's")
    return record.prefect_metadata.encode()


def _check_metadata(record: CacheRecord, metadata: str) -> None:
    """Refuse what Prefect could not follow to a result: it would take it for a hit and then fail the task."""
    try:
        known = orjson.loads(metadata)
        kind = known["serializer"]["type"]
        whole = isinstance(known["storage_key"], str) and isinstance(kind, str)
        # A manifest is for our serializer alone; another one would be given its envelope's label.
        whole = whole and (record.kind != "packed" or kind == _OWN_SERIALIZER)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise IntegrityError("the record's metadata of Prefect's are damaged")


def _metadata_only() -> CacheRecord:
    """A record for a result that another storage keeps."""
    now = time.time()
    return CacheRecord("completed", "", "", "", now, now, 0.0, "", "", 0, "", "raw")


def _expiration(metadata: str) -> float | None:
    value: Any = orjson.loads(metadata).get("expiration")
    return None if value is None else datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()


def _no_hit(project: Project, content: bytes, attempt: Attempt | None) -> str:
    """Why a result is to be kept for references to it only, so that later task runs are executed; else empty."""
    if attempt is not None and attempts.must_not_store(attempt):
        return "state" if attempt.returned_state else "failed"
    return "none" if not project.settings.cache.none_results and _is_none(content, attempt) else ""


def _not_kept(attempt: Attempt | None, why: str) -> None:
    if attempt is not None:
        attempt.not_kept = why


def _is_none(content: bytes, attempt: Attempt | None) -> bool:
    if isinstance(content, Envelope):
        return content.packed is not None and content.packed.manifest == _NONE
    if attempt is None or attempt.serializer is None or len(content) > _LONGEST_NONE:
        return False
    try:
        return attempt.serializer.loads(content) is None
    except Exception:  # noqa: BLE001 - the user's own serializer; it fails again, and is reported, where this is read
        return False


def _content(project: Project, record: CacheRecord, manifest: bytes) -> bytes:
    """What Prefect's serializer is given."""
    return manifest if record.kind == "raw" else Envelope.for_reading(manifest, StoredPayloads(project, record))


def _loaded(content: bytes, record: CacheRecord) -> bytes:
    """Load a result before Prefect is told of a hit: a class may be gone, and then the task is executed.

    Raises:
        IntegrityError: it cannot be loaded.
    """
    try:
        if isinstance(content, Envelope):
            content.load(files=record.files)
        else:
            # Prefect loads it once more: what another serializer makes of bytes cannot be handed over.
            Serializer(**orjson.loads(_metadata(record))["serializer"]).loads(content)
    except ExpOpsPrefectError:
        raise
    except Exception as error:  # a user's own class or serializer may raise anything
        raise IntegrityError(f"the result {record.cache_path} cannot be loaded here: {error!r}") from error
    return content
