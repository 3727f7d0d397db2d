"""The connections of a process to one SQLite file: a few, whatever the number of threads.

A descriptor is what a process may run out of, and a connection in WAL mode takes two. So threads
take turns: a connection is lent for one statement or one transaction. What writes has a connection
of its own, so that a writer that waits for another process keeps no reader waiting.
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
"""Connections that read at the same time. More would wait for Python's own lock instead."""
_LOOK_AGAIN: Final = 0.5
OF_THE_MOMENT: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Errors that pass when somebody closes a file."""


class Connections:
    """The connections of one store; none is shared with a forked child.

    Args:
        path: the database file.
        on_gone: told when the file that was open is not the one at that path any more.

    Attributes:
        reading, writing: lend a connection.
    """

    def __init__(self, path: Path, on_gone: Callable[[], object]) -> None:
        self.reading = Pool(path, READERS, self._seen)
        # One process's writers wait for one another anyway.
        self.writing = Pool(path, 1, self._seen)
        self._on_gone = on_gone
        self._file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close them all; one that is lent is closed when it comes back."""
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
        limit: how many there are at most.
        seen: told which file was opened.
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
        # Weak: a time limit may strike a thread between two lines, and what it had borrowed comes back all the same.
        self._all: weakref.WeakSet[Lent] = weakref.WeakSet()
        self._adding = threading.Lock()

    def take(self) -> Lent:
        """Borrow a connection.

        Raises:
            sqlite3.Error, OSError: there is none to be had.
        """
        if self._pid != os.getpid():
            # A child must not close its parent's files, which would drop the parent's locks: they are kept, unused.
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
        """Give it back; a transaction that a signal or a task's time limit left open is rolled back."""
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
        """Close what is not lent."""
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
    """A connection, open or not yet.

    Args:
        owner: the set of those that are lent out together.

    Attributes:
        connection: the connection; not to be asked for before :meth:`open`.
        file: which file that is.
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
            sqlite3.Error, OSError, KVError: that failed.
        """
        state = state_of(path) if on_read_only(path) else None
        connection = _connect(path)
        status = path.stat()
        # Only now: while it is open nothing else can be the same file to the system.
        self.close()
        self.connection, self._state, self._place = connection, state, str(path)
        self.file = status.st_dev, status.st_ino

    def is_good_for(self, path: Path) -> bool:
        """Whether it shows what is there now: the file may have been removed, moved, or put there anew."""
        if self.file is None:
            return False
        try:
            status = os.stat(self._place)  # noqa: PTH116 - on the way of every look-up
        except FileNotFoundError:
            return False
        except OSError:
            return True  # the system does not tell
        if self.file != (status.st_dev, status.st_ino):
            return False
        # One that writes sees for itself what others write.
        return self._state is None or (self._state == state_of(path) and on_read_only(path))

    def close(self) -> None:
        """Close it; it can be opened again."""
        if self.file is not None:
            self.file = None
            self.connection.close()


def short_of_descriptors(error: Exception) -> bool:
    """Whether what failed did so because there are too many open files, which SQLite does not say."""
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
