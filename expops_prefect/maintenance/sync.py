"""Copy a project's runs and cache from one set of stores to another.

Objects are copied first, then cache records, then runs, each run's own record last. So everything that a reader
finds in the target is complete. Existing data are skipped, so you can repeat an interrupted copy, and a second one
costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final

from blake3 import blake3

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import FormatError, IntegrityError
from expops_prefect.explain.components import load_sources
from expops_prefect.models import names
from expops_prefect.models.record_format import is_newer
from expops_prefect.project import Project
from expops_prefect.record import file_lists, process_rows, run_records
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.objects.base import Buffer, ObjectInfo
from expops_prefect.stores.objects.gc_protection import ensure_stored, protect

_PARALLEL: Final = 8
_PAGE: Final = 200
_OBJECT_PREFIXES: Final = (names.CACHE_PREFIX, names.ARTIFACT_PREFIX)
_URI_FIELDS: Final = frozenset({"cache_path", "object_path"})

Progress = Callable[[str, int], None]
"""Called with the kind of the items (``objects``, ``cache records``, ``runs``) and their number so far."""


@dataclass(slots=True)
class Copied:
    """The outcome of a copy: counts, and the bytes of the copied objects."""

    objects: int = 0
    object_bytes: int = 0
    records: int = 0
    runs: int = 0
    skipped: int = 0
    damaged: int = 0


def copy_project(source: Project, target: Project, progress: Progress = lambda kind, count: None) -> Copied:  # noqa: ARG005
    """Copy objects, cache records and runs with metrics and charts.

    Args:
        source: the project to copy from.
        target: the project to copy to; the same project id, other stores.
        progress: called with the progress.

    Raises:
        BackendError: a store failed; call it again to go on.
    """
    return _Copy(source, target, progress).run()


class _Copy:
    def __init__(self, source: Project, target: Project, progress: Progress) -> None:
        self._source = source
        self._target = target
        self._progress = progress
        self._done = Copied()
        self._from = _uri_prefix(source)
        self._to = _uri_prefix(target)
        self._sources: dict[str, bool] = {}

    def run(self) -> Copied:
        self._objects()
        self._records()
        self._runs()
        return self._done

    # Objects -----------------------------------------------------------------------------------

    def _objects(self) -> None:
        found = (info for prefix in _OBJECT_PREFIXES for info in self._source.objects.list(prefix))
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for count, copied in enumerate(pool.map(self._object, found), 1):
                if copied is None:
                    self._done.damaged += 1
                elif copied:
                    self._done.objects += 1
                    self._done.object_bytes += copied
                else:
                    self._done.skipped += 1
                self._progress("objects", count)

    def _object(self, info: ObjectInfo) -> int | None:
        """Copy one object; return its bytes, 0 if it existed, ``None`` if it is damaged."""
        there = self._target.objects.stat(info.key)
        if there is not None and there.size == info.size:
            return 0
        data = self._source.objects.get(info.key)
        if data is None:
            return 0  # removed meanwhile
        if not _intact(info.key, data):
            degrade("damaged results", f"{info.key} does not match its digest; it is not copied", key=info.key)
            return None
        if info.key.startswith(names.CACHE_PREFIX):
            self._target.objects.create(info.key, [data], read_only=True)
        else:
            self._target.objects.put(info.key, [data])
        return max(1, len(data))

    # Records -----------------------------------------------------------------------------------

    def _records(self) -> None:
        count = 0
        for prefix in (names.PROCESS_RECORD_PREFIX, names.STEP_RECORD_PREFIX):
            for page in _pages(tolerant_reads.scan(self._source.kv, prefix)):
                there = tolerant_reads.get_many(self._target.kv, list(page))
                new: dict[str, JSON] = {}
                for key, value in page.items():
                    # A record without a valid signature must not get one from us.
                    record = self._record(key, value) if self._source.signatures.valid(key, value) else None
                    if record is None or self._is_there(key, there.get(key), record):
                        self._done.skipped += 1
                    else:
                        new[key] = self._target.signatures.signed(key, record.dump())
                if new:
                    self._target.kv.put_many(new)
                self._done.records += len(new)
                count += len(page)
                self._progress("cache records", count)

    def _is_there(self, key: str, value: JSON | None, record: CacheRecord) -> bool:
        """Whether the target has the result in a usable record; a record of a newer release stays."""
        same = isinstance(value, dict) and value.get("digest") == record.digest
        return is_newer(value) or (same and self._target.signatures.valid(key, value))

    def _record(self, key: str, value: JSON) -> CacheRecord | None:
        """A record for the target; ``None`` for a foreign one, or one whose objects are missing."""
        try:
            record = CacheRecord.load(value)
        except (FormatError, TypeError):
            return None
        if not record.names_results_only:
            return None
        objects = self._target.objects
        held = record.held()
        if held is not None and blake3(held).hexdigest() == record.digest:
            # In the source its file may not be written yet.
            manifest: ObjectInfo | None = ensure_stored(objects, record.object_key, held)
        else:
            manifest = protect(objects, record.object_key) if record.object_key else None
        if manifest is None:
            return None
        payloads = []
        for payload in record.payloads:
            info = protect(objects, payload.key)
            if info is None or info.size != payload.size:
                return None
            payloads.append(replace(payload, stamp=info.stamp))
        if not self._has_files(record):
            return None
        sources = names.sources_key(key.rpartition(":")[2])
        if record.sources_size and sources not in self._sources:
            # If it is missing, only comparisons suffer.
            self._sources[sources] = protect(objects, sources) is not None
        return replace(
            record,
            cache_path=objects.uri(record.object_key),
            stamp=manifest.stamp,
            payloads=tuple(payloads),
            sources_size=record.sources_size if self._sources.get(sources) else 0,
        )

    def _has_files(self, record: CacheRecord) -> bool:
        """Whether the target has the contents of a result's files; they are protected for its record."""
        try:
            files = list(file_lists.contents(file_lists.of_record(record, self._target.objects.get)))
        except (FormatError, IntegrityError):
            return False
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(lambda entry: protect(self._target.objects, entry.key), files)
            return all(info is not None and info.size == entry.size for info, entry in zip(found, files, strict=True))

    # Runs --------------------------------------------------------------------------------------

    def _runs(self) -> None:
        for count, run in enumerate(run_records.read_runs(self._source.kv), 1):
            there = run_records.read_run(self._target.kv, run.run_id)
            if there == run and run.status in process_rows.TERMINAL:
                self._done.skipped += 1
            else:
                self._run(run)
                self._done.runs += 1
            self._progress("runs", count)

    def _run(self, run: run_records.RunRecord) -> None:
        kv, target = self._source.kv, self._target.kv
        for prefix in names.run_prefixes(run.run_id):
            for page in _pages(tolerant_reads.scan(kv, prefix)):
                target.put_many({key: self._with_target_uris(value) for key, value in page.items()})
        target.put(names.flow_run_key(run.flow_run_id), {"run_id": run.run_id})
        value = kv.get(names.run_record_key(run.run_id))
        if value is not None:
            target.put(names.run_record_key(run.run_id), value)

    def _with_target_uris(self, value: Any) -> Any:
        """The value with the object URIs of the target."""
        if isinstance(value, list):
            return [self._with_target_uris(item) for item in value]
        if not isinstance(value, dict):
            return value
        changed = {key: self._with_target_uris(item) for key, item in value.items()}
        for name in _URI_FIELDS & changed.keys():
            uri = changed[name]
            if isinstance(uri, str) and uri.startswith(self._from):
                changed[name] = self._to + uri[len(self._from) :]
        return changed


def _uri_prefix(project: Project) -> str:
    return project.objects.uri("x")[:-1]


def _pages(items: Iterator[tuple[str, JSON]]) -> Iterator[dict[str, JSON]]:
    page: dict[str, JSON] = {}
    for key, value in items:
        page[key] = value
        if len(page) >= _PAGE:
            yield page
            page = {}
    if page:
        yield page


def _intact(key: str, data: Buffer) -> bool:
    """Whether a content-addressed object matches its name; charts are not content-addressed."""
    if not key.startswith(names.CACHE_PREFIX):
        return True
    if key.startswith(names.SOURCES_PREFIX):
        return load_sources(bytes(data), PurePosixPath(key).name.partition(".")[0]) is not None
    return blake3(data).hexdigest() == PurePosixPath(key).name.partition(".")[0]
