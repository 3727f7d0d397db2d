"""A project's database on a file system that is mounted read-only: a snapshot, an image, a shared volume."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, TypeAlias

from expops_prefect.errors import KVError
from expops_prefect.stores.kv.sqlite.schema import BUSY_SECONDS, FORMAT

State: TypeAlias = tuple[tuple[int, int, int] | None, ...]
_LOG: Final = "-wal"


def on_read_only(path: Path) -> bool:
    """Whether a path is on a file system that is mounted read-only, even if the file does not exist."""
    for place in (path, *path.parents):
        try:
            return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return False


def state_of(path: Path) -> State:
    """A stamp that changes when another machine, which may write to the file system, changes the database."""
    return _stamp(path), _stamp(_log_of(path))


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database for reading, without creating files beside it.

    Raises:
        KVError: a newer release wrote it.
        sqlite3.Error: it cannot be read: its last changes may be in a log without an index.
    """
    log = _stamp(_log_of(path))
    # A normal read-only connection needs the log's index beside the database and cannot make it here. `immutable`
    # needs none, but ignores the log, so use it only where there is no log.
    options = "mode=ro" if log is not None and log[0] else "mode=ro&immutable=1"
    place = f"{path.as_uri()}?{options}"
    connection = sqlite3.connect(place, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise KVError(
                f"{path} was written by a newer expops-prefect (format {version}, this one supports {FORMAT}): "
                "upgrade expops-prefect"
            ).for_long()
    except BaseException:
        connection.close()
        raise
    return connection


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + _LOG)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
