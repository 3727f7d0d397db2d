"""The SQLite connections of a process: a few, whatever the number of threads.

File descriptors are scarce, and a connection in WAL mode takes two. So threads take turns: a
connection is lent for one statement or one transaction. Writers have a connection of their own, so
that a writer that waits for another process does not block readers.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from expops_prefect._internal.files import make_file, make_folder
from expops_prefect.stores.kv.sqlite.readonly import connect_to_read, on_read_only, state_of
from expops_prefect.stores.kv.sqlite.schema import BUSY_SECONDS, FORMAT, ensure_schema

READERS: Final = 4
"""Connections that read at the same time. More of them would only wait for the GIL."""
_LOOK_AGAIN: Final = 0.5
OF_THE_MOMENT: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors that pass once another process has closed a file."""


class Connections:
    """The connections of one store; a forked child opens its own.

    Args:
        path: the database file.
        on_gone: called when the file at the path is no longer the one that was open.

    Attributes:
        reading, writing: the pools that lend connections.
    """

    def __init__(self, path: Path, on_gone: Callable[[], object]) -> None:
        self.reading = Pool(path, READERS, self._seen)
        # The writers of one process wait for one another anyway.
        self.writing = Pool(path, 1, self._seen)
        self._on_gone = on_gone
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close all; a connection that is lent is closed when it comes back."""
        self.reading.close()
        self.writing.close()

    def _seen(self, file: tuple[int, int] | None) -> None:
        known, self._file = self._file, file
        if known is not None and file != known:
            self._on_gone()


class Pool:
    """Lends connections, each to one thread at a time.

    Args:
        path: the database file.
        limit: the most connections.
        seen: called with the identity of each file that was opened.
    """

    def __init__(self, path: Path, limit: int, seen: Callable[[tuple[int, int] | None], object]) -> None:
        self._path = path
        self._limit = limit
        self._seen = seen
        self._inherited: list[object] = []
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._pid = os.getpid()
        self._idle: SimpleQueue[Lent] = SimpleQueue()
        # Weak: a time limit may interrupt a thread between two lines; what it had borrowed is released all the same.
        self._all: weakref.WeakSet[Lent] = weakref.WeakSet()
        self._adding = threading.Lock()

    def take(self) -> Lent:
        """Borrow a connection.

        Raises:
            sqlite3.Error, OSError: no connection can be had.
        """
        if self._pid != os.getpid():
            # Closing the parent's files in a child would drop the parent's locks: keep them, unused.
            self._inherited += [self._idle, *self._all]
            self._start_afresh()
        try:
            lent = self._idle.get_nowait()
        except Empty:
            lent = self._another()
        try:
            if not lent.is_good_for(self._path):
                lent.open(self._path)
                self._seen(lent.file)
        except BaseException:
            self._all.discard(lent)
            raise
        return lent

    def give(self, lent: Lent) -> None:
        """Return a connection; roll back a transaction that a signal or a task's time limit left open."""
        try:
            if lent.connection.in_transaction:
                lent.connection.rollback()
        except BaseException:
            self._all.discard(lent)
            raise
        if lent.owner is self._all:
            self._idle.put(lent)
        else:
            lent.close()

    def close(self) -> None:
        """Close the connections that are not lent."""
        if self._pid != os.getpid():
            return
        idle = self._idle
        self._start_afresh()
        while not idle.empty():
            idle.get_nowait().close()

    def _another(self) -> Lent:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            with self._adding:
                if len(self._all) < self._limit:
                    lent = Lent(self._all)
                    self._all.add(lent)
                    return lent
            try:
                return self._idle.get(timeout=min(_LOOK_AGAIN, max(0.0, deadline - time.monotonic())))
            except Empty:
                if time.monotonic() >= deadline:
                    raise sqlite3.OperationalError("database is locked: other threads wait for it too") from None


class Lent:
    """A connection that is open, or will be opened.

    Args:
        owner: the pool's connections at the time; after the pool was closed, a returned connection is closed too.

    Attributes:
        connection: the connection; set by :meth:`open`.
        file: the device and inode of the open file.
    """

    __slots__ = ("__weakref__", "_place", "_state", "connection", "file", "owner")

    connection: sqlite3.Connection

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.file: tuple[int, int] | None = None
        self._state: object | None = None
        self._place = ""

    def open(self, path: Path) -> None:
        """Connect.

        Raises:
            sqlite3.Error, OSError, KVError: it could not be opened.
        """
        state = state_of(path) if on_read_only(path) else None
        connection = _connect(path)
        status = path.stat()
        # Close only now: while the old file is open, the system cannot reuse its inode.
        self.close()
        self.connection, self._state, self._place = connection, state, str(path)
        self.file = status.st_dev, status.st_ino

    def is_good_for(self, path: Path) -> bool:
        """Whether it still shows the current file, which may have been removed, moved or replaced."""
        if self.file is None:
            return False
        try:
            status = os.stat(self._place)  # noqa: PTH116 - on the way of every look-up
        except FileNotFoundError:
            return False
        except OSError:
            return True  # the system gives no inode
        if self.file != (status.st_dev, status.st_ino):
            return False
        # On a writable file system SQLite notices the changes of others itself.
        return self._state is None or (self._state == state_of(path) and on_read_only(path))

    def close(self) -> None:
        """Close it; you can open it again."""
        if self.file is not None:
            self.file = None
            self.connection.close()


def short_of_descriptors(error: Exception) -> bool:
    """Whether it failed because too many files are open, which SQLite does not say."""
    if isinstance(error, OSError):
        return error.errno in OF_THE_MOMENT
    if "unable to open" in str(error):
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as other:
            return other.errno in OF_THE_MOMENT
    return False


def _connect(path: Path) -> sqlite3.Connection:
    if on_read_only(path) and path.exists():
        return connect_to_read(path)
    make_folder(path.parent)
    make_file(path)
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
