"""The KV store on Firestore, in the documents that ExpOps' own clients read.

Every method is one commit, conditional on the versions that it read; nothing is
locked. :meth:`FirestoreKV.append_metrics` is one write without a read, and so is
:meth:`FirestoreKV.update` for a single writer: the store remembers what it wrote last, and reads only
after another writer was faster. :mod:`expops_prefect.stores.kv.firestore.layout` locates keys.
"""

from __future__ import annotations

import os
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from expops_prefect.errors import KVError, KVRefusedError
from expops_prefect.stores.kv.base import JSON, MetricPoint, Versioned
from expops_prefect.stores.kv.encoding import check_counter, check_key, check_series, dump, load, merge_points
from expops_prefect.stores.kv.firestore.client import Conflict, Deadline, Found
from expops_prefect.stores.kv.firestore.layout import STAMP_FIELD, DocumentPath, place, token_document
from expops_prefect.stores.kv.firestore.scan import PAGE, Scan, every_document
from expops_prefect.stores.kv.firestore.session import Session
from expops_prefect.stores.kv.firestore.target import Target
from expops_prefect.stores.kv.firestore.values import pack, replaced, unpack
from expops_prefect.stores.kv.firestore.writes import ABSENT, Writes, is_version, version_of

if TYPE_CHECKING:
    from expops_prefect.stores.kv.base import Erasable, KVStore

MAX_BATCH: Final = 500
"""Keys in one :meth:`FirestoreKV.put_many`, and in one commit of :meth:`FirestoreKV.delete_many`."""

Documents = Mapping[str, Found]


class FirestoreKV:
    """A :class:`~expops_prefect.stores.kv.base.KVStore` in a Firestore database in Native mode.

    :meth:`delete_many` of more than 500 keys, and :meth:`append_metrics` of more than 10,000 points,
    are several commits, each all or nothing. :meth:`increment` checks that a key holds a number only
    the first time: it does not notice if another store writes something else there later.

    Args:
        project_id: the project's document, ``mlops_projects/<project_id>``.
        gcp_project: the Google Cloud project.
        credentials: a service account's key file; without one, the application default.
        emulator_host: ``host:port`` of an emulator, which needs no credentials.
        timeout: seconds that a call may take.
        database: the database in the project.

    Attributes:
        calls: documents read, written and deleted, and remote calls, by this object so far:
            ``reads``, ``writes``, ``deletes``, ``rpcs``.
    """

    def __init__(
        self,
        *,
        project_id: str,
        gcp_project: str,
        credentials: str | None,
        emulator_host: str | None,
        timeout: float = 10.0,
        database: str = "(default)",
    ) -> None:
        root = f"mlops_projects/{project_id}"
        self._target = Target(gcp_project, database, root, credentials, emulator_host)
        self._timeout = timeout
        self.calls: Counter[str] = Counter()
        self._sessions: dict[int, Session] = {}

    def __getstate__(self) -> tuple[Target, float]:
        return self._target, self._timeout

    def __setstate__(self, state: tuple[Target, float]) -> None:
        self._target, self._timeout = state
        self.calls = Counter()
        self._sessions = {}

    def __repr__(self) -> str:
        return f"FirestoreKV({str(self._target)!r})"

    # Reads -----------------------------------------------------------------------------------------

    def get(self, key: str) -> JSON | None:
        """See :meth:`KVStore.get`."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """See :meth:`KVStore.get_many`. One batched read."""
        session, deadline = self._start()
        places = {key: place(key) for key in keys}
        found = session.connection.get_many(_documents(places.values()), deadline)
        values = {key: _value(session, key, where, found, deadline) for key, where in places.items()}
        return {key: value for key, value in values.items() if value is not None}

    def get_versioned(self, key: str) -> Versioned | None:
        """See :meth:`KVStore.get_versioned`.

        The version of a document is its update time. A document that holds several keys changes with
        each of them, so for those the version is the value's text, as in SQLite.
        """
        session, deadline = self._start()
        where = place(key)
        found = session.connection.get_many(where.documents, deadline)
        value = _value(session, key, where, found, deadline)
        if value is None:
            return None
        return Versioned(value, dump(value) if where.kind == "field" else found[where.document].version)

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """See :meth:`KVStore.scan`. Range queries, in pages."""
        check_key(prefix)
        session = self._session()
        page = PAGE if limit is None else max(min(limit, PAGE), 1)
        found = Scan(session.connection, session.series, self._timeout, prefix, after, page).run()
        return islice(found, limit)

    # Writes ----------------------------------------------------------------------------------------

    def put(self, key: str, value: JSON) -> None:
        """See :meth:`KVStore.put`."""
        self.put_many({key: value})

    def put_many(self, values: Mapping[str, JSON]) -> None:
        """See :meth:`KVStore.put_many`. One commit."""
        if len(values) > MAX_BATCH:
            raise KVRefusedError(f"{len(values)} keys in one write; Firestore takes {MAX_BATCH}: write them in parts")
        session, deadline = self._start()
        session.put_all({key: _checked(value) for key, value in values.items()}, deadline)

    def create(self, key: str, value: JSON) -> bool:
        """See :meth:`KVStore.create`."""
        session, deadline = self._start()
        where, value = place(key), _checked(value)
        session.forget(where)
        if where.kind in ("entry", "row"):
            return self._commit_if(
                session, session.writes.set(where.document, pack(where, key, value), ABSENT), deadline
            )

        def plan(found: Documents) -> tuple[bool, Sequence[Any]]:
            if where.kind == "series":
                if where.document in found:
                    return False, ()
                return True, session.series.put(where, key, value, found.get(where.part_count), ABSENT)
            document = found.get(where.document)
            if document is not None and unpack(where, key, document.fields) is not None:
                return False, ()
            return True, [session.field_write(where, value, document)]

        return session.transact(where.documents, plan, deadline, what=key)

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        """See :meth:`KVStore.compare_and_set`."""
        session, deadline = self._start()
        where, value = place(key), _checked(value)
        session.forget(where)
        if where.kind != "field" and not is_version(version):
            return False
        if where.kind in ("entry", "row"):
            write = session.writes.set(where.document, pack(where, key, value), version)
            return self._commit_if(session, write, deadline)

        def plan(found: Documents) -> tuple[bool, Sequence[Any]]:
            document = found.get(where.document)
            if document is None:
                return False, ()
            if where.kind == "series":
                if document.version != version:
                    return False, ()
                return True, session.series.put(where, key, value, found.get(where.part_count), version)
            old = unpack(where, key, document.fields)
            if old is None or dump(old) != version:
                return False, ()
            return True, [session.field_write(where, value, document)]

        return session.transact(where.documents, plan, deadline, what=key)

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        """See :meth:`KVStore.update`. One write and no read, if nobody else wrote the key since."""
        session, deadline = self._start()
        where = place(key)
        if where.kind == "series":
            return self._update_series(session, key, where, change, deadline)
        with session.alone(where.document, deadline):
            found = session.written(where.document)
            session.forget(where)
            read = False
            while True:
                try:
                    value = _checked(change(None if found is None else unpack(where, key, found.fields)))
                except Exception:
                    # The change may have been given a value that is no longer, or not yet, stored.
                    if read:
                        raise
                    found, read = session.connection.get(where.document, deadline), True
                    continue
                if where.kind == "field":
                    write = session.field_write(where, value, found)
                    fields = replaced({} if found is None else found.fields, where.field, value)
                else:
                    fields = pack(where, key, value)
                    write = session.writes.set(where.document, fields, ABSENT if found is None else found.version)
                try:
                    [result] = session.connection.commit([write], deadline, again=False)
                except Conflict:
                    if read:
                        deadline.wait_after_conflict(key)
                    found, read = session.connection.get(where.document, deadline), True
                else:
                    session.remember(where.document, fields, version_of(result))
                    return value

    def delete(self, key: str) -> bool:
        """See :meth:`KVStore.delete`."""
        where = place(key)
        if where.kind not in ("entry", "row"):
            return self.delete_many([key]) == 1
        session, deadline = self._start()
        session.forget(where)
        return self._commit_if(session, session.writes.delete(where.document, must_exist=True), deadline)

    def delete_many(self, keys: Sequence[str]) -> int:
        """See :meth:`KVStore.delete_many`. One commit for up to 500 keys."""
        left = list(dict.fromkeys(keys))
        count = 0
        for start in range(0, len(left), MAX_BATCH):
            session, deadline = self._start()
            count += session.delete_all(left[start : start + MAX_BATCH], deadline)
        return count

    # Counters and series ---------------------------------------------------------------------------

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        """See :meth:`KVStore.increment`. Adds on the server; a token is a document of its own."""
        session, deadline = self._start()
        where = place(key)
        if where.kind in ("row", "series") or not -(2**63) <= amount < 2**63:
            raise KVRefusedError(
                f"{key} cannot be increased by {amount}: rows and metrics are not counters, and a counter has 64 bits"
            )
        if not session.is_counter(where):
            found = session.connection.get(where.document, deadline)
            check_counter(key, None if found is None else unpack(where, key, found.fields))
        values: dict[tuple[str, ...], JSON] = {(STAMP_FIELD,): time.time()}
        if where.kind != "field":
            values = {(name,): text for name, text in pack(where, key, None).items() if name != "value"}
        path = where.field if where.kind == "field" else ("value",)
        writes = [session.writes.merge(where.document, values, added={path: amount})]
        if token is not None:
            marker = {"key": key, "token": token, "used_at": time.time()}
            writes.append(session.writes.set(token_document(key, token), marker, ABSENT))
        session.remember_counter(where)
        try:
            results = session.connection.commit(writes, deadline, again=token is not None)
        except Conflict:
            return check_counter(key, self.get(key))
        return int(results[0].transform_results[0].integer_value)

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        """See :meth:`KVStore.append_metrics`. Points are merged by field; a full document overflows into parts."""
        where, batch = place(key), list(points)
        if where.kind == "series":
            self._session().series.append(where, batch)
        elif batch:
            self.update(key, lambda value: merge_points(check_series(key, value), batch))

    # Life ------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :meth:`KVStore.ping`."""
        key = f"expops_prefect:ping:{secrets.token_hex(8)}"
        self.put(key, 1)
        if self.get(key) != 1 or not self.delete(key):
            raise KVError(f"{self._target} does not keep what is written to it")

    def erase(self) -> int:
        """See :meth:`Erasable.erase`."""
        connection, count = self._session().connection, 0
        writes = Writes(self._target)
        below = every_document(connection, self._timeout)
        while part := list(islice(below, MAX_BATCH)):
            connection.commit([writes.delete(document) for document in part], Deadline(self._timeout), again=True)
            count += len(part)
        self.close()
        return count

    def close(self) -> None:
        """See :meth:`KVStore.close`."""
        session = self._sessions.pop(os.getpid(), None)
        if session is not None:
            session.connection.close()

    def describe(self) -> str:
        """See :meth:`KVStore.describe`."""
        return str(self._target)

    def _session(self) -> Session:
        # A forked child makes its own: channels and locks do not survive a fork.
        pid = os.getpid()
        session = self._sessions.get(pid)
        if session is None:
            session = self._sessions.setdefault(pid, Session(self._target, self._timeout, self.calls))
        return session

    def _start(self) -> tuple[Session, Deadline]:
        return self._session(), Deadline(self._timeout)

    def _commit_if(self, session: Session, write: Any, deadline: Deadline) -> bool:
        try:
            session.connection.commit([write], deadline, again=False)
        except Conflict:
            return False
        return True

    def _update_series(
        self, session: Session, key: str, where: DocumentPath, change: Callable[[JSON | None], JSON], deadline: Deadline
    ) -> JSON:
        def plan(found: Documents) -> tuple[JSON, Sequence[Any]]:
            value = _checked(change(session.series.assemble(where, key, found, deadline)))
            version = found[where.document].version if where.document in found else ABSENT
            return value, session.series.put(where, key, value, found.get(where.part_count), version)

        return session.transact(where.documents, plan, deadline, what=key)


def _documents(places: Iterable[DocumentPath]) -> list[str]:
    return [name for where in places for name in where.documents]


def _value(session: Session, key: str, where: DocumentPath, found: Documents, deadline: Deadline) -> JSON | None:
    if where.kind == "series":
        return session.series.assemble(where, key, found, deadline)
    document = found.get(where.document)
    return None if document is None else unpack(where, key, document.fields)


def _checked(value: JSON) -> JSON:
    """A copy of a value as JSON has it: no tuples, only text as keys."""
    return load("", dump(value))


if TYPE_CHECKING:
    _conforms: type[KVStore] = FirestoreKV
    _erasable: type[Erasable] = FirestoreKV
