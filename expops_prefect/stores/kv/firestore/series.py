"""Series of metric points in Firestore: numbered without gaps, merged by field, moved on when a document is full.

A store writes a series *alone* as long as it can: it knows the highest steps, numbers points itself
and commits on condition that nobody else has written, one write and no read. When somebody has, the
series becomes *shared*: a document of counters is made (in the same commit, under the same
condition, so that a store that still believes to be alone fails next), and from then on numbers are
reserved there by adding to a counter, and points are merged without a condition. A counter is never
below a step that was written.

In each commit what a document is read with is written before it, and read after it: the emulator
applies a commit document by document, and a reader may see the first of them alone.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from expops_prefect.errors import KVRefusedError
from expops_prefect.stores.kv.base import JSON, MetricPoint
from expops_prefect.stores.kv.encoding import check_series, dump, load
from expops_prefect.stores.kv.firestore.client import Conflict, Connection, Deadline, Found
from expops_prefect.stores.kv.firestore.layout import Place, escape, unescape
from expops_prefect.stores.kv.firestore.overflow import (
    Series,
    batches,
    fits,
    has_spare,
    highest,
    merged,
    parts,
    thinned,
)
from expops_prefect.stores.kv.firestore.values import readable
from expops_prefect.stores.kv.firestore.writes import ABSENT, Writes, version_of

_MOST_KNOWN: Final = 4096
_HOT_SECONDS: Final = 0.1
_IN_VAIN: Final = 5
"""How often in a row a full document is tried again with nothing in it to move."""
_HOT_TURNS: Final = 20
_COUNTERS: Final = "counters"
_PARTS: Final = "parts"


@dataclass
class _Known:
    """What this store knows of a series document; ``lock`` guards it while it writes alone."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    version: str = ABSENT
    highest: dict[str, int] = field(default_factory=dict)
    looked: bool = False
    joining: bool = False
    shared: bool = False
    last: float = 0.0
    quick: int = 0


class SeriesDocuments:
    """Reads and writes what stands under metrics keys, through one process's connection.

    Args:
        connection: to Firestore.
        timeout: seconds for one commit of points with its retries.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._writes = Writes(connection.target)
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    # Whole values ----------------------------------------------------------------------------------

    def assemble(self, place: Place, key: str, documents: Mapping[str, Found], deadline: Deadline) -> Series | None:
        """All points of a key, from its document and the parts of it that were moved on.

        Args:
            place: where it stands.
            key: named in errors.
            documents: its document and that of its counters, if they exist, read at one moment.
            deadline: for reading the parts.
        """
        main = documents.get(place.document)
        if main is None:
            return None
        count = _parts_of(documents.get(place.counters))
        names = [place.part(number) for number in range(1, count + 1)]
        found = self._connection.get_many(names, deadline)
        moved = [load(key, found[name].fields["points"]) for name in names if name in found]
        readable(key, main.fields)
        return merged([*moved, _series_of(main)])

    def put(self, place: Place, key: str, value: JSON, counters: Found | None, version: str | None) -> list[Any]:
        """The writes that replace the value of a key.

        Args:
            place: where it stands.
            key: named in errors.
            value: the new series.
            counters: its counters' document as it is.
            version: precondition of its own document, as in :class:`Writes`.
        """
        series = check_series(key, value)
        pieces = [] if fits(series) else parts(series)
        shown = thinned(series) if pieces else series
        self._forget(place)
        writes = self._part_writes(place, pieces, 0)
        if counters is not None or pieces:
            writes.append(self._counter_write(place, highest(series), len(pieces), counters))
        writes.append(self._writes.set(place.document, _fields_of(shown), version, native=True))
        for number in range(len(pieces) + 1, _parts_of(counters) + 1):
            writes.append(self._writes.delete(place.part(number)))
        return writes

    def delete(self, place: Place, counters: Found | None, version: str) -> list[Any]:
        """The writes that remove a key that has that version."""
        self._forget(place)
        writes = [self._writes.delete(place.document, version)]
        if counters is not None:
            writes.append(self._writes.delete(place.counters, counters.version))
        writes += [self._writes.delete(place.part(number)) for number in range(1, _parts_of(counters) + 1)]
        return writes

    # Points ----------------------------------------------------------------------------------------

    def append(self, place: Place, points: Sequence[MetricPoint]) -> None:
        """Merge points; more than 10,000, or of more than 200 series, in several commits."""
        for point in points:
            escape(point.name)
            dump(point.value)
            if point.step is not None and not -(2**63) <= point.step < 2**63:
                raise KVRefusedError(f"the step {point.step} of {point.name} is beyond 64 bits")
        for batch in batches(points):
            deadline = Deadline(self._timeout)
            known = self._known_of(place)
            with _held(known.lock, deadline):
                alone = not known.shared
                while alone and not self._append_alone(place, batch, known, deadline):
                    alone = not known.shared
            if not alone:
                self._append_shared(place, batch, deadline)

    def _append_alone(self, place: Place, points: Sequence[MetricPoint], known: _Known, deadline: Deadline) -> bool:
        now = time.monotonic()
        known.quick = known.quick + 1 if now - known.last < _HOT_SECONDS else 0
        known.last = now
        # Whoever writes all the time gives others no gap in which to join, so it shares by itself.
        joins = known.joining or known.quick >= _HOT_TURNS
        numbered, top = _number(points, known.highest)
        writes = [self._counter_write(place, top, 0, None)] if joins else []
        writes.append(self._writes.merge(place.document, _values(numbered), known.version, native=True))
        try:
            results = self._connection.commit(writes, deadline, again=all(point.step is not None for point in points))
        except Conflict:
            if known.looked:
                known.joining = True
                deadline.wait_after_conflict(place.document)
            self._look(place, known, deadline)
            return False
        except KVRefusedError:
            if self._move_on(place, deadline):
                known.shared = True
                return False
            before = known.version
            self._look(place, known, deadline)
            if not known.shared and known.version == before:
                raise
            return False
        known.version, known.highest, known.shared = version_of(results[-1]), top, joins
        return True

    def _look(self, place: Place, known: _Known, deadline: Deadline) -> None:
        known.looked = True
        # The counters first: most often they are there, and the points can be many.
        if self._connection.get(place.counters, deadline, fields=[_PARTS]) is None:
            found = self._connection.get_many([place.document, place.counters], deadline)
            if place.counters not in found:
                main = found.get(place.document)
                known.version = ABSENT if main is None else main.version
                known.highest = {} if main is None else highest(_series_of(main))
                return
        known.shared = True

    def _append_shared(self, place: Place, points: Sequence[MetricPoint], deadline: Deadline) -> None:
        numbered = list(points)
        raised: dict[str, int] = {}
        if any(point.step is None for point in points):
            numbered = self._reserve(place, points, deadline)
        else:
            raised = _number(points, {})[1]
        writes = [self._writes.merge(place.document, _values(numbered), native=True)]
        if raised:
            writes.append(self._writes.merge(place.counters, {}, raised=_paths(raised)))
        in_vain = 0
        while True:
            try:
                self._connection.commit(writes, deadline, again=True)
                return
            except KVRefusedError:
                # Where there is nothing to move, others may have moved it, and have filled the place again since.
                if in_vain == _IN_VAIN:
                    raise
                in_vain = 0 if self._move_on(place, deadline) else in_vain + 1

    def _reserve(self, place: Place, points: Sequence[MetricPoint], deadline: Deadline) -> list[MetricPoint]:
        """Number points by the counters; explicit steps raise them, in the points' order."""
        writes: list[Any] = []
        waiting: dict[str, list[int]] = {}
        numbered = list(points)
        given: list[list[list[int]]] = []
        raised: dict[str, int] = {}

        def flush() -> None:
            if raised:
                writes.append(self._writes.merge(place.counters, {}, raised=_paths(raised)))
                given.append([])
                raised.clear()
            if waiting:
                counts = {name: len(indexes) for name, indexes in waiting.items()}
                writes.append(self._writes.merge(place.counters, {}, added=_paths(counts)))
                given.append(list(waiting.values()))
                waiting.clear()

        for index, point in enumerate(points):
            if point.step is None:
                waiting.setdefault(point.name, []).append(index)
            else:
                if point.name in waiting:
                    flush()
                raised[point.name] = max(point.step, raised.get(point.name, point.step))
        flush()
        # A range that is reserved twice leaves a gap, and no more.
        results = self._connection.commit(writes, deadline, again=True)
        for counted, result in zip(given, results, strict=True):
            for indexes, top in zip(counted, result.transform_results, strict=False):
                for step, index in enumerate(indexes, top.integer_value - len(indexes) + 1):
                    numbered[index] = replace(numbered[index], step=step)
        return numbered

    # Overflow --------------------------------------------------------------------------------------

    def _move_on(self, place: Place, deadline: Deadline) -> bool:
        """Move the points of a full document into parts; whether there was anything to move."""
        while True:
            found = self._connection.get_many([place.document, place.counters], deadline)
            main, counters = found.get(place.document), found.get(place.counters)
            series = {} if main is None else _series_of(main)
            if main is None or not series or not has_spare(series):
                return False
            pieces, before = parts(series), _parts_of(counters)
            tops = highest(series)
            for name, step in ({} if counters is None else counters.fields.get(_COUNTERS, {})).items():
                tops[unescape(name)] = max(step, tops.get(unescape(name), step))
            writes = [
                *self._part_writes(place, pieces, before),
                self._counter_write(place, tops, before + len(pieces), counters),
                self._writes.set(place.document, _fields_of(thinned(series)), main.version, native=True),
            ]
            try:
                self._connection.commit(writes, deadline, again=False)
                return True
            except Conflict:
                deadline.wait_after_conflict(place.document)

    def _part_writes(self, place: Place, pieces: Sequence[Series], before: int) -> list[Any]:
        path = place.document.rpartition("/")[2]
        return [
            self._writes.set(place.part(number), {"path": path, "n": number, "points": dump(piece)}, native=True)
            for number, piece in enumerate(pieces, before + 1)
        ]

    def _counter_write(self, place: Place, tops: Mapping[str, int], count: int, counters: Found | None) -> Any:
        fields = {_COUNTERS: {escape(name): step for name, step in tops.items()}, _PARTS: count}
        return self._writes.set(place.counters, fields, ABSENT if counters is None else counters.version, native=True)

    def _known_of(self, place: Place) -> _Known:
        with self._lock:
            known = self._known.setdefault(place.document, _Known())
            self._known.move_to_end(place.document)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
            return known

    def _forget(self, place: Place) -> None:
        with self._lock:
            self._known.pop(place.document, None)


@contextmanager
def _held(lock: threading.Lock, deadline: Deadline) -> Iterator[None]:
    # Without the lock two threads only meet as two processes would.
    acquired = lock.acquire(timeout=deadline.left())
    try:
        yield
    finally:
        if acquired:
            lock.release()


def _number(points: Sequence[MetricPoint], known: Mapping[str, int]) -> tuple[list[MetricPoint], dict[str, int]]:
    """Points with steps, and the highest step of each series after them."""
    tops = dict(known)
    numbered = []
    for point in points:
        step = tops.get(point.name, 0) + 1 if point.step is None else point.step
        tops[point.name] = max(step, tops.get(point.name, step))
        numbered.append(replace(point, step=step))
    return numbered, tops


def _values(points: Sequence[MetricPoint]) -> dict[tuple[str, ...], JSON]:
    return {(escape(point.name), str(point.step)): point.value for point in points}


def _paths(numbers: Mapping[str, int]) -> dict[tuple[str, ...], int]:
    return {(_COUNTERS, escape(name)): number for name, number in numbers.items()}


def _fields_of(series: Series) -> dict[str, Any]:
    return {escape(name): steps for name, steps in series.items()}


def _series_of(main: Found) -> Series:
    return {unescape(name): steps for name, steps in main.fields.items() if isinstance(steps, dict)}


def _parts_of(counters: Found | None) -> int:
    return 0 if counters is None else int(counters.fields.get(_PARTS, 0))
