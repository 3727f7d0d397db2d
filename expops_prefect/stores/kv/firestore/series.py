"""Series of metric points in Firestore: merged field by field, and moved to parts when a document is full.

Points carry their steps, so a batch is one unconditional write, even with concurrent writers.
A full document is emptied into *parts*, JSON texts in documents of their own. Another document
counts them, and the first one keeps a thinned series for clients that do not read parts.

A commit writes dependencies first, and readers read them last: the emulator applies a commit document by
document, so a reader may see only the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from expops_prefect.errors import KVRefusedError
from expops_prefect.stores.kv.base import JSON, MetricPoint, MetricValue
from expops_prefect.stores.kv.encoding import check_series, dump, load
from expops_prefect.stores.kv.firestore.client import Conflict, Connection, Deadline, Found
from expops_prefect.stores.kv.firestore.layout import DocumentPath, escape, unescape
from expops_prefect.stores.kv.firestore.overflow import Series, batches, fits, has_spare, merged, parts, thinned
from expops_prefect.stores.kv.firestore.values import readable
from expops_prefect.stores.kv.firestore.writes import ABSENT, Writes

_IN_VAIN: Final = 5
"""How often in a row to try a full document again that has nothing to move."""
_PARTS: Final = "parts"


class SeriesDocuments:
    """Reads and writes the series of metrics keys, through one process's connection.

    Args:
        connection: to Firestore.
        timeout: seconds for one commit of points with its retries.
    """

    def __init__(self, connection: Connection, timeout: float) -> None:
        self._connection = connection
        self._timeout = timeout
        self._writes = Writes(connection.target)

    # Whole values ----------------------------------------------------------------------------------

    def assemble(
        self, place: DocumentPath, key: str, documents: Mapping[str, Found], deadline: Deadline
    ) -> Series | None:
        """All points of a key, from its document and its parts.

        Args:
            place: the key's location.
            key: named in errors.
            documents: its document and the one that counts its parts, if they exist, read at the same moment.
            deadline: for reading the parts.
        """
        main = documents.get(place.document)
        if main is None:
            return None
        count = _parts_of(documents.get(place.part_count))
        names = [place.part(number) for number in range(1, count + 1)]
        found = self._connection.get_many(names, deadline)
        moved = [load(key, found[name].fields["points"]) for name in names if name in found]
        readable(key, main.fields)
        return merged([*moved, _series_of(main)])

    def put(self, place: DocumentPath, key: str, value: JSON, count: Found | None, version: str | None) -> list[Any]:
        """The writes that replace the value of a key.

        Args:
            place: the key's location.
            key: named in errors.
            value: the new series.
            count: the current document that counts its parts.
            version: precondition of its own document, as in :class:`Writes`.
        """
        series = check_series(key, value)
        pieces = [] if fits(series) else parts(series)
        shown = thinned(series) if pieces else series
        writes = self._part_writes(place, pieces, 0)
        if count is not None or pieces:
            writes.append(self._count_write(place, len(pieces), count))
        writes.append(self._writes.set(place.document, _fields_of(shown), version, native=True))
        for number in range(len(pieces) + 1, _parts_of(count) + 1):
            writes.append(self._writes.delete(place.part(number)))
        return writes

    def delete(self, place: DocumentPath, count: Found | None, version: str) -> list[Any]:
        """The writes that remove a key at this version."""
        writes = [self._writes.delete(place.document, version)]
        if count is not None:
            writes.append(self._writes.delete(place.part_count, count.version))
        writes += [self._writes.delete(place.part(number)) for number in range(1, _parts_of(count) + 1)]
        return writes

    # Points ----------------------------------------------------------------------------------------

    def append(self, place: DocumentPath, points: Sequence[MetricPoint]) -> None:
        """Merge points; more than 10,000 take several commits."""
        for point in points:
            escape(point.name)
            dump(point.value)
        for batch in batches(points):
            self._append(place, batch, Deadline(self._timeout))

    def _append(self, place: DocumentPath, points: Sequence[MetricPoint], deadline: Deadline) -> None:
        values: dict[tuple[str, ...], MetricValue] = {
            (escape(point.name), str(point.step)): point.value for point in points
        }
        write = self._writes.merge(place.document, values, native=True)
        failures, seen = 0, ""
        while True:
            try:
                self._connection.commit([write], deadline, again=True)
                return
            except KVRefusedError:
                # With nothing to move, another writer may have moved it, and the document may have filled again since.
                if failures == _IN_VAIN:
                    raise
                version = self._move_to_parts(place, deadline)
                failures = failures + 1 if version == seen else 0
                seen = version
                if failures == 0:
                    deadline.wait_after_conflict(place.document)

    # Overflow --------------------------------------------------------------------------------------

    def _move_to_parts(self, place: DocumentPath, deadline: Deadline) -> str:
        """Move the points of a full document into parts, if there are any to move; return its version before."""
        while True:
            found = self._connection.get_many([place.document, place.part_count], deadline)
            main, count = found.get(place.document), found.get(place.part_count)
            series = {} if main is None else _series_of(main)
            if main is None or not series or not has_spare(series):
                return "" if main is None else main.version
            pieces, before = parts(series), _parts_of(count)
            writes = [
                *self._part_writes(place, pieces, before),
                self._count_write(place, before + len(pieces), count),
                self._writes.set(place.document, _fields_of(thinned(series)), main.version, native=True),
            ]
            try:
                self._connection.commit(writes, deadline, again=False)
                return main.version
            except Conflict:
                deadline.wait_after_conflict(place.document)

    def _part_writes(self, place: DocumentPath, pieces: Sequence[Series], before: int) -> list[Any]:
        path = place.document.rpartition("/")[2]
        return [
            self._writes.set(place.part(number), {"path": path, "n": number, "points": dump(piece)}, native=True)
            for number, piece in enumerate(pieces, before + 1)
        ]

    def _count_write(self, place: DocumentPath, count: int, before: Found | None) -> Any:
        version = ABSENT if before is None else before.version
        return self._writes.set(place.part_count, {_PARTS: count}, version, native=True)


def _fields_of(series: Series) -> dict[str, Any]:
    return {escape(name): steps for name, steps in series.items()}


def _series_of(main: Found) -> Series:
    return {unescape(name): steps for name, steps in main.fields.items() if isinstance(steps, dict)}


def _parts_of(count: Found | None) -> int:
    return 0 if count is None else int(count.fields.get(_PARTS, 0))
