"""The KV store on SQLite, in the table that ExpOps' own clients read.

One connection per thread and process; a fork or a copy connects anew. WAL mode: readers never
wait for the writer. Every write is one ``BEGIN IMMEDIATE`` transaction, so a read-modify-write
cannot be overtaken, and waits at most :data:`BUSY_SECONDS` for other writers.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from expops_prefect.errors import KVError, KVRefusedError
from expops_prefect.folders import make_folder
from expops_prefect.forks import ForkSafeLock
from expops_prefect.kv.base import JSON, MetricPoint, Versioned
from expops_prefect.kv.encoding import check_counter, check_series, dump, load, merge_points, successor
from expops_prefect.kv.readonly import connect_to_read, on_read_only, state_of
from expops_prefect.kv.schema import BUSY_SECONDS, FORMAT, ensure_schema

if TYPE_CHECKING:
    from expops_prefect.kv.base import Announcing, KVStore

_PAGE: Final = 500
_MAX_VARIABLES: Final = 500
_UPSERT: Final = (
    "INSERT INTO kv(key, value, updated_at) VALUES (?, ?, ?) "
    "ON CONFLICT(key) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
)


class SQLiteKV:
    """A :class:`~expops_prefect.kv.base.KVStore` in one SQLite file.

    The version that :meth:`get_versioned` hands out is the stored text itself: a
    :meth:`compare_and_set` succeeds if the value is still the same. A value that was changed and
    changed back passes, so whoever needs to notice that (a lease) keeps a counter in the value.

    Args:
        path: the database file; it and its folder are made when first used.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).absolute()
        self._connections = _Connections()

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.path = state["path"]
        self._connections = _Connections()

    def __deepcopy__(self, memo: dict[int, object]) -> SQLiteKV:
        return SQLiteKV(self.path)

    def __repr__(self) -> str:
        return f"SQLiteKV({str(self.path)!r})"

    # Reads -------------------------------------------------------------------------------------

    def get(self, key: str) -> JSON | None:
        """See :meth:`KVStore.get`."""
        with self._translated("read"):
            row = self._connection().execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return None if row is None else load(key, row[0])

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        """See :meth:`KVStore.get_many`."""
        found: dict[str, JSON] = {}
        with self._translated("read"):
            connection = self._connection()
            for start in range(0, len(keys), _MAX_VARIABLES):
                part = keys[start : start + _MAX_VARIABLES]
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, value FROM kv WHERE key IN ({marks})", tuple(part))  # noqa: S608
                found.update((key, load(key, text)) for key, text in rows)
        return found

    def get_versioned(self, key: str) -> Versioned | None:
        """See :meth:`KVStore.get_versioned`."""
        with self._translated("read"):
            row = self._connection().execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return None if row is None else Versioned(load(key, row[0]), row[0])

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        """See :meth:`KVStore.scan`. Pages inside; no read transaction stays open between two pages."""
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
            with self._translated("scan"):
                rows = self._connection().execute(query, (*values, size)).fetchall()
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
        # A statement by itself is a transaction by itself.
        with self._translated("write"):
            self._connection().execute(_UPSERT, (key, text, time.time()))

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
            row = connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
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
        """See :meth:`KVStore.increment`. Tokens stand in a table of their own."""
        with self._writing("count") as connection:
            row = connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
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

    def close(self) -> None:
        """See :meth:`KVStore.close`."""
        self._connections.close()

    def describe(self) -> str:
        """See :meth:`KVStore.describe`."""
        return f"SQLite {self.path}"

    def announce(self) -> None:
        """See :meth:`Announcing.announce`: the database file is touched.

        What is written goes to the write-ahead log first, another file, which SQLite removes when
        the last connection closes and makes anew later: a watch on it ends then without a word.
        """
        with contextlib.suppress(OSError):
            os.utime(self.path)

    def _connection(self) -> sqlite3.Connection:
        return self._connections.get(self.path)

    @contextmanager
    def _writing(self, verb: str) -> Iterator[sqlite3.Connection]:
        with self._translated(verb):
            connection = self._connection()
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # A signal or a task's time limit may strike anywhere: the lock must not stay held.
                if connection.in_transaction:
                    connection.rollback()
                raise

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            raise KVRefusedError(f"a key must be text that UTF-8 can express: {error}") from error
        except (sqlite3.Error, OSError) as error:
            failed = KVError(f"cannot {verb} in {self.path}: {error}. {_advice(error, self.path)}")
            raise failed.for_long("locked" not in str(error)) from error


class _Connections:
    """The connections of one store: one a thread, none shared with a forked child."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._local = threading.local()
        self._all: weakref.WeakSet[_Connection] = weakref.WeakSet()

    def get(self, path: Path) -> sqlite3.Connection:
        held: _Connection | None = getattr(self._local, "held", None)
        if held is not None and held.pid == os.getpid() and not held.closed and held.is_good_for(path):
            return held.connection
        if held is not None:
            held.close()
        state = state_of(path) if on_read_only(path) else None
        held = _Connection(_connect(path), state)
        self._local.held = held
        with self._lock:
            self._all.add(held)
        return held.connection

    def close(self) -> None:
        with self._lock:
            for held in list(self._all):
                held.close()
            self._all.clear()


class _Connection:
    """A connection that its thread's end closes. One that only reads is good for a ``state`` of the file."""

    def __init__(self, connection: sqlite3.Connection, state: object | None) -> None:
        self.connection = connection
        self.state = state
        self.pid = os.getpid()
        self.closed = False
        # When the interpreter ends, this module's names are gone before the last connection is.
        self._getpid = os.getpid

    def is_good_for(self, path: Path) -> bool:
        """Whether what it shows is what is there. One that writes sees to that itself."""
        return self.state is None or (self.state == state_of(path) and on_read_only(path))

    def close(self) -> None:
        # A forked child must not close its parent's files: that would drop the parent's locks.
        if not self.closed and self.pid == self._getpid():
            self.closed = True
            self.connection.close()

    def __del__(self) -> None:
        self.close()


def _connect(path: Path) -> sqlite3.Connection:
    if on_read_only(path) and path.exists():
        return connect_to_read(path)
    make_folder(path.parent)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        row = connection.execute("PRAGMA user_version").fetchone()
        if row[0] != FORMAT:
            ensure_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _advice(error: Exception, path: Path) -> str:
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return "Move the file away to start a new one, or restore it from a backup."
    if "locked" in text or "busy" in text:
        return f"Another process held it for over {BUSY_SECONDS:.0f} s; see which one has the file open."
    if on_read_only(path):
        return (
            "Its file system is mounted read-only: what is recorded there can be read, and nothing can be added. "
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
