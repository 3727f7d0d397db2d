"""Typed rows: runs, process and step rows, cache records. Reading and writing them, and nothing else.

What ExpOps' clients read keeps their field names; fields of our own stand beside them.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import PurePath
from types import UnionType
from typing import Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import orjson

from expops_prefect._internal.redaction import masked, masked_message
from expops_prefect.errors import FormatError, KVDamagedError, NameRefusedError
from expops_prefect.models import names
from expops_prefect.models.record_format import RECORD_FORMAT
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, NOT_FINITE, KVStore

PLAIN_FORMAT: Final = 1
"""The version of records that earlier releases may use, too."""

Status = Literal["pending", "running", "completed", "cached", "failed"]
TERMINAL: Final = frozenset({"completed", "cached", "failed"})
STATUSES: Final = TERMINAL | {"pending", "running"}
FIRST: Final = "first"
"""Field of a row that sums calls up: the first call, which has no row of its own; empty while it is the only one."""
OF_ONE_CALL: Final = frozenset({"cache_key", "miss", "miss_reason", "not_kept", "parts"})
"""Fields that say nothing of several calls together: in a sum they are the first call's."""
BY_PREFECT: Final = "Prefect's own cache"
"""What a row's ``cached_by`` says of a result that is none of ours."""
_TIMES: Final = (
    *("started_at", "ended_at", "execution_time"),
    *("cached_started_at", "cached_ended_at", "cached_execution_time", "waited_seconds"),
)
_MESSAGES: Final = ("miss_reason", "not_kept")
_TEXTS: Final = (
    "status",
    "label",
    "cached_run_id",
    "cache_path",
    "cache_key",
    "task_run_id",
    "not_kept",
    "parts",
    "failure",
    "log",
)
_ROW_KINDS: Final[dict[str, Any]] = {
    **dict.fromkeys(_TIMES, (int, float)),
    **dict.fromkeys(_TEXTS, str),
    "calls": dict,
    FIRST: dict,
    "upstream": list,
}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredPayload:
    """One payload of a result: object key, digest and size in bytes, and the stamp it was last verified with."""

    key: str
    digest: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where a computation left metrics or charts: a path relative to its own (``""`` is its own)."""

    path: str
    metrics: bool
    charts: bool


OWN_SERIALIZER: Final = "expops"
"""The type of serializer that Prefect's metadata name for a manifest."""
COMPLETED: Final = "completed"
"""A result that is a hit."""
KEPT: Final = "kept"
"""A result that is no hit, such as ``None``: it is there for whoever holds a reference to it."""


@dataclass(frozen=True, slots=True)
class CacheRecord:
    """One cached result, as it stands in the KV store under ``process:<P>:<inputs>:<config>:<function>``.

    ``status`` (``completed`` or ``kept``) and ``cache_path`` are what ExpOps' own readers need. Times are
    epoch seconds.
    """

    status: str
    cache_path: str
    run_id: str
    path: str
    """The probe path under which it was computed."""
    started_at: float
    ended_at: float
    execution_time: float
    object_key: str
    digest: str
    size: int
    """Bytes of manifest and payloads together."""
    stamp: str
    kind: Literal["packed", "raw"]
    """``packed``: a manifest of ours; ``raw``: bytes of another serializer."""
    payloads: tuple[StoredPayload, ...] = ()
    outputs: tuple[Output, ...] = ()
    prefect_metadata: str | None = None
    """Prefect's own metadata of the result, JSON."""
    expires_at: float | None = None
    host: str = ""
    task_run_id: str | None = None
    no_hit: str = ""
    """Why a result that is kept is no hit: ``none``, ``state`` or ``failed``."""
    parts: str | None = None
    """What its inputs and configuration were made of, JSON; for comparisons with other keys."""
    sources_size: int = 0
    """Bytes of the object that says the same of its code; 0 for none."""
    inline: str | None = None
    """A small manifest itself, base64. It counts by ``digest`` as the object does, which then may come later."""
    files: bool = False
    """Whether the result names files that were there when it was stored: without them it is no hit."""
    below_root: str = ""
    """Where the project lay, as a digest, if the result names paths below it: in another checkout it is no hit."""
    stands: str = ""
    """The forms of the result as it was returned and as it is loaded, where these differ; see
    :mod:`expops_prefect.fingerprint.standing`."""
    watched: bool = False
    """Whether its body was watched while it ran, so that everything that it read is among the dependencies."""
    proven: bool = False
    """Whether its code was resolved completely and nothing was seen: an equal call of the same run may have it."""
    computed_in: str = ""
    """The run, and the attempt at it, that computed it."""
    dependencies: str = ""
    """What it was read from, JSON; see :mod:`expops_prefect.effects.dependencies`. Format 2 if there are any."""
    effects: str = ""
    """What its body did beside computing, JSON, where the user had it cached all the same."""
    generators: str = ""
    """The states in which its body left the global generators that it seeded, JSON; a hit leaves them so, too."""
    format: int = PLAIN_FORMAT

    def held(self) -> bytes | None:
        """The manifest, as far as it stands in the record itself; whoever uses it compares its digest."""
        try:
            return None if self.inline is None else base64.b64decode(self.inline)
        except (TypeError, ValueError):
            return b""  # of no digest

    @property
    def is_whole(self) -> bool:
        """Whether the result stands in the record with all its parts."""
        return self.inline is not None and not self.payloads

    @property
    def names_results_only(self) -> bool:
        """Whether its objects are manifests and payloads of their digests: only such are written or deleted for it."""
        named = [(item.key, item.digest) for item in self.payloads]
        if self.object_key:
            named.append((self.object_key, self.digest))
        return all(names.content_digest(key) == digest for key, digest in named)

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        # Every task run that is stored takes this way, and asdict copies each value deeply.
        value: dict[str, JSON] = {name: getattr(self, name) for name in self.__slots__}
        value["payloads"] = [asdict(payload) for payload in self.payloads]
        value["outputs"] = [asdict(output) for output in self.outputs]
        return value

    @classmethod
    def load(cls, value: JSON) -> CacheRecord:
        """Read the JSON form back.

        Raises:
            FormatError: not a record of ours, or one of a newer release.
        """
        values = _known(cls, value, "cache record")
        try:
            values["payloads"] = tuple(StoredPayload(**item) for item in values.get("payloads", ()))
            values["outputs"] = tuple(Output(**item) for item in values.get("outputs", ()))
        except TypeError as error:
            raise FormatError(f"a damaged cache record: {error}") from error
        return _make(cls, values, "cache record")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Our own record of a run, beside the keys that ExpOps reads. Times are epoch seconds."""

    run_id: str
    project_id: str
    flow: str
    flow_run_id: str
    flow_run_name: str
    started_at: float
    ended_at: float | None = None
    status: Status = "running"
    attempt: int = 1
    host: str = ""
    pid: int = 0
    degraded: dict[str, int] = field(default_factory=dict)
    """What went wrong beside the flow, and how often."""
    degraded_since: dict[str, float] = field(default_factory=dict)
    """When each kind of it happened first."""
    died: bool = False
    """Its process ended without a word; ``ended_at`` is the last that is known of it."""
    parameters: dict[str, str] = field(default_factory=dict)
    """The flow's parameters as short texts; what may be a secret is left out."""
    failure: str = ""
    """Why it failed: the exception's type and message without secrets, or what Prefect says."""
    failed_path: str = ""
    """The probe path of the call that failed first; empty if none did."""
    failed_log: str = ""
    """What Prefect keeps its log under: ``task-run/<id>`` or ``flow-run/<id>``."""
    failed_because: str = ""
    """Why that call failed."""
    format: int = PLAIN_FORMAT

    @property
    def log(self) -> str:
        """The command that shows the log of what failed first, else of the whole run."""
        kind, _, run_uuid = (self.failed_log or f"flow-run/{self.flow_run_id}").partition("/")
        return f"prefect {kind} logs {run_uuid}"

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def load(cls, value: JSON) -> RunRecord:
        """Read the JSON form back.

        Raises:
            FormatError: not a record of ours, or one of a newer release.
        """
        known = _known(cls, value, "run record")
        if isinstance(known.get("parameters"), dict):
            known["parameters"] = masked(known["parameters"])  # older releases kept them as they were
        made = _make(cls, known, "run record")
        numbers = [*made.degraded.values(), *made.degraded_since.values()]
        if not all(isinstance(number, int | float) for number in numbers):
            raise FormatError("a damaged run record: what was degraded is not counted")
        return made


@dataclass(frozen=True, slots=True)
class Row:
    """A process, one of its calls, or a step, as ExpOps' clients read it, with our fields beside."""

    path: str
    status: Status
    started_at: float | None
    ended_at: float | None
    execution_time: float | None
    cached_run_id: str | None
    cached_execution_time: float | None
    cache_path: str | None
    label: str
    calls: Mapping[str, int]
    upstream: tuple[str, ...]
    fields: Mapping[str, JSON]
    """The whole row."""

    @classmethod
    def load(cls, path: str, value: JSON) -> Row:
        """Take out of a stored row what readers use; what is of another kind than it should be counts as absent.

        Others write rows too: ExpOps itself, and whoever may write to the store.
        """
        row = dict(value) if isinstance(value, dict) else {}
        for name, kinds in _ROW_KINDS.items():
            if name in row and (not isinstance(row[name], kinds) or isinstance(row[name], bool)):
                row[name] = None
        if row.get("status") not in STATUSES:
            row["status"] = "pending"
        for name in _MESSAGES:
            if row.get(name):
                row[name] = masked_message(str(row[name]))  # older releases wrote them as they were
        calls, upstream = row.get("calls") or {}, row.get("upstream") or ()
        return cls(
            path=path,
            status=row["status"],
            started_at=row.get("started_at"),
            ended_at=row.get("ended_at"),
            execution_time=row.get("execution_time"),
            cached_run_id=row.get("cached_run_id"),
            cached_execution_time=row.get("cached_execution_time"),
            cache_path=row.get("cache_path"),
            label=row.get("label") or path,
            calls={status: count for status, count in calls.items() if type(count) is int},
            upstream=tuple(name for name in upstream if isinstance(name, str)),
            fields=row,
        )

    @property
    def saved(self) -> float | None:
        """Seconds that a hit took less than computing; ``None`` for what is no hit of one call."""
        if self.status != "cached" or sum(self.calls.values()) > 1:
            return None
        took = self.execution_time
        if took is None and self.started_at is not None and self.ended_at is not None:
            took = self.ended_at - self.started_at
        return saved_seconds(self.cached_execution_time, took)

    @property
    def failure(self) -> str:
        """Why it failed, or the first of its calls that did; empty if that is not known."""
        return str(self.fields.get("failure") or "")

    @property
    def first(self) -> Row | None:
        """Of a row that sums several calls up the first one, if there is no row of its own and it is known.

        Its path has the number 1.
        """
        said = self.fields.get(FIRST)
        if not said or sum(self.calls.values()) <= 1:
            return None
        shared = {name: self.fields[name] for name in ("label", *OF_ONE_CALL) if name in self.fields}
        return Row.load(names.first_call_path(self.path), {**shared, **said})


def saved_seconds(computing: float | None, hit: float | None) -> float | None:
    """What a hit saved: the seconds of computing less its own, never below zero; ``None`` if they are not known."""
    return None if computing is None else max(0.0, computing - (hit or 0.0))


def single_calls(rows: Iterable[Row]) -> Iterator[Row]:
    """Each call once: the rows that are of one call, and first calls out of the rows that sum several up."""
    for row in rows:
        if sum(row.calls.values()) <= 1:
            yield row
        elif (first := row.first) is not None:
            yield first


def labels_of(called: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What users call the processes and steps of a run, by their names; by its path where another has that name.

    Names are kept apart below one call. Below two, perhaps in two processes, each may have the same name.
    A task that was given another process's name is shown by that.

    Args:
        called: probe paths with their labels.
    """
    found: dict[str, str] = {}
    for path, label in called:
        parsed = names.parse_path(path)
        name = None if parsed is None else parsed.step or parsed.process
        if name is None or label == path or not names.is_named_by(name, label):
            continue
        if found.setdefault(name, label) != label:
            found[path] = label
    return found


def row_labels(rows: Iterable[Row]) -> dict[str, str]:
    """:func:`labels_of` of rows."""
    return labels_of((row.path, row.label) for row in rows)


def with_first_failed(record: RunRecord, rows: Iterable[Row]) -> RunRecord:
    """The record of a run that has failed, with the call that failed first.

    Args:
        record: what is known of the run.
        rows: its rows, of all processes.
    """
    record = replace(record, failed_path="", failed_log="", failed_because="")
    failed = [row for row in single_calls(rows) if row.status == "failed"]
    if not failed:
        return record
    # A step ends before the process that it fails.
    first = min(failed, key=lambda row: (row.ended_at or math.inf, row.path.count("/step[") == 0, row.path))
    log = str(first.fields.get("log") or "")
    return replace(record, failed_path=first.path, failed_log=log, failed_because=first.failure)


# Readers ---------------------------------------------------------------------------------------


def read_run(kv: KVStore, run: str) -> RunRecord | None:
    """The record of a run, with the status that ExpOps' clients see.

    Raises:
        FormatError: not a record of ours, or one of a newer release.
    """
    try:
        value = kv.get(names.run_record_key(run))
    except KVDamagedError as error:
        raise FormatError(str(error)) from error
    return None if value is None else RunRecord.load(value)


def read_runs(kv: KVStore, *, head: str = "") -> Iterator[RunRecord]:
    """The project's runs by run id, oldest first; records of newer releases are left out.

    Args:
        kv: the KV store.
        head: only those whose ids begin with this.
    """
    return (run for _, run in scan_runs(kv, head=head) if run is not None)


def scan_runs(
    kv: KVStore, *, head: str = "", after: str | None = None, limit: int | None = None
) -> Iterator[tuple[str, RunRecord | None]]:
    """Run ids with their records, oldest first; ``None`` for a record of a newer release or a damaged one.

    Args:
        kv: the KV store.
        head: what the ids begin with.
        after: only ids greater than this one.
        limit: how many at most.
    """
    start = None if after is None else names.run_record_key(after)
    for key, value in tolerant_reads.scan(kv, names.run_record_key(head), after=start, limit=limit):
        try:
            run = RunRecord.load(value)
        except FormatError:
            run = None
        yield key.removeprefix(names.RUN_RECORD_PREFIX), run


def read_rows(kv: KVStore, run: str) -> list[Row]:
    """All rows of a run: processes, calls and steps."""
    prefix, suffix = names.run_rows_prefix(run), f":{names.PROCESS_STEP}"
    found = ((key, value) for key, value in tolerant_reads.scan(kv, prefix) if key.endswith(suffix))
    return [Row.load(key[len(prefix) : -len(suffix)], value) for key, value in found]


def read_metrics(kv: KVStore, run: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Metrics of a run: probe path, then metric, then step number as text, then value; what is none is left out."""
    prefix = names.metrics_prefix(run)
    found = {}
    for key, value in tolerant_reads.scan(kv, prefix):
        try:
            path = names.decode(key[len(prefix) :])
        except NameRefusedError:
            continue
        found[path] = metric_values(value)
    return found


def metric_values(value: JSON) -> dict[str, dict[str, Any]]:
    """The points that are some of a stored value: metric, step number as text, value. Others write to the store too."""
    known = value if isinstance(value, dict) else {}
    points = {
        name: {step: value for step, value in steps.items() if _is_step(step) and _is_metric(value)}
        for name, steps in known.items()
        if isinstance(steps, dict)
    }
    return {name: steps for name, steps in points.items() if steps}


def _is_step(text: str) -> bool:
    try:
        return -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


def _is_metric(value: JSON) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number or (isinstance(value, str) and value in NOT_FINITE)


def read_charts(kv: KVStore, run: str) -> dict[str, list[Mapping[str, JSON]]]:
    """Charts of a run by probe path; what is none is left out."""
    prefix = names.charts_key(run, "")
    found: dict[str, list[Mapping[str, JSON]]] = {}
    for key, value in tolerant_reads.scan(kv, prefix):
        items = value.get("items") if isinstance(value, dict) else None
        known = items if isinstance(items, list) else []
        found[key[len(prefix) :]] = [item for item in known if isinstance(item, dict)]
    return found


def read_cache_records(
    kv: KVStore, *, beginning: str = "", after: str | None = None, limit: int | None = None
) -> Iterator[tuple[names.CacheKey, CacheRecord]]:
    """Cache records by KV key; foreign and newer ones are left out.

    Args:
        kv: the project's store.
        beginning: only those whose task's name starts with this; others are not read.
        after: only those whose ``record_key`` is greater.
        limit: look at most at so many keys.
    """
    for key, value in tolerant_reads.scan(kv, names.process_record_prefix(beginning), after=after, limit=limit):
        parsed = parse_record_key(key)
        if parsed is None:
            continue
        try:
            yield parsed, CacheRecord.load(value)
        except FormatError:
            continue


def parse_record_key(key: str) -> names.CacheKey | None:
    """The cache key of a ``process:`` KV key; ``None`` for any other key."""
    body, _, function = key.rpartition(":")
    body, _, config = body.rpartition(":")
    body, _, inputs = body.rpartition(":")
    path = names.parse_path(body.removeprefix(names.PROCESS_RECORD_PREFIX))
    if path is None or path.layers or path.step is not None:
        return None
    return names.CacheKey.parse(f"{path.process}/{inputs}/{config}/{function}")


def leads_to(metadata: str, record: CacheRecord, key: str | None) -> bool:
    """Whether Prefect's metadata of a result can be followed to the result of a transaction key.

    Args:
        metadata: what a record has of Prefect's, JSON.
        record: the record.
        key: the transaction key; ``None`` if it is not known.
    """
    try:
        known = orjson.loads(metadata)
        kind, place = known["serializer"]["type"], known["storage_key"]
    except (ValueError, KeyError, TypeError):
        return False
    # A manifest is for our serializer alone; another one would be given its envelope's label.
    if not isinstance(kind, str) or not isinstance(place, str) or (record.kind == "packed" and kind != OWN_SERIALIZER):
        return False
    return key is None or is_place_of(place, key)


def is_place_of(place: str, key: str) -> bool:
    """Whether a storage key is a transaction key, or that key below the folder of a storage."""
    parts = PurePath(key).parts
    return place == key or PurePath(place).parts[-len(parts) :] == parts


def foreign_record_key(key: str) -> str:
    """The KV key for a transaction key that is not ours (another policy's, a failed task's uuid)."""
    return f"{names.FOREIGN_RECORD_PREFIX}{hashlib.blake2b(key.encode(), digest_size=32).hexdigest()}"


def expiry(record: CacheRecord, ttl: timedelta | None) -> float | None:
    """When a result expires, epoch seconds; ``None`` for never.

    Args:
        record: its record.
        ttl: how long the configuration lets results of its process live.
    """
    ends = [] if record.expires_at is None else [record.expires_at]
    if ttl is not None:
        ends.append(record.ended_at + ttl.total_seconds())
    return min(ends, default=None)


def _known(cls: type, value: JSON, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("format"), int):
        raise FormatError(f"not a {what} of expops-prefect")
    if value["format"] > RECORD_FORMAT:
        raise FormatError(f"a {what} of a newer expops-prefect (format {value['format']}); upgrade to read it")
    allowed = _kinds(cls)
    return {name: item for name, item in value.items() if name in allowed}


@cache
def _kinds(cls: type) -> dict[str, tuple[type, ...]]:
    """What the values of a record's fields may be."""
    return {name: tuple(_classes(hint)) for name, hint in get_type_hints(cls).items()}


def _classes(hint: Any) -> Iterator[type]:
    if get_origin(hint) in (Union, UnionType):
        for each in get_args(hint):
            yield from _classes(each)
    elif get_origin(hint) is Literal:
        yield str
    elif hint is float:
        yield from (float, int)
    else:
        yield get_origin(hint) or hint


def _make(cls: type[_T], values: dict[str, Any], what: str) -> _T:
    kinds_of: Any = _kinds
    kinds = kinds_of(cls)
    for name, item in values.items():
        # Each hit reads a record: most values are exactly of the first kind.
        if type(item) is not kinds[name][0] and not isinstance(item, kinds[name]):
            raise FormatError(f"a damaged {what}: its {name} is {type(item).__name__}")
    try:
        return cls(**values)
    except TypeError as error:
        raise FormatError(f"an incomplete {what}: {error}") from error
