"""The SQLite schema: ExpOps' own table, an index beside it, and the migrations between format versions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from expops_prefect.errors import KVError

BUSY_SECONDS: Final = 10.0
"""How long a statement waits for the write of another process."""

FORMAT: Final = 2
"""The schema's version, kept in SQLite's ``user_version``; 0 is a new file or one that ExpOps made."""


def ensure_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database to this release's schema, keeping every row.

    Args:
        connection: an open connection in autocommit mode.
        path: named in errors.

    Raises:
        KVError: a newer release wrote the file.
    """
    _enter_wal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again inside the transaction: another process may have migrated meanwhile.
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise KVError(
                f"{path} was written by a newer expops-prefect (format {version}, this one supports {FORMAT}): "
                "upgrade expops-prefect, or point EXPOPS_RUNTIME_DIR to another folder"
            ).for_long()
        for step in _MIGRATIONS[version:]:
            step(connection)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    except BaseException:
        connection.rollback()
        raise
    connection.execute("COMMIT")


def _enter_wal(connection: sqlite3.Connection) -> None:
    # The busy handler does not cover the switch to WAL, which needs exclusive access to the file.
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _create(connection: sqlite3.Connection) -> None:
    # sqlite-utils takes a third of a second to import: only the process that makes the file pays for it.
    from sqlite_utils import Database

    database = Database(connection)
    database["kv"].create({"key": str, "value": str, "updated_at": float}, pk="key", if_not_exists=True)
    database["kv"].create_index(["updated_at"], index_name="idx_kv_updated_at", if_not_exists=True)
    # ExpOps scans prefixes with LIKE, for which SQLite uses an index only with this collation.
    connection.execute("CREATE INDEX IF NOT EXISTS idx_kv_key_nocase ON kv(key COLLATE NOCASE)")


def _add_tokens(connection: sqlite3.Connection) -> None:
    # A table of its own: a scan of ExpOps' table shows only keys that were put.
    connection.execute(
        "CREATE TABLE IF NOT EXISTS expops_prefect_tokens("
        "key TEXT, token TEXT, used_at REAL, PRIMARY KEY (key, token)) WITHOUT ROWID"
    )


_MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_create, _add_tokens)
"""The migration from each version to the next."""
