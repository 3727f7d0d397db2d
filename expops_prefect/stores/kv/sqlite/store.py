"""The KV store on SQLite, in the table that ExpOps' own clients read.

The store keeps a few connections in each process, see :mod:`~expops_prefect.stores.kv.sqlite.connections`; a fork
or a copy connects anew. In WAL mode readers never wait for the writer. Every write is one ``BEGIN IMMEDIATE``
transaction, so no other write can come between a read and its write. It waits at most :data:`BUSY_SECONDS`
for other writers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import KVError, KVRefusedError
from expops_prefect.stores.kv.base import JSON, MetricPoint, Versioned
from expops_prefect.stores.kv.encoding import check_counter, check_series, dump, load, merge_points, successor
from expops_prefect.stores.kv.sqlite.connections import Connections, Lent, Pool, short_of_descriptors
from expops_prefect.stores.kv.sqlite.readonly import on_read_only
from expops_prefect.stores.kv.sqlite.schema import BUSY_SECONDS

if TYPE_CHECKING:
    from expops_prefect.stores.kv.base import Announcing, KVStore

_PAGE: Final = 500
_MAX_VARIABLES: Final = 500
_UPSERT: Final = (
    "INSERT INTO kv(key, value, updated_at) VALUES (?, ?, ?) "
    "ON CONFLICT(key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
)


class SQLiteKV:
    """A :class:`~expops_prefect.stores.kv.base.KVStore` in one SQLite file.

    The version from :meth:`get_versioned` is the stored text itself: a :meth:`compare_and_set` succeeds if
    the value is the same. It does not notice a value that was changed and changed back; a lease, which must,
    keeps a counter in its value.

    Args:
        path: the database file; it and its folder are created on first use.

    Attributes:
        path: as above.
        renewals: how often the file was found removed or moved while in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._start(Path(path).absolute())

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self._start(state["path"])

    def _start(self, path: Path) -> None:
        self.path = path
        self.renewals = 0
        self._connections = Connections(path, self._renewed)

    def _renewed(self) -> None:
        self.renewals += 1
        message = f"{self.path} was removed or moved while it was in use; a new one is created"
        degrade("database gone", message, key=str(self.path))

    def __deepcopy__(self, memo: dict[int, object]) -> SQLiteKV:
        return SQLiteKV(self.path)

    def __repr__(self) -> str:
        return f"SQLiteKV({str(self.path)!r})"

    # Reads -------------------------------------------------------------------------------------

    def get(self, key: str) -> JSON | None:
        """See :meth:`KVStore.get`."""
        with self._reading("read") as connection:
            row = _row(connection, key)
        return None if row is None else load(key, row[0])

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """See :meth:`KVStore.get_many`."""
        found: dict[str, JSON] = {}
        with self._reading("read") as connection:
            for start in range(0, len(keys), _MAX_VARIABLES):
                part = keys[start : start + _MAX_VARIABLES]
                marks = ",".join("?" * len(part))
                rows = _rows(connection, f"SELECT key, value FROM kv WHERE key IN ({marks})", part)  # noqa: S608
                found.update((key, load(key, text)) for key, text in rows)
        return found

    def get_versioned(self, key: str) -> Versioned | None:
        """See :meth:`KVStore.get_versioned`."""
        with self._reading("read") as connection:
            row = _row(connection, key)
        return None if row is None else Versioned(load(key, row[0]), row[0])

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """See :meth:`KVStore.scan`. Reads pages; no read transaction stays open between them."""
        lower, strict = (after, True) if after is not None and after >= prefix else (prefix, False)
        upper = successor(prefix)
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            conditions = ["key > ?" if strict else "key >= ?"]
            values: list[object] = [lower]
            if upper is not None:
                conditions.append("key < ?")
                values.append(upper)
            query = f"SELECT key, value FROM kv WHERE {' AND '.join(conditions)} ORDER BY key LIMIT ?"  # noqa: S608
            with self._reading("scan") as connection:
                rows = _rows(connection, query, (*values, size))
            for key, text in rows:
                yield key, load(key, text)
            if len(rows) < size:
                return
            lower, strict = rows[-1][0], True
            left = None if left is None else left - len(rows)

    # Writes ------------------------------------------------------------------------------------

    def put(self, key: str, value: JSON) -> None:
        """See :meth:`KVStore.put`."""
        text = dump(value)
        # A single statement is a transaction of its own.
        with _Borrowed(self._connections.writing, "write", self.path) as connection:
            connection.execute(_UPSERT, (key, text, time.time()))

    def put_many(self, values: Mapping[str, JSON]) -> None:
        """See :meth:`KVStore.put_many`."""
        if len(values) == 1:
            self.put(*next(iter(values.items())))
            return
        now = time.time()
        rows = [(key, dump(value), now) for key, value in values.items()]
        with self._writing("write") as connection:
            connection.executemany(_UPSERT, rows)

    def create(self, key: str, value: JSON) -> bool:
        """See :meth:`KVStore.create`."""
        text = dump(value)
        with self._writing("create") as connection:
            cursor = connection.execute(
                "INSERT INTO kv(key, value, updated_at) VALUES (?, ?, ?) ON CONFLICT(key) DO NOTHING",
                (key, text, time.time()),
            )
            return cursor.rowcount == 1

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        """See :meth:`KVStore.compare_and_set`."""
        text = dump(value)
        with self._writing("write") as connection:
            cursor = connection.execute(
                "UPDATE kv SET value = ?, updated_at = ? WHERE key = ? AND value = ?", (text, time.time(), key, version)
            )
            return cursor.rowcount == 1

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        """See :meth:`KVStore.update`."""
        with self._writing("update") as connection:
            row = _row(connection, key)
            value = change(None if row is None else load(key, row[0]))
            connection.execute(_UPSERT, (key, dump(value), time.time()))
        return value

    def delete(self, key: str) -> bool:
        """See :meth:`KVStore.delete`."""
        return self.delete_many((key,)) == 1

    def delete_many(self, keys: Sequence[str]) -> int:
        """See :meth:`KVStore.delete_many`."""
        count = 0
        with self._writing("delete") as connection:
            for start in range(0, len(keys), _MAX_VARIABLES):
                part = keys[start : start + _MAX_VARIABLES]
                marks = ",".join("?" * len(part))
                count += connection.execute(f"DELETE FROM kv WHERE key IN ({marks})", tuple(part)).rowcount  # noqa: S608
        return count

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        """See :meth:`KVStore.increment`. Tokens have a table of their own."""
        with self._writing("count") as connection:
            row = _row(connection, key)
            value = check_counter(key, None if row is None else load(key, row[0]))
            if token is not None:
                cursor = connection.execute(
                    "INSERT INTO expops_prefect_tokens(key, token, used_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (key, token, time.time()),
                )
                if cursor.rowcount == 0:
                    return value
            connection.execute(_UPSERT, (key, dump(value + amount), time.time()))
        return value + amount

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        """See :meth:`KVStore.append_metrics`. One row holds all series of a path: ExpOps reads it whole."""
        batch = list(points)
        if batch:
            self.update(key, lambda value: merge_points(check_series(key, value), batch))

    # Life --------------------------------------------------------------------------------------

    def ping(self) -> None:
        """See :meth:`KVStore.ping`."""
        key = f"expops_prefect:ping:{os.getpid()}:{threading.get_ident()}"
        self.put(key, 1)
        if self.get(key) != 1 or not self.delete(key):
            raise KVError(f"{self.path} does not keep what is written to it")

    def look(self) -> None:
        """Check that the file still exists, and count a renewal if it does not.

        Raises:
            KVError: it cannot be created again.
        """
        with self._reading("read"):
            pass

    def close(self) -> None:
        """See :meth:`KVStore.close`."""
        self._connections.close()

    def describe(self) -> str:
        """See :meth:`KVStore.describe`."""
        return f"SQLite {self.path}"

    def announce(self) -> None:
        """See :meth:`Announcing.announce`. Touches the database file.

        Writes go to the write-ahead log first. SQLite removes that file when the last connection closes
        and creates it again later, so a watch on it ends silently.
        """
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def _reading(self, verb: str) -> _Borrowed:
        return _Borrowed(self._connections.reading, verb, self.path)

    @contextmanager
    def _writing(self, verb: str) -> Iterator[sqlite3.Connection]:
        with _Borrowed(self._connections.writing, verb, self.path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")


def _row(connection: sqlite3.Connection, key: str) -> tuple[str] | None:
    """The text under a key; see :func:`_rows`."""
    rows = _rows(connection, "SELECT key, value FROM kv WHERE key = ?", (key,))
    return (rows[0][1],) if rows else None


def _rows(connection: sqlite3.Connection, query: str, values: Sequence[object]) -> list[tuple[str, str]]:
    """Keys and texts. Text that is not UTF-8 is returned as text that is not JSON, and does not hide other rows."""
    try:
        return connection.execute(query, tuple(values)).fetchall()
    except sqlite3.OperationalError as error:
        if "decode to UTF-8" not in str(error):
            raise
    connection.text_factory = bytes
    try:
        found = connection.execute(query, tuple(values)).fetchall()
    finally:
        connection.text_factory = str
    # A text with a surrogate is never JSON. Keys were checked on writing, so they are UTF-8.
    return [
        (key.decode(errors="replace"), text.decode(errors="surrogateescape") if isinstance(text, bytes) else text)
        for key, text in found
    ]


class _Borrowed:
    """A connection for a ``with`` statement; translates SQLite's errors.

    A class, not a generator: every look-up passes through it.
    """

    __slots__ = ("_lent", "_path", "_pool", "_verb")

    def __init__(self, pool: Pool, verb: str, path: Path) -> None:
        self._pool = pool
        self._verb = verb
        self._path = path
        self._lent: Lent | None = None

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._lent = self._pool.take()
        except (sqlite3.Error, OSError) as error:
            raise self._translated(error) from error
        return self._lent.connection

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        lent, self._lent = self._lent, None
        if lent is not None:
            self._pool.give(lent)
        if isinstance(error, UnicodeEncodeError):
            raise KVRefusedError(f"a key must be text that UTF-8 can express: {error}") from error
        if isinstance(error, (sqlite3.Error, OSError)):
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> KVError:
        what = f"cannot {self._verb} in {self._path}"
        if short_of_descriptors(error):
            return KVError(f"{what}: too many open files. Raise the limit with `ulimit -n`, or close what you can.")
        return KVError(f"{what}: {error}. {_advice(error, self._path)}").for_long("locked" not in str(error))


def _advice(error: Exception, path: Path) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return "Move the file away to start a new one, or restore it from a backup."
    if "locked" in text or "busy" in text:
        return f"Another process held it for over {BUSY_SECONDS:.0f} s; see which one has the file open."
    if on_read_only(path):
        return (
            "Its file system is mounted read-only: you can read its records, but not add any. "
            "Mount it writable, or set EXPOPS_RUNTIME_DIR to a folder that is."
        )
    if "readonly" in text or "read-only" in text or isinstance(error, PermissionError):
        return "Make the file and its folder writable, or set EXPOPS_RUNTIME_DIR to a folder that is."
    if "full" in text:
        return "Free some disk space."
    return "Check the path, or set MLOPS_KV_PATH or EXPOPS_RUNTIME_DIR to another place."


if TYPE_CHECKING:
    _conforms: type[KVStore] = SQLiteKV
    _announces: type[Announcing] = SQLiteKV
