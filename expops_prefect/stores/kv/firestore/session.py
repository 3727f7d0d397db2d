"""The state of a Firestore store in one process: the connection, and a memory that saves reads."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.encoding import dump, load
from expops_prefect.stores.kv.firestore.client import Conflict, Connection, Deadline, Found
from expops_prefect.stores.kv.firestore.layout import STAMP_FIELD, DocumentPath, place
from expops_prefect.stores.kv.firestore.series import SeriesDocuments
from expops_prefect.stores.kv.firestore.target import Target
from expops_prefect.stores.kv.firestore.values import Fields, look_up, pack, replaced
from expops_prefect.stores.kv.firestore.writes import ABSENT, Writes, version_of

_MOST_REMEMBERED: Final = 1024
_LARGEST_REMEMBERED: Final = 64_000
_LOCKS: Final = 64

_STAMP: Final = (STAMP_FIELD,)

_T = TypeVar("_T")


class Session:
    """The connection and memory of one process; safe to use from many threads.

    Args:
        target: the database.
        timeout: seconds for one call.
        calls: see :class:`Connection`.
    """

    def __init__(self, target: Target, timeout: float, calls: Counter[str]) -> None:
        self.connection = Connection(target, calls)
        self.writes = Writes(target)
        self.series = SeriesDocuments(self.connection, timeout)
        self._lock = threading.Lock()
        self._written: OrderedDict[str, tuple[str, str]] = OrderedDict()
        self._counters: OrderedDict[str, None] = OrderedDict()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def transact(
        self,
        documents: Sequence[str],
        plan: Callable[[Mapping[str, Found]], tuple[_T, Sequence[Any]]],
        deadline: Deadline,
        *,
        what: str,
    ) -> _T:
        """Read documents and write what follows from them; repeat until no other writer was faster.

        Args:
            documents: their paths.
            plan: gets the documents that exist; returns the result and the writes, with their preconditions.
            deadline: for all attempts.
            what: named in the error if other writers are always faster.
        """
        while True:
            result, writes = plan(self.connection.get_many(documents, deadline))
            if not writes:
                return result
            try:
                self.connection.commit(writes, deadline, again=False)
                return result
            except Conflict:
                deadline.wait_after_conflict(what)

    @contextmanager
    def alone(self, document: str, deadline: Deadline) -> Iterator[None]:
        """Keep other threads from changing a document, at most until the deadline.

        Other processes, and after that time other threads, can still change it. The preconditions of
        the writes make a change safe; this lock only saves attempts.
        """
        lock = self._locks[hash(document) % _LOCKS]
        acquired = lock.acquire(timeout=deadline.left())
        try:
            yield
        finally:
            if acquired:
                lock.release()

    # Many keys at once ---------------------------------------------------------------------------

    def put_all(self, values: Mapping[str, JSON], deadline: Deadline) -> None:
        """Write values in one commit; the keys of one document become one write."""
        whole: list[tuple[str, Fields]] = []
        fields: dict[str, dict[tuple[str, ...], JSON]] = {}
        series: dict[str, DocumentPath] = {}
        for key, value in values.items():
            where = place(key)
            self.forget(where)
            if where.kind == "series":
                series[key] = where
            elif where.kind == "field":
                fields.setdefault(where.document, {_STAMP: time.time()})[where.field] = value
            else:
                whole.append((where.document, pack(where, key, value)))
        writes = [self.writes.set(document, content) for document, content in whole]
        writes += [self.writes.merge(document, content) for document, content in fields.items()]
        while values:
            counts = self.connection.get_many([where.part_count for where in series.values()], deadline)
            more: list[Any] = []
            for key, where in series.items():
                more += self.series.put(where, key, values[key], counts.get(where.part_count), None)
            try:
                results = self.connection.commit([*writes, *more], deadline, again=True)
            except Conflict:
                deadline.wait_after_conflict("metrics")
            else:
                for (document, content), result in zip(whole, results, strict=False):
                    self.remember(document, content, version_of(result))
                return

    def delete_all(self, keys: Iterable[str], deadline: Deadline) -> int:
        """Remove keys in one commit; return how many existed."""
        places = [place(key) for key in keys]
        for where in places:
            self.forget(where)

        def plan(found: Mapping[str, Found]) -> tuple[int, Sequence[Any]]:
            writes: list[Any] = []
            count = 0
            removed: dict[str, list[tuple[str, ...]]] = {}
            for where in places:
                document = found.get(where.document)
                if document is None or (where.kind == "field" and look_up(document.fields, where.field) is None):
                    continue
                count += 1
                if where.kind == "field":
                    removed.setdefault(where.document, []).append(where.field)
                elif where.kind == "series":
                    writes += self.series.delete(where, found.get(where.part_count), document.version)
                else:
                    writes.append(self.writes.delete(where.document, document.version))
            writes += [self._removal(name, fields, found[name]) for name, fields in removed.items()]
            return count, writes

        documents = [name for where in places for name in where.documents]
        return self.transact(documents, plan, deadline, what=f"{len(places)} keys")

    def field_write(self, where: DocumentPath, value: JSON, found: Found | None) -> Any:
        """The write that sets a field if the document is unchanged, or still absent."""
        values = {where.field: value, _STAMP: time.time()}
        return self.writes.merge(where.document, values, ABSENT if found is None else found.version)

    def _removal(self, document: str, removed: Sequence[tuple[str, ...]], found: Found) -> Any:
        """Remove fields of a document, and the document itself if nothing else remains."""
        fields = found.fields
        for path in removed:
            fields = replaced(fields, path, None)
        if not any(fields[name] not in (None, {}) for name in fields if name != STAMP_FIELD):
            return self.writes.delete(document, found.version)
        return self.writes.merge(document, {_STAMP: time.time()}, found.version, removed=removed)

    # What was written last -----------------------------------------------------------------------

    def written(self, document: str) -> Found | None:
        """A document as this store last wrote it; others may have changed it since."""
        with self._lock:
            held = self._written.get(document)
        return None if held is None else Found(load(document, held[1]), held[0])

    def remember(self, document: str, fields: Fields, version: str) -> None:
        """Remember a written document, unless it is large."""
        text = dump(fields)
        with self._lock:
            self._written.pop(document, None)
            if len(text) <= _LARGEST_REMEMBERED:
                self._written[document] = (version, text)
            if len(self._written) > _MOST_REMEMBERED:
                self._written.popitem(last=False)

    def forget(self, where: DocumentPath) -> None:
        """Forget a document that is being changed in another way."""
        with self._lock:
            self._written.pop(where.document, None)
            self._counters.pop(_counter(where), None)

    def is_counter(self, where: DocumentPath) -> bool:
        """Whether this store has seen a number under a key, and has written nothing else to it since."""
        with self._lock:
            return _counter(where) in self._counters

    def remember_counter(self, where: DocumentPath) -> None:
        """Record that a key holds a number."""
        with self._lock:
            self._written.pop(where.document, None)
            self._counters[_counter(where)] = None
            if len(self._counters) > _MOST_REMEMBERED:
                self._counters.popitem(last=False)


def _counter(where: DocumentPath) -> str:
    return "/".join((where.document, *where.field))
