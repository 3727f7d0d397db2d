"""Changes to a run's records, which can be queued, merged, and delivered twice without harm."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import orjson

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import of_process
from expops_prefect.errors import KVError, KVRefusedError, ObjectStoreError, ObjectStoreRefusedError
from expops_prefect.models.record_format import later
from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.stores.objects.gc_protection import ensure_stored
from expops_prefect.stores.outbox.numbering import LoggedPoint

APPLIED: Final = "applied"
"""Field of a changed value: how far each journal's changes have been applied."""
_MOST_PUTS: Final = 400


@dataclass(frozen=True, slots=True)
class Put:
    """Write a value, replacing any other."""

    key: str
    value: JSON


@dataclass(frozen=True, slots=True)
class Publish:
    """Write a cache record, unless a later computation has replaced it."""

    key: str
    value: JSON


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a key."""

    key: str


@dataclass(frozen=True, slots=True)
class Change:
    """Replace a value by the result of a registered function of it and of ``arguments``."""

    key: str
    name: str
    arguments: Mapping[str, JSON]


@dataclass(frozen=True, slots=True)
class Append:
    """Add points to the series under a metrics key."""

    key: str
    points: Sequence[LoggedPoint]


@dataclass(frozen=True, slots=True)
class Increment:
    """Add to a counter."""

    key: str
    amount: int = 1


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy the value of ``source`` to ``target``; do nothing if there is none."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class StoreObject:
    """Store a small object whose bytes are in a file beside the journal."""

    object_key: str
    blob: str


@dataclass(frozen=True, slots=True)
class KeepObject:
    """Make sure that a small object exists; a record that refers to it holds its bytes too."""

    object_key: str
    data: bytes


AnyChange: TypeAlias = Put | Publish | Delete | Change | Append | Increment | Copy | StoreObject | KeepObject
ChangeFunction: TypeAlias = Callable[[JSON | None, Mapping[str, JSON]], dict[str, JSON]]


class _ChangeFunctions(dict[str, ChangeFunction]):
    """The functions that queued changes refer to by name."""


def register_change(name: str, function: ChangeFunction) -> None:
    """Name a pure function for :class:`Change`; another process than the one that queued it may apply it.

    Args:
        name: the name in queued changes; keep it for as long as a queue may hold it.
        function: takes the current value (``None`` if there is none) and the arguments, returns the new value.
    """
    of_process(_ChangeFunctions)[name] = function


def dump(change: AnyChange) -> bytes:
    """One line of the journal."""
    match change:
        case Put(key, value):
            fields: list[Any] = ["put", key, value]
        case Publish(key, value):
            fields = ["publish", key, value]
        case Delete(key):
            fields = ["delete", key]
        case Change(key, name, arguments):
            fields = ["change", key, name, dict(arguments)]
        case Append(key, points):
            fields = ["append", key, [[point.name, point.value, point.step] for point in points]]
        case Increment(key, amount):
            fields = ["increment", key, amount]
        case Copy(source, target):
            fields = ["copy", source, target]
        case StoreObject(object_key, blob):
            fields = ["object", object_key, blob]
        case KeepObject(object_key, data):
            fields = ["keep", object_key, base64.b64encode(data).decode()]
    return orjson.dumps(fields) + b"\n"


def load(line: bytes) -> AnyChange:
    """Read a line of the journal back.

    Raises:
        ValueError: it is not such a line.
    """
    kind, *fields = orjson.loads(line)
    if kind == "append":
        key, points = fields
        return Append(key, [LoggedPoint(*point) for point in points])
    if kind == "keep":
        object_key, data = fields
        return KeepObject(object_key, base64.b64decode(data))
    kinds: dict[str, Callable[..., AnyChange]] = {
        "put": Put,
        "publish": Publish,
        "delete": Delete,
        "change": Change,
        "increment": Increment,
        "copy": Copy,
        "object": StoreObject,
    }
    if kind not in kinds:
        raise ValueError(f"unknown change {kind!r}")
    return kinds[kind](*fields)


class Blobs(Protocol):
    """A source for the bytes of :class:`StoreObject`."""

    def blob(self, name: str) -> bytes | None:
        """The bytes, or ``None`` if they are gone."""


@dataclass
class Batch:
    """Consecutive changes, merged by key: of several values for one key only the last is written.

    Attributes:
        journal: the id of the journal that they come from.
        end: their end in the journal.
        logged: points by metrics key, as they were queued.
        points: points by metrics key with their steps, which are assigned before delivery.
    """

    journal: str
    end: int
    puts: dict[str, JSON] = field(default_factory=dict)
    records: dict[str, JSON] = field(default_factory=dict)
    deletes: dict[str, None] = field(default_factory=dict)
    changes: dict[str, list[Change]] = field(default_factory=dict)
    logged: dict[str, list[LoggedPoint]] = field(default_factory=dict)
    points: dict[str, list[MetricPoint]] = field(default_factory=dict)
    increments: Counter[str] = field(default_factory=Counter)
    copies: dict[str, str] = field(default_factory=dict)
    objects: dict[str, str] = field(default_factory=dict)
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A name for this batch that stays the same when it is delivered again."""
        return f"{self.journal}:{self.end}"

    def add(self, changes: Iterable[AnyChange]) -> Batch:
        """Add changes, in their order."""
        for change in changes:
            match change:
                case Put(key, value):
                    self.puts[key] = value
                    self.deletes.pop(key, None)
                case Publish(key, value):
                    self.records[key] = later(self.records.get(key), value)
                case Delete(key):
                    self.deletes[key] = None
                    self.puts.pop(key, None)
                case Change(key):
                    self.changes.setdefault(key, []).append(change)
                case Append(key, points):
                    self.logged.setdefault(key, []).extend(points)
                case Increment(key, amount):
                    self.increments[key] += amount
                case Copy(source, target):
                    self.copies[target] = source
                case StoreObject(object_key, blob):
                    self.objects[object_key] = blob
                case KeepObject(object_key, data):
                    self.kept[object_key] = data
        return self

    def deliver(self, kv: KVStore, objects: ObjectStore, blobs: Blobs, executor: Executor | None = None) -> None:
        """Write everything; delivering the same batch again changes nothing.

        Objects are written before the records that name them, and the end of a run is written last.

        Args:
            kv: the store for records.
            objects: the store for objects.
            blobs: the source of the objects' bytes.
            executor: writes keys in parallel, for remote stores; keys are independent of each other.

        Raises:
            BackendError: a store failed; deliver the batch again later.
        """
        for object_key, blob in self.objects.items():
            self._store(objects, blobs, object_key, blob)
        for object_key, data in self.kept.items():
            self._keep(objects, object_key, data)
        work = [_bind(kv.append_metrics, key, self.points[key]) for key in self.logged]
        for key, value in self.records.items():
            work.append(_bind(kv.update, key, partial(later, value=value)))
        for target, source in self.copies.items():
            work.append(_bind(self._copy, kv, source, target))
        for key, changes in self.changes.items():
            work.append(_bind(self._change, kv, key, changes))
        for key, amount in self.increments.items():
            work.append(_bind(kv.increment, key, amount, token=f"{self.id}:{key}"))
        if executor is None or len(work) < 2:
            for item in work:
                item()
        else:
            for future in [executor.submit(item) for item in work]:
                future.result()
        pairs = list(self.puts.items())
        for start in range(0, len(pairs), _MOST_PUTS):
            _bind(kv.put_many, dict(pairs[start : start + _MOST_PUTS]))()
        for key in self.deletes:
            # One by one, because delete needs no read first, and there are few.
            kv.delete(key)

    def _change(self, kv: KVStore, key: str, changes: list[Change]) -> None:
        def apply(value: JSON | None) -> JSON:
            applied = dict((value or {}).get(APPLIED) or {})
            if applied.get(self.journal, -1) >= self.end:
                return value
            changed: dict[str, JSON] = value or {}
            for change in changes:
                changed = _apply(change, changed or None)
            return {**changed, APPLIED: {**applied, self.journal: self.end}}

        kv.update(key, apply)

    def _copy(self, kv: KVStore, source: str, target: str) -> None:
        value = kv.get(source)
        if value is not None:
            kv.put(target, value)

    def _store(self, objects: ObjectStore, blobs: Blobs, object_key: str, blob: str) -> None:
        data = blobs.blob(blob)
        if data is None:
            degrade("charts not stored", f"the bytes of {object_key} are gone", key=object_key)
        else:
            try:
                objects.put(object_key, [data])
            except ObjectStoreRefusedError as error:
                # Retrying would not help, and would hold up everything behind it.
                degrade("charts not stored", str(error))

    def _keep(self, objects: ObjectStore, object_key: str, data: bytes) -> None:
        try:
            ensure_stored(objects, object_key, data, flush=False)
        except ObjectStoreError as error:
            # Hits do not need it, so nothing has to wait for it.
            degrade("files of small results not written", f"{error}; write them with: cache verify --repair")


def _apply(change: Change, value: JSON | None) -> dict[str, JSON]:
    function = of_process(_ChangeFunctions).get(change.name)
    if function is None:
        raise KVError(
            f"{change.key}: {change.name!r} is not supported; a newer release wrote it: upgrade to deliver it"
        )
    try:
        return function(value, change.arguments)
    except Exception as error:
        # The value was written by another program.
        raise KVRefusedError(f"{change.key}: cannot apply {change.name!r}: {error!r}") from error


def _bind(function: Callable[..., object], *arguments: Any, **named: Any) -> Callable[[], object]:
    def call() -> object:
        try:
            return function(*arguments, **named)
        except KVRefusedError as error:
            # Retrying would not help, and would hold up everything behind it.
            degrade("records refused", str(error), key=str(arguments[:1]))
            return None

    return call
