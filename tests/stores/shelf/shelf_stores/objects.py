"""An object store in one SQLite file; what is to be mapped into memory is copied to this machine first."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.base import Buffer, ObjectInfo, check_key, check_prefix
from expops_prefect.stores.objects.local.store import LocalObjects

TABLE = "CREATE TABLE IF NOT EXISTS objects (key TEXT PRIMARY KEY, stamp TEXT, modified REAL, data BLOB)"
INFO = "SELECT key, length(data), stamp, modified FROM objects"


class ShelfObjects:
    """The store.

    Args:
        file: the database.
        prefix: what all keys start with in it.
        copies: the folder of this machine's copies.
    """

    def __init__(self, file: Path, prefix: str, copies: Path) -> None:
        self.file = file
        self.prefix = prefix
        self.copies = copies

    @contextmanager
    def _database(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.file, timeout=60, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(TABLE)
                connection.execute(begin)
                yield connection
                connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise ObjectStoreError(f"the shelf {self.file} cannot be used: {error}; is it mounted?") from error

    def _name(self, key: str) -> str:
        check_key(key)
        return self.prefix + key

    def _info(self, connection: sqlite3.Connection, name: str) -> ObjectInfo | None:
        row = connection.execute(f"{INFO} WHERE key = ?", (name,)).fetchone()
        return None if row is None else ObjectInfo(row[0].removeprefix(self.prefix), *row[1:])

    def _write(self, connection: sqlite3.Connection, name: str, data: bytes) -> ObjectInfo | None:
        row = (name, uuid.uuid4().hex, time.time(), data)
        connection.execute("REPLACE INTO objects VALUES (?, ?, ?, ?)", row)
        return self._info(connection, name)

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        name = self._name(key)
        with self._database() as connection:
            made = self._write(connection, name, b"".join(parts))
        assert made is not None
        return made

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        name, data = self._name(key), b"".join(parts)
        with self._database() as connection:
            there = self._info(connection, name)
            return None if there is not None and there.size == len(data) else self._write(connection, name, data)

    def get(self, key: str) -> bytes | None:
        name = self._name(key)
        with self._database("BEGIN") as connection:
            row = connection.execute("SELECT data FROM objects WHERE key = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def stat(self, key: str) -> ObjectInfo | None:
        name = self._name(key)
        with self._database("BEGIN") as connection:
            return self._info(connection, name)

    def refresh(self, key: str) -> ObjectInfo | None:
        name = self._name(key)
        with self._database() as connection:
            row = (uuid.uuid4().hex, time.time(), name)
            connection.execute("UPDATE objects SET stamp = ?, modified = ? WHERE key = ?", row)
            return self._info(connection, name)

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        name = self._name(key)
        with self._database() as connection:
            condition, more = ("", ()) if stamp is None else (" AND stamp = ?", (stamp,))
            return connection.execute(f"DELETE FROM objects WHERE key = ?{condition}", (name, *more)).rowcount == 1

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        check_prefix(prefix)
        with self._database("BEGIN") as connection:
            rows = connection.execute(INFO).fetchall()
        start = self.prefix + prefix
        found = sorted(row for row in rows if row[0].startswith(start))
        yield from (ObjectInfo(row[0].removeprefix(self.prefix), *row[1:]) for row in found)

    def path(self, key: str) -> Path | None:
        return LocalObjects(self.copies).path(key)

    def fetch(self, key: str) -> Path | None:
        data = self.get(key)
        if data is None:
            return None
        LocalObjects(self.copies).put(key, [data], read_only=True)
        return self.path(key)

    def uri(self, key: str) -> str:
        return f"shelf:{self.file}#{self._name(key)}"

    def ping(self) -> None:
        self.put("ping", [b""])
        self.delete("ping")

    def close(self) -> None:
        """Nothing stays open."""

    def describe(self) -> str:
        return f"shelf {self.file}"
