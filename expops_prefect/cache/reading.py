"""Reads stored results back, by run and process or by key; verified as hits are, before anything is loaded."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Final

import orjson

from expops_prefect._internal.formatting import moment
from expops_prefect.cache import reasons, result_forms, results
from expops_prefect.cache.payloads import StoredPayloads
from expops_prefect.errors import (
    ExpOpsPrefectError,
    FormatError,
    IntegrityError,
    KVDamagedError,
    ProcessNotFoundError,
    ResultNotFoundError,
    ResultNotLoadableError,
    ResultNotStoredError,
    ResultRemovedError,
)
from expops_prefect.fingerprint.identity import INTERACTIVE
from expops_prefect.models.misses import MissKind
from expops_prefect.models.names import CacheKey, parse_path, readable, total_path
from expops_prefect.models.record_format import is_newer
from expops_prefect.project import Project
from expops_prefect.record.cache_records import (
    CacheRecord,
    foreign_record_key,
    leads_to,
    read_cache_records,
    read_removal,
)
from expops_prefect.record.process_rows import BY_PREFECT, TERMINAL, Row, row_labels, rows_named, single_calls
from expops_prefect.record.run_lookup import RunName, short_run
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.serialization.manifest import unpack

_SHOWN: Final = 3
_LISTED: Final = 10
_REPAIR: Final = "remove it with expops-prefect cache verify --repair and run the flow again"
_OTHER_STORAGE: Final = "the result storage that the task or its flow names keeps its result, not the project's cache"
_AGAIN: Final = "run the flow again to compute it"
_BY_PREFECT: Final[frozenset[MissKind]] = frozenset({"policy", "off", "effect", "generator", "not asked for"})
"""Why a call has no key of this package; Prefect may have kept its result."""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A stored result that was found but not yet read.

    Attributes:
        key: its transaction key.
        record: its record.
        path: the probe path of the call that was asked for; empty if it was asked for by key.
    """

    key: str
    record: CacheRecord
    path: str = ""


def find(project: Project, name: RunName, process: str | None, call: int | None) -> StoredResult:
    """Find a stored result. See :meth:`Project.result` for the arguments and the errors."""
    if process is not None:
        return _of_run(project, name, process, call)
    if not isinstance(name, str) or call is not None:
        raise ResultNotFoundError("name the process whose result you want, beside the run")
    # A whole key needs no search. Looking must not create a database.
    whole = CacheKey.parse(name) is not None and project.settings.kv.may_hold_runs()
    key = name if whole else str(find_key(project, name)[0])
    return StoredResult(key, _record(project, key))


def load(project: Project, found: StoredResult) -> Any:
    """Verify and load a stored result. See :meth:`Project.result` for the errors."""
    record = found.record
    if not record.object_key:
        raise ResultNotStoredError(f"{_short(found.key)}: {_OTHER_STORAGE}; {_through_prefect(record.task_run_id)}")
    try:
        manifest = results.verified(project, found.key, record)
        value = _loaded(project, found, manifest)
    except ResultNotLoadableError as error:
        raise ResultNotLoadableError(f"{_short(found.key)}: {error}; {_lacking(error)}") from error
    except IntegrityError as error:
        raise IntegrityError(f"{_short(found.key)}: {error}; {_elsewhere(project, record) or _REPAIR}") from error
    return _whole(value)


def find_key(project: Project, text: str) -> tuple[CacheKey, CacheRecord]:
    """The cache key that a text starts, with its record.

    Args:
        project: the project.
        text: ``<task>/<inputs>/<config>/<function>``, or a unique start of its parts.

    Raises:
        ResultNotFoundError: no key starts with it, or several do.
        KVError: the KV store failed.
    """
    kept = project.settings.kv.may_hold_runs()
    stored = read_cache_records(project.kv, beginning=text.split("/")[0]) if kept else ()
    matching = [item for item in stored if item[0].begins_with(text)]
    # A task's whole name means that task, even if other names start with it.
    matching = [item for item in matching if item[0].task == text.split("/")[0]] or matching
    if len(matching) == 1:
        return matching[0]
    place = project.kv.describe()
    if not matching:
        raise ResultNotStoredError(f"no cached result under {text!r} in {place}; see expops-prefect cache list")
    some = ", ".join(_short(str(key)) for key, _ in matching[:_SHOWN]) + (", …" if len(matching) > _SHOWN else "")
    raise ResultNotFoundError(
        f"{text!r} matches {len(matching)} cached results in {place}: {some}; give more of the key"
    )


# Which call -------------------------------------------------------------------------------------


def _of_run(project: Project, name: RunName, process: str, call: int | None) -> StoredResult:
    run = project.run(name)
    rows = project.rows(run)
    row = _one_call(run.run_id, rows, process, call)
    said = f"{readable(row.path, row_labels(rows))} of run {short_run(run.run_id)}"
    if row.status not in TERMINAL:
        raise ResultNotStoredError(f"{said} is {row.status}, so it has no result yet; wait for its end")
    if row.status == "failed":
        because = f" ({row.failure})" if row.failure else ""
        raise ResultNotStoredError(f"{said} failed{because}, so it has no result; name a run in which it completed")
    key = str(row.fields.get("cache_key") or "")
    if not key or row.fields.get("cached_by") == BY_PREFECT:
        raise ResultNotStoredError(f"{said}: {_why_without_key(row)}")
    if row.fields.get("miss_reason") == reasons.ELSEWHERE.text:
        raise ResultNotStoredError(f"{said}: {_OTHER_STORAGE}; {_through_prefect(row.fields.get('task_run_id'))}")
    try:
        record = _record(project, key)
    except ResultNotStoredError as error:
        if row.fields.get("not_kept"):
            raise ResultNotStoredError(f"{said}: its result could not be kept: {row.fields['not_kept']}") from error
        removed = "its result is not in the cache any more, or still waits to be delivered (expops-prefect sync)"
        raise ResultRemovedError(f"{said}: {removed}; {_AGAIN}") from error
    except (ResultRemovedError, IntegrityError, FormatError) as error:
        raise type(error)(f"{said}: {error}") from error
    if not _is_of(row, run.run_id, record):
        by = f"run {short_run(record.run_id)}" if record.run_id else "a task outside any run"
        raise ResultRemovedError(
            f"{said}: its result was replaced by that of {by}, computed at {moment(record.ended_at)}; "
            f"read the newer one by its key, {_short(key)}"
        )
    return StoredResult(key, record, row.path)


def _one_call(run_id: str, rows: list[Row], process: str, call: int | None) -> Row:
    labels, calls = row_labels(rows), list(single_calls(rows))
    found = [row for row in calls if process in _exact_names(row.path, labels)] or rows_named(run_id, calls, process)
    if call is not None:
        numbered = [row for row in found if _number(row.path) == call]
        if not numbered:
            raise ProcessNotFoundError(f"{process} has no call {call} in run {run_id}; it has {_listed(found, labels)}")
        found = numbered
    if len(found) > 1:
        alike = call is None and len({total_path(row.path) for row in found}) == 1
        how = "give its number as call" if alike else "name one of them"
        raise ProcessNotFoundError(
            f"{process!r} matches {len(found)} calls in run {run_id}; {how}: {_listed(found, labels)}"
        )
    return found[0]


def _exact_names(path: str, labels: dict[str, str]) -> set[str]:
    total = total_path(path)
    return {path, total, readable(path, labels), readable(total, labels), readable(path), readable(total)}


def _number(path: str) -> int:
    parsed = parse_path(path)
    number = None if parsed is None else parsed.call if parsed.step is None else parsed.step_call
    return number or 1


def _listed(rows: list[Row], labels: dict[str, str]) -> str:
    ordered = sorted(rows, key=lambda row: (total_path(row.path), _number(row.path)))
    names = [readable(row.path, labels) for row in ordered]
    return ", ".join(names[:_LISTED]) + (", …" if len(names) > _LISTED else "")


def _is_of(row: Row, run_id: str, record: CacheRecord) -> bool:
    """Whether a record has the result of this call, and not one that was stored later under the same key."""
    if row.status == "cached":
        return (record.run_id, record.ended_at) == (row.cached_run_id or "", row.fields.get("cached_ended_at"))
    mine = row.fields.get("task_run_id")
    return record.run_id == run_id and (not mine or record.task_run_id in (None, mine))


def _why_without_key(row: Row) -> str:
    task_run, because = str(row.fields.get("task_run_id") or ""), row.fields.get("miss")
    if row.fields.get("cached_by") == BY_PREFECT:
        return f"Prefect's own cache keeps its result; {_through_prefect(task_run)}"
    if because in _BY_PREFECT:
        said = f"it was executed without storing its result in the project ({row.fields.get('miss_reason')})"
        return f"{said}; if Prefect persists it, {_through_prefect(task_run)}"
    if because is not None:
        return f"its result was not stored ({row.fields.get('miss_reason')}); {_AGAIN} once that is mended"
    return "the result of a flow is stored only with flow(cached=True); read those of the tasks in it"


def _through_prefect(task_run: str | None) -> str:
    if not task_run:
        return "read it from the state of its task run"
    client = "prefect.get_client(sync_client=True)"
    return f"read it with {client}.read_task_run({task_run!r}).state.result()"


# Its record -------------------------------------------------------------------------------------


def _record(project: Project, key: str) -> CacheRecord:
    """The record under a key, hit or not, if it can be trusted."""
    name = results.record_key(key)
    try:
        value = project.kv.get(name)
        if is_newer(value):
            name = foreign_record_key(key)
            aside = project.kv.get(name)
            if aside is None:
                raise FormatError(f"{_short(key)}: a newer expops-prefect stored it; upgrade this one to read it")
            value = aside
    except KVDamagedError as error:
        raise IntegrityError(f"{_short(key)}: {error}; {_REPAIR}") from error
    if value is None:
        raise _absent(project, key)
    if not project.signatures.valid(name, value):
        raise IntegrityError(
            f"{_short(key)}: its record is not signed with a key of prefect.cache.signing_key_file, so it is not "
            f"loaded; {_REPAIR}"
        )
    try:
        return CacheRecord.load(value)
    except FormatError as error:
        raise IntegrityError(f"{_short(key)}: its record is {error}; {_REPAIR}") from error


def _absent(project: Project, key: str) -> ResultNotFoundError:
    parsed = CacheKey.parse(key)
    removal = None if parsed is None else read_removal(project.kv, parsed)
    if removal is not None:
        return ResultRemovedError(f"{_short(key)}: its result was {removal.text}; {_AGAIN}")
    return ResultNotStoredError(
        f"no cached result under {_short(key)!r} in {project.kv.describe()}; see expops-prefect cache list"
    )


# Its value --------------------------------------------------------------------------------------


def _loaded(project: Project, found: StoredResult, manifest: bytes) -> Any:
    record = found.record
    try:
        if record.kind == "packed":
            value = unpack(manifest, StoredPayloads(project, record))
            if record.stands:
                result_forms.remember(value, record.stands, project.settings.root)
            return value
        metadata = record.prefect_metadata or ""
        if not leads_to(metadata, record, found.key):
            raise IntegrityError("the metadata beside it are damaged, or point to a different result")
        from prefect.serializers import Serializer

        return Serializer(**orjson.loads(metadata)["serializer"]).loads(manifest)
    except ExpOpsPrefectError:
        raise
    except Exception as error:  # a user's class or serializer may raise anything
        raise ResultNotLoadableError(f"it cannot be loaded in this process: {error!r}") from error


def _whole(value: Any) -> Any:
    """The value with the parts loaded that a process of an ExpOps project stores separately."""
    if isinstance(value, Deferred):
        return value.value()
    if type(value) is dict:
        return {name: _whole(part) for name, part in value.items()} if _holds_deferred(value.values()) else value
    return value


def _holds_deferred(values: Any) -> bool:
    return any(isinstance(value, Deferred | dict) for value in values)


def _lacking(error: BaseException) -> str:
    """What to do if a process lacks something that a result needs."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ImportError | LookupError | AttributeError):
        cause = cause.__cause__
    if isinstance(cause, ModuleNotFoundError):
        return f"install {cause.name}, or read the result where it can be imported (PYTHONPATH)"
    if isinstance(cause, LookupError) and "script" in str(cause):
        module = str(cause.args[0]).partition(":")[0]
        first = "define it again" if module == INTERACTIVE else f"import {module}"
        return f"in Python, {first}, then read the result in the same process"
    return "read it with the code and the packages that computed it, or run the flow again with those of now"


def _elsewhere(project: Project, record: CacheRecord) -> str:
    """Where the files of a result are that another machine keeps for itself; empty if they should be here."""
    alone = project.settings.kv.is_shared and not project.settings.objects.is_shared
    if not alone or not record.host or record.host == socket.gethostname():
        return ""
    return f"it was computed on {record.host}, which keeps its files itself: read it there"


def _short(key: str) -> str:
    parsed = CacheKey.parse(key)
    return key[:60] if parsed is None else parsed.short
