"""Ordered scans over the documents that hold a project's keys."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Final, Literal

from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.encoding import successor
from expops_prefect.stores.kv.firestore.client import Connection, Deadline
from expops_prefect.stores.kv.firestore.layout import (
    DOCUMENTS,
    ENTRIES,
    KEY_FIELD,
    DocumentPath,
    group_of,
    is_id,
    only_rows,
    run_area,
    unescape,
)
from expops_prefect.stores.kv.firestore.series import SeriesDocuments
from expops_prefect.stores.kv.firestore.values import Fields, key_of, readable, unpack

PAGE: Final = 300
"""Documents that a scan reads in one page."""
_SERIES_PAGE: Final = 10
_MANY: Final = 10_000
"""More than the number of long keys that share their start."""

Pairs = Iterator[tuple[str, JSON]]


def every_document(connection: Connection, timeout: float) -> Iterator[str]:
    """The paths of all documents of a project, nested ones first.

    Args:
        connection: to its database.
        timeout: seconds for each call.
    """
    for collection, inner in DOCUMENTS.items():
        for name in connection.ids(collection, Deadline(timeout)):
            document = f"{collection}/{name}"
            for below in inner:
                collected = connection.ids(f"{document}/{below}", Deadline(timeout))
                yield from (f"{document}/{below}/{child}" for child in collected)
            yield document


@dataclass(frozen=True)
class Scan:
    """One scan: the keys with ``prefix`` that are greater than ``after``.

    The keys of one form are in one area, and the areas are in the order of the keys. Entries may have
    any key and are merged in. An area that cannot hold a matching key is not read.

    Attributes:
        connection: reads documents.
        series: assembles series.
        timeout: seconds for each page.
        prefix: only keys that start with this.
        after: only keys greater than this.
        page: documents read at once.
    """

    connection: Connection
    series: SeriesDocuments
    timeout: float
    prefix: str
    after: str | None
    page: int = PAGE

    def run(self) -> Pairs:
        """Keys ascending, with values."""
        areas = self._areas()
        if only_rows(self.prefix):
            return areas
        return heapq.merge(self._documents("entry", ENTRIES, ""), areas, key=itemgetter(0))

    def _areas(self) -> Pairs:
        yield from self._by_run("metric:", "metric", self._metrics)
        yield from self._documents("row", "process_indices", names.PROCESS_RECORD_PREFIX)
        yield from self._by_run("runs:", "runs", self._run_keys)
        yield from self._documents("row", "step_indices", names.STEP_RECORD_PREFIX)

    def _may_hold(self, head: str) -> bool:
        """Whether a key that starts with ``head`` can match."""
        if not (head.startswith(self.prefix) or self.prefix.startswith(head)):
            return False
        return self.after is None or head.startswith(self.after) or self.after.startswith(head) or head > self.after

    def _wanted(self, key: str) -> bool:
        return key.startswith(self.prefix) and (self.after is None or key > self.after)

    def _documents(self, kind: Literal["entry", "row"], collection: str, head: str) -> Pairs:
        """Documents that carry their key in a field."""
        if not self._may_hold(head):
            return
        place = DocumentPath(kind, collection)
        start = max(self.prefix, head)
        lower = max(start, self.after or "")
        strict = lower == self.after == group_of(lower)
        lower, upper = group_of(lower), successor(group_of(start))
        last: str | None = None
        for fields in self._sorted(collection, lower, upper, strict=strict):
            key = key_of(fields)
            if self._wanted(key) and (last is None or key > last):
                yield key, unpack(place, key, fields)
                last = key

    def _sorted(self, collection: str, lower: str, upper: str | None, *, strict: bool) -> Iterator[Fields]:
        """Documents ordered by key; short keys among long ones may come twice."""
        while True:
            found = self._query(collection, lower, upper, self.page, strict=strict)
            for fields in found:
                key = key_of(fields)
                group = group_of(key)
                if group == key:
                    yield fields
                    continue
                following = successor(group)
                yield from sorted(self._query(collection, group, following, _MANY), key=key_of)
                if following is None:
                    return
                lower, strict = following, False
                break
            else:
                if len(found) < self.page:
                    return
                lower, strict = found[-1][KEY_FIELD], True

    def _query(
        self, collection: str, lower: str, upper: str | None, limit: int, *, strict: bool = False
    ) -> list[Fields]:
        found = self.connection.query(
            collection, Deadline(self.timeout), order=KEY_FIELD, lower=lower, strict=strict, upper=upper, limit=limit
        )
        return [document.fields for _, document in found]

    def _by_run(self, head: str, collection: str, keys: Callable[[str], Pairs]) -> Pairs:
        area = run_area(self.prefix, head)
        if area is None or not self._may_hold(head):
            return
        if area.run is not None:
            yield from keys(area.run)
            return
        # In the order of the keys, where a colon follows the run: "a-b:" sorts before "a:".
        runs = self.connection.ids(collection, Deadline(self.timeout))
        for run in sorted(runs, key=lambda run: f"{run}:"):
            # Skip a run with a colon: its keys could not be told from others.
            if ":" not in run and self._may_hold(f"{head}{run}:"):
                yield from keys(run)

    def _run_keys(self, run: str) -> Pairs:
        document, head = f"runs/{run}", f"runs:{run}:"
        yield from self._fields(self._read(f"{document}/charts_index/index", f"{head}charts:"), head, "charts:")
        fields = self._read(document, f"{head}stats:", f"{head}status", f"{head}timestamps")
        yield from self._fields(fields, head, "stats:")
        yield from self._fields(fields, head, "status")
        yield from self._documents("row", f"{document}/steps", f"{head}steps:")
        yield from self._fields(fields, head, "timestamps")

    def _read(self, document: str, *heads: str) -> Fields:
        found = None
        if any(map(self._may_hold, heads)):
            found = self.connection.get(document, Deadline(self.timeout))
        return {} if found is None else found.fields

    def _fields(self, fields: Fields, head: str, part: str) -> Pairs:
        """Keys that are fields of a document: one, or many for a part with a colon."""
        name = part.removesuffix(":")
        if name not in fields:
            return
        keys = {head + name: fields[name]}
        if part != name:
            found = fields[name] if isinstance(fields[name], dict) else {}
            keys = {f"{head}{part}{unescape(field)}": value for field, value in found.items()}
        yield from ((key, readable(key, keys[key])) for key in sorted(keys) if self._wanted(key))

    def _metrics(self, run: str) -> Pairs:
        head = names.metrics_prefix(run)
        if not self._may_hold(head):
            return
        collection = f"metric/{run}/probes_by_path"
        start = max(self.prefix, head)
        lower, strict = (self.after, True) if self.after is not None and self.after >= start else (start, False)
        upper = successor(start)
        # Firestore can query only for valid ids; filter the rest here.
        lower, strict = (lower, strict) if is_id(lower[len(head) :]) else (head, False)
        limit = upper[len(head) :] if upper is not None and upper.startswith(head) else None
        while True:
            deadline = Deadline(self.timeout)
            found = self.connection.query(
                collection,
                deadline,
                order="__name__",
                lower=lower[len(head) :],
                strict=strict,
                upper=limit if limit is not None and is_id(limit) else None,
                limit=min(self.page, _SERIES_PAGE),
            )
            places = {name: DocumentPath("series", f"{collection}/{name}") for name, _ in found}
            counts = self.connection.get_many([place.part_count for place in places.values()], deadline)
            for name, document in found:
                key = head + name
                if upper is not None and key >= upper:
                    return
                if self._wanted(key):
                    place = places[name]
                    yield key, self.series.assemble(place, key, {**counts, place.document: document}, deadline)
            if len(found) < min(self.page, _SERIES_PAGE):
                return
            lower, strict = head + found[-1][0], True
