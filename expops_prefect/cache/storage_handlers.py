"""What our storage blocks do with what Prefect hands them and asks them for.

Prefect hands the serializer's envelope to the result storage (:func:`store`) and then its own metadata
to the key storage (:func:`publish`), which writes the record. It asks the key storage first when it
reads (:func:`look_up`), and takes any failure there for a miss; so everything is checked there, and
what was read is kept for the two reads that follow (:func:`fetch`).

This is the edge to Prefect, so failures are logged and counted here and never reach a flow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import orjson
from prefect.exceptions import SerializationError
from prefect.serializers import Serializer

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache import attempts, observation, prefect_metadata, reasons, result_forms, results, retries
from expops_prefect.cache.attempts import Attempt
from expops_prefect.cache.locking import single_flight
from expops_prefect.cache.locking.waiting import await_, wait
from expops_prefect.cache.payloads import StoredPayloads
from expops_prefect.cache.reasons import Reason
from expops_prefect.cache.results import Found
from expops_prefect.effects import dependencies, generators
from expops_prefect.effects.dependencies import ChangedMeanwhileError, Dependency
from expops_prefect.errors import BackendError, ExpOpsPrefectError, IntegrityError
from expops_prefect.models.record_format import RECORD_FORMAT, is_newer
from expops_prefect.project import Project
from expops_prefect.record.records import COMPLETED, CacheRecord
from expops_prefect.serialization.envelope import Envelope
from expops_prefect.serialization.manifest import pack

_NONE: Final = pack(None).manifest
_LONGEST_NONE: Final = 1024
ProjectOf: TypeAlias = Callable[[], Project]
"""The project of the block that was asked, for results that no task run of this process belongs to."""
_pending: dict[str, CacheRecord] = {}
"""Results whose objects are stored and whose record the key storage writes next."""


def store(project_of: ProjectOf, path: str, content: bytes) -> None:
    """Store a result, as :meth:`ExpOpsResultStorage.write_path` says."""
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
        project = _project(project_of, attempt)
        no_hit = _no_hit(project, content, attempt) if paired else ""
        found: tuple[Dependency, ...] = ()
        if attempt is not None and attempt.watched and not no_hit:
            try:
                found = observation.settled(attempt)
            except ChangedMeanwhileError as error:
                no_hit, attempt.not_kept = "meanwhile", str(error)
            except Exception as error:  # noqa: BLE001 - Prefect's API may be away, which a Variable is asked of
                no_hit, attempt.not_kept = "meanwhile", f"what it read could not be told again: {error!r}"
                degrade("results not cached", f"{_short(path)}: {attempt.not_kept}", key=path)
        if no_hit and attempt is not None and attempt.kept is not None and attempt.kept == results.digest_of(body):
            return  # It is there, and as little of a hit as before.
        with project.objects_availability.watch():
            record = results.write_result(project, path, body, attempt, no_hit=no_hit)
        if isinstance(content, Envelope) and content.result is not None:
            (result,), content.result = content.result, None
            place, stands = result_forms.told(result, content.packed, project.settings.root, _task(attempt, path))
            record = replace(record, files=content.files, below_root=place, stands=stands)
        if attempt is not None and attempt.watched:
            record = _with_what_was_seen(record, attempt, found)
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


def fetch(project_of: ProjectOf, path: str) -> bytes:
    """Read a verified result, as :meth:`ExpOpsResultStorage.read_path` says."""
    attempt = attempts.current(path)
    if attempt is not None and attempt.verified is not None:
        found, attempt.verified = attempt.verified, None
        attempt.hit = found.record
        retries.note(attempt)
        return found.content
    project = _project(project_of, attempt)
    record = results.read_record(project, path)
    if record is None:
        raise IntegrityError(f"no result under {path} in {project.kv.describe()}")
    content = _content(project, record, results.verified(project, path, record))
    if attempt is not None:
        attempt.hit = record
    return content


def publish(project_of: ProjectOf, path: str, content: bytes) -> None:
    """Publish a record, as :meth:`ExpOpsKeyStorage.write_path` says."""
    attempt = attempts.of_key(path)
    record = _pending.pop(path, None)
    text = bytes(content).decode()
    try:
        project = _project(project_of, attempt)
        if record is None:
            if attempt is not None and attempt.paired:
                return  # The result was not stored: it was None, failed, or could not be.
            record = results.read_record(project, path) or _metadata_only()
        record = replace(record, prefect_metadata=text, expires_at=prefect_metadata.expiration(text))
        results.publish(project, path, record, attempt)
        if attempt is not None and record.status == COMPLETED:
            retries.note(attempt)
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


def look_up(project_of: ProjectOf, path: str) -> bytes:
    """Look for a valid, verified result, as :meth:`ExpOpsKeyStorage.read_path` says."""
    attempt = attempts.current(path)
    found = _look(project_of, attempt, path)
    if found is None and attempt is not None and single_flight.wanted(attempt):
        found = wait(single_flight.fly(attempt, lambda: _look(project_of, attempt, path)))
    if found is None:
        raise _miss(attempt, path)
    return found


async def alook_up(project_of: ProjectOf, path: str) -> bytes:
    """The async form of :func:`look_up`."""
    attempt = attempts.current(path)
    found = await asyncio.to_thread(_look, project_of, attempt, path)
    if found is None and attempt is not None and single_flight.wanted(attempt):
        found = await await_(single_flight.fly(attempt, lambda: _look(project_of, attempt, path)), attempt.land)
    if found is None:
        raise await asyncio.to_thread(_miss, attempt, path)
    return found


def _look(project_of: ProjectOf, attempt: Attempt | None, path: str) -> bytes | None:
    """The metadata of a valid, verified result, or ``None``; it is kept for the read that follows."""
    if attempt is not None and attempt.verified is not None:
        return _metadata(attempt.verified.record)
    try:
        project = _project(project_of, attempt)
        with project.kv_availability.watch():
            value = project.kv.get(results.record_key(path))
        record = results.hit_of(project, path, value)
        found: tuple[Dependency, ...] = ()
        if record is not None:
            found = dependencies.load(record.dependencies)
            why = _stands_against(attempt, record, found, project)
            if why is not None and attempt is not None:
                attempt.why = why
            if why is not None:
                return None
        if record is None or record.prefect_metadata is None:
            if attempt is not None:
                attempt.kept = results.kept_digest(project, path, value)
                attempt.newer = is_newer(value)
                attempt.why = reasons.of_value(project, path, value)
            return None
        prefect_metadata.check(record, record.prefect_metadata, path, attempt)
        if record.object_key:
            # What stands in the record alone is there even while the object store is away.
            with nullcontext() if record.is_whole else project.objects_availability.watch():
                manifest = results.verified(project, path, record)
            if attempt is not None:
                content = _loaded(_content(project, record, manifest), record, project.settings.root)
                attempt.verified = Found(record, content)
        if record.generators:
            generators.restore(record.generators)
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
        attempt.material = attempt.before = None
    observation.inherit(found)
    return _metadata(record)


def _stands_against(
    attempt: Attempt | None, record: CacheRecord, found: tuple[Dependency, ...], project: Project
) -> Reason | None:
    """Why a result may not be given to a task run although its key fits; ``None`` if it may."""
    before = None if attempt is None else attempt.before
    if record.below_root and record.below_root != result_forms.place_of(project.settings.root):
        return reasons.OTHER_CHECKOUT
    if attempt is not None and before is not None and not before.told:
        if record.effects:
            return reasons.of_record(record.effects)
        if not record.watched and (not before.code.resolved or before.code.reads or before.code.seeds):
            return reasons.UNWATCHED
        if record.computed_in and record.computed_in == attempt.computed_in and not record.proven:
            return reasons.SAME_RUN
    what = dependencies.changed(found, project.settings.root, project.data_rules()) if found else None
    return None if what is None else reasons.dependency(what)


def _with_what_was_seen(record: CacheRecord, attempt: Attempt, found: tuple[Dependency, ...]) -> CacheRecord:
    return replace(
        record,
        watched=True,
        proven=attempt.proven and not found,
        computed_in=attempt.computed_in,
        effects=attempt.effects,
        generators=attempt.generators,
        dependencies=dependencies.dump(found),
        # An earlier release would not compare them.
        format=RECORD_FORMAT if found else record.format,
    )


def _project(project_of: ProjectOf, attempt: Attempt | None) -> Project:
    return project_of() if attempt is None else attempt.project


def _miss(attempt: Attempt | None, path: str) -> IntegrityError:
    if attempt is not None:
        attempt.miss()
    return IntegrityError(f"no valid result under {path}")


def _once_for(error: Exception, path: str) -> str:
    """A store that is away is said once, not for each result."""
    return "" if isinstance(error, BackendError) else path


def _task(attempt: Attempt | None, path: str) -> str:
    return _short(path) if attempt is None or attempt.cache_key is None else attempt.cache_key.task


def _short(path: str) -> str:
    """A key for people: enough of it to tell it from others."""
    return "/".join(part[:8] if place else part for place, part in enumerate(path.split("/")))


def _metadata(record: CacheRecord) -> bytes:
    if record.prefect_metadata is None:
        raise IntegrityError("the record has no metadata of Prefect's")
    return record.prefect_metadata.encode()


def _metadata_only() -> CacheRecord:
    """A record for a result that another storage keeps."""
    now = time.time()
    return CacheRecord("completed", "", "", "", now, now, 0.0, "", "", 0, "", "raw")


def _no_hit(project: Project, content: bytes, attempt: Attempt | None) -> str:
    """Why a result is to be kept for references to it only, so that later task runs are executed; else empty."""
    if attempt is not None and attempt.refused:
        return "effect"
    if attempt is not None and attempts.must_not_store(attempt):
        return "state" if attempt.returned_state else "failed"
    if attempt is not None and attempt.was_changed():
        said = "its result was changed in place between its return and the end of the transaction around it"
        degrade("results not cached", f"{said}; pass copies on", key=attempt.key, about=attempt.label)
        return "changed"
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


def _loaded(content: bytes, record: CacheRecord, root: Path) -> bytes:
    """Load a result before Prefect is told of a hit: a class may be gone, and then the task is executed.

    Raises:
        IntegrityError: it cannot be loaded.
    """
    try:
        if isinstance(content, Envelope):
            content.load(files=record.files)
            if record.stands and content.loaded is not None:
                result_forms.remember(content.loaded[0], record.stands, root)
        else:
            # Prefect loads it once more: what another serializer makes of bytes cannot be handed over.
            Serializer(**orjson.loads(_metadata(record))["serializer"]).loads(content)
    except ExpOpsPrefectError:
        raise
    except Exception as error:  # a user's own class or serializer may raise anything
        raise IntegrityError(f"the result {record.cache_path} cannot be loaded here: {error!r}") from error
    return content
