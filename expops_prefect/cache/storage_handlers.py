"""The implementation of our storage blocks.

Prefect passes the serializer's envelope to the result storage (:func:`store`) and then its own metadata
to the key storage (:func:`publish`), which writes the record. When it reads, it asks the key storage
first (:func:`look_up`) and takes any exception there for a miss. So everything is checked there, and
the content is kept for the two reads that follow (:func:`fetch`).

This is the edge to Prefect: failures are logged and counted here and never reach a flow.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import orjson
from prefect.exceptions import SerializationError
from prefect.serializers import Serializer

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache import observation, prefect_metadata, reasons, result_forms, results, retries
from expops_prefect.cache.context import CacheContext, Observed
from expops_prefect.cache.files import restoring, storing
from expops_prefect.cache.files.restoring import NotRestoredError
from expops_prefect.cache.locking import single_flight
from expops_prefect.cache.locking.waiting import await_, wait
from expops_prefect.cache.payloads import StoredPayloads
from expops_prefect.cache.reasons import Reason
from expops_prefect.cache.results import Found
from expops_prefect.cache.session import session
from expops_prefect.effects import dependencies, generators
from expops_prefect.effects.dependencies import ChangedMeanwhileError, Dependency
from expops_prefect.errors import BackendError, ExpOpsPrefectError, IntegrityError
from expops_prefect.models.record_format import DEPENDENCIES_FORMAT, FILES_FORMAT, is_newer
from expops_prefect.project import Project
from expops_prefect.record import file_lists
from expops_prefect.record.cache_records import COMPLETED, CacheRecord, is_whole
from expops_prefect.record.file_lists import StoredPath
from expops_prefect.serialization.envelope import Envelope
from expops_prefect.serialization.manifest import pack
from expops_prefect.stores.kv.base import JSON

_NONE: Final = pack(None).manifest
_LONGEST_NONE: Final = 1024
ProjectOf: TypeAlias = Callable[[], Project]
"""Returns the project of the block, for results that belong to no task run of this process."""


def store(project_of: ProjectOf, path: str, content: bytes) -> None:
    """Store a result, see :meth:`ExpOpsResultStorage.write_path`."""
    context = session().of_key(path)
    # If the metadata go to another storage, raise when the result is not stored: Prefect would write the metadata
    # nevertheless, and a hit without a result fails the task.
    paired = context is not None and context.paired
    if isinstance(content, Envelope) and content.failure is not None:
        if not paired:
            raise SerializationError(str(content.failure)) from content.failure
        degrade("results not stored", f"{_short(path)}: {content.failure}", key=path)
        _not_stored(context, str(content.failure))
        return
    body = content.packed if isinstance(content, Envelope) and content.packed is not None else bytes(content)
    try:
        project = _project(project_of, context)
        no_hit = _no_hit(project, content, context) if paired else ""
        found: tuple[Dependency, ...] = ()
        if context is not None and context.observed is not None and not no_hit:
            try:
                found = observation.settled(context)
            except ChangedMeanwhileError as error:
                no_hit, context.not_stored = "meanwhile", str(error)
            except Exception as error:  # noqa: BLE001 - Prefect's API, which is asked for Variables, may not answer
                no_hit, context.not_stored = "meanwhile", f"what it read could not be checked again: {error!r}"
                degrade("results not cached", f"{_short(path)}: {context.not_stored}", key=path)
        if no_hit and context is not None and context.kept is not None and context.kept == results.digest_of(body):
            return  # The same result is already stored, and is still not a hit.
        files: tuple[StoredPath, ...] = ()
        with project.objects_availability.watch():
            if context is not None and context.observed is not None and context.observed.files and not no_hit:
                try:
                    files = storing.store(project, context.observed.files)
                except ChangedMeanwhileError as error:
                    no_hit, context.not_stored = "meanwhile", str(error)
            record = results.write_result(project, path, body, context, no_hit=no_hit)
            if files:
                record = storing.with_list(project, record, files)
        if files and not isinstance(content, Envelope):
            # Another serializer keeps absolute paths, which would be wrong elsewhere.
            record = replace(record, below_root=result_forms.place_of(project.settings.root))
        if isinstance(content, Envelope) and content.result is not None:
            (result,), content.result = content.result, None
            root = project.settings.root
            place, stands = result_forms.describe(result, content.packed, root, _task(context, path))
            record = replace(record, files=content.files, below_root=place, stands=stands)
        if context is not None and context.observed is not None:
            record = _with_observations(record, context, context.observed, found)
        if context is not None:
            context.object_key = record.object_key
        if paired and context is not None:
            context.staged = record
        else:
            results.publish(project, path, record, context)
    except ExpOpsPrefectError as error:
        said = f"{_short(path)}: {error}; the flow goes on, the result is not cached"
        degrade("results not stored", said, key=_report_key(error, path))
        _not_stored(context, str(error))
        if not paired:
            raise


def fetch(project_of: ProjectOf, path: str) -> bytes:
    """Read a verified result, see :meth:`ExpOpsResultStorage.read_path`."""
    context = session().current(path)
    if context is not None and context.verified is not None:
        found, context.verified = context.verified, None
        context.hit = found.record
        retries.note(context)
        return found.content
    project = _project(project_of, context)
    record = results.read_record(project, path)
    if record is None:
        raise IntegrityError(f"no result under {path} in {project.kv.describe()}")
    content = _content(project, record, results.verified(project, path, record))
    if context is not None:
        context.hit = record
    return content


def publish(project_of: ProjectOf, path: str, content: bytes) -> None:
    """Publish a record, see :meth:`ExpOpsKeyStorage.write_path`."""
    context = session().of_key(path)
    record = None
    if context is not None:
        record, context.staged = context.staged, None
    text = bytes(content).decode()
    try:
        project = _project(project_of, context)
        if record is None:
            if context is not None and context.paired:
                return  # The result was not stored: it was None, the task failed, or storing failed.
            record = results.read_record(project, path) or _metadata_only()
        record = replace(record, prefect_metadata=text, expires_at=prefect_metadata.expiration(text))
        results.publish(project, path, record, context)
        if context is not None and record.status == COMPLETED:
            retries.note(context)
    except ExpOpsPrefectError as error:
        said = f"{_short(path)}: {error}; the flow goes on, the result is not cached"
        degrade("records not stored", said, key=_report_key(error, path))
        _not_stored(context, str(error))
    finally:
        computed = session().current(path)
        if computed is not None:
            computed.release_lease()
        if context is not None:
            session().committed(context)


def look_up(project_of: ProjectOf, path: str) -> bytes:
    """Look for a valid, verified result, see :meth:`ExpOpsKeyStorage.read_path`."""
    context = session().current(path)
    found = _look(project_of, context, path)
    if found is None and context is not None and single_flight.wanted(context):
        found = wait(single_flight.acquire_or_wait(context, lambda: _look(project_of, context, path)))
    if found is None:
        raise _miss(context, path)
    return found


def are_hits(project: Project, contexts: Sequence[CacheContext], *, whole: bool) -> list[bool]:
    """Whether there are valid, verified results for task runs; they are kept for the reads that follow.

    Args:
        project: their project.
        contexts: their contexts.
        whole: whether results that are not wholly in their records count as misses: each costs a download.
    """
    keys = [results.record_key(context.key) for context in contexts]
    with project.kv_availability.watch():
        values = project.kv.get_many(keys) if len(keys) > 1 else {key: project.kv.get(key) for key in keys}
    found = []
    for context, key in zip(contexts, keys, strict=True):
        value = values.get(key)
        if value is None or (whole and not is_whole(value)):
            found.append(False)
        else:
            found.append(_look(lambda: project, context, context.key, read=value) is not None)
    return found


async def alook_up(project_of: ProjectOf, path: str) -> bytes:
    """The async form of :func:`look_up`."""
    context = session().current(path)
    found = await asyncio.to_thread(_look, project_of, context, path)
    if found is None and context is not None and single_flight.wanted(context):
        found = await await_(
            single_flight.acquire_or_wait(context, lambda: _look(project_of, context, path)), context.release_lease
        )
    if found is None:
        raise await asyncio.to_thread(_miss, context, path)
    return found


def _look(project_of: ProjectOf, context: CacheContext | None, path: str, *, read: JSON | None = None) -> bytes | None:
    """The metadata of a valid, verified result, or ``None``; the result is kept for the read that follows.

    Args:
        project_of: returns the project.
        context: the context of the task run.
        path: the transaction key.
        read: its record, if it was read already.
    """
    if context is not None and context.verified is not None:
        return _metadata(context.verified.record)
    try:
        project = _project(project_of, context)
        value = read
        if value is None:
            with project.kv_availability.watch():
                value = project.kv.get(results.record_key(path))
        record = results.hit_of(project, path, value)
        found: tuple[Dependency, ...] = ()
        if record is not None:
            found = dependencies.load(record.dependencies)
            why = _why_unusable(context, record, found, project)
            if why is not None and context is not None:
                context.why = why
            if why is not None:
                return None
        if record is None or record.prefect_metadata is None:
            if context is not None:
                context.kept = results.kept_digest(project, path, value)
                context.newer = is_newer(value)
                context.why = reasons.of_value(project, path, value)
            return None
        prefect_metadata.check(record, record.prefect_metadata, path, context)
        restored: list[str] = []
        if record.object_key:
            # A result that is wholly in the record is available even if the object store does not answer.
            with nullcontext() if record.is_whole else project.objects_availability.watch():
                manifest = results.verified(project, path, record)
            if record.file_list:
                # Before it is loaded: a path in a result must exist.
                with project.objects_availability.watch():
                    files = file_lists.of_record(record, project.objects.get)
                    restored = restoring.restore(project, record, files)
            if context is not None:
                content = _loaded(_content(project, record, manifest), record, project.settings.root)
                context.verified = Found(record, content)
        if record.generators:
            generators.restore(record.generators)
    except IntegrityError as error:
        degrade("damaged results", f"{_short(path)}: {error}; the task is executed again", key=path)
        if context is not None:
            context.verified, context.why = None, reasons.damaged(str(error))
        return None
    except NotRestoredError as error:
        degrade("files not restored", f"{_short(path)}: {error}; the task is executed", key=path)
        if context is not None:
            context.verified, context.why = None, reasons.dependency(str(error))
        return None
    except Exception as error:  # noqa: BLE001 - the edge to Prefect, which silently takes it for a miss
        said = str(error) if isinstance(error, ExpOpsPrefectError) else repr(error)
        degrade("cache not readable", f"{_short(path)}: {said}; the task is executed", key=_report_key(error, path))
        if context is not None:
            context.verified, context.why = None, reasons.unreadable(said)
        return None
    if context is not None:
        context.components = context.before = context.made = context.inputs = None
    observation.inherit(found, restored)
    return _metadata(record)


def _why_unusable(
    context: CacheContext | None, record: CacheRecord, found: tuple[Dependency, ...], project: Project
) -> Reason | None:
    """Why a result must not be used for a task run although its key matches; ``None`` if it may be used."""
    before = None if context is None else context.before
    if record.below_root and record.below_root != result_forms.place_of(project.settings.root):
        return reasons.OTHER_CHECKOUT
    if context is not None and before is not None and not before.requested:
        if record.effects:
            return reasons.of_record(record.effects)
        if before.assets and not record.file_list:
            return reasons.materializes(before.assets[0])
        if not record.watched and (not before.code.resolved or before.code.reads or before.code.seeds):
            return reasons.UNWATCHED
        if record.computed_in and record.computed_in == context.computed_in and not record.proven:
            return reasons.SAME_RUN
    what = dependencies.changed(found, project.settings.root, project.data_rules()) if found else None
    return None if what is None else reasons.dependency(what)


def _with_observations(
    record: CacheRecord, context: CacheContext, observed: Observed, found: tuple[Dependency, ...]
) -> CacheRecord:
    return replace(
        record,
        watched=True,
        proven=observed.proven and not found,
        computed_in=context.computed_in,
        effects=observed.effects,
        generators=observed.generators,
        dependencies=dependencies.dump(found),
        # An earlier release would not compare the dependencies, or put back the files.
        format=FILES_FORMAT if record.file_list else DEPENDENCIES_FORMAT if found else record.format,
    )


def _project(project_of: ProjectOf, context: CacheContext | None) -> Project:
    return project_of() if context is None else context.project


def _miss(context: CacheContext | None, path: str) -> IntegrityError:
    if context is not None:
        context.miss()
    return IntegrityError(f"no valid result under {path}")


def _report_key(error: Exception, path: str) -> str:
    """The key for reporting an error once: a store that fails is reported once, not for each result."""
    return "" if isinstance(error, BackendError) else path


def _task(context: CacheContext | None, path: str) -> str:
    return _short(path) if context is None or context.cache_key is None else context.task


def _short(path: str) -> str:
    """A shortened key for people, long enough to be unique."""
    return "/".join(part[:8] if place else part for place, part in enumerate(path.split("/")))


def _metadata(record: CacheRecord) -> bytes:
    if record.prefect_metadata is None:
        raise IntegrityError("the record lacks Prefect's metadata")
    return record.prefect_metadata.encode()


def _metadata_only() -> CacheRecord:
    """A record for a result that another storage keeps."""
    now = time.time()
    return CacheRecord("completed", "", "", "", now, now, 0.0, "", "", 0, "", "raw")


def _no_hit(project: Project, content: bytes, context: CacheContext | None) -> str:
    """Why a result is kept only for references to it, so that later task runs are executed; empty for a hit."""
    if context is not None and context.refused:
        return "effect"
    if context is not None and context.must_not_store:
        return "state" if context.returned_state else "failed"
    if context is not None and context.was_changed():
        said = "its result was changed in place between its return and the end of the transaction around it"
        degrade("results not cached", f"{said}; pass on copies", key=context.key, about=context.label)
        return "changed"
    if context is not None and context.observed is not None and context.observed.files:
        return ""  # the files that it declares to write are its result
    return "none" if not project.settings.cache.none_results and _is_none(content, context) else ""


def _not_stored(context: CacheContext | None, why: str) -> None:
    if context is not None:
        context.not_stored = why


def _is_none(content: bytes, context: CacheContext | None) -> bool:
    if isinstance(content, Envelope):
        return content.packed is not None and content.packed.manifest == _NONE
    if context is None or context.serializer is None or len(content) > _LONGEST_NONE:
        return False
    try:
        return context.serializer.loads(content) is None
    except Exception:  # noqa: BLE001 - a user's serializer; it fails again, and is reported, when read
        return False


def _content(project: Project, record: CacheRecord, manifest: bytes) -> bytes:
    """The bytes or the envelope for Prefect's serializer."""
    return manifest if record.kind == "raw" else Envelope.for_reading(manifest, StoredPayloads(project, record))


def _loaded(content: bytes, record: CacheRecord, root: Path) -> bytes:
    """Load a result before reporting a hit to Prefect: if its class no longer exists, the task is executed.

    Raises:
        IntegrityError: it cannot be loaded.
    """
    try:
        if isinstance(content, Envelope):
            content.load(files=record.files)
            if record.stands and content.loaded is not None:
                result_forms.remember(content.loaded[0], record.stands, root)
        else:
            # Prefect loads it again: a value from another serializer cannot be passed on.
            Serializer(**orjson.loads(_metadata(record))["serializer"]).loads(content)
    except ExpOpsPrefectError:
        raise
    except Exception as error:  # a user's class or serializer may raise anything
        raise IntegrityError(f"the result {record.cache_path} cannot be loaded here: {error!r}") from error
    return content
