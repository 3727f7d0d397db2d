"""Locks on files that a process holds until it ends, in whatever way it ends.

Such a lock belongs to the whole process: the process could take its own lock again, and closing any descriptor of
a locked file releases it. So locked files are tracked by device and inode, not by path, and are never opened
twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Literal, TypeAlias

from expops_prefect._internal.files import identity, make_folder, open_new
from expops_prefect._internal.process import ForkSafeLock

LockState: TypeAlias = Literal["held", "free", "unknown"]


class FileLocks:
    """The files that this process has locked. Get it with ``of_process(FileLocks)``."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._held: dict[tuple[int, int], tuple[Path, int]] = {}

    def create(self, path: Path, flags: int = 0) -> int:
        """Make a file and lock it.

        Args:
            path: the file; it must not exist.
            flags: flags of ``os.open`` in addition to those for reading and writing.

        Returns:
            Its descriptor, for :meth:`release`.

        Raises:
            OSError: it cannot be made, or the file system does not support locks.
        """
        make_folder(path.parent)
        with self._lock:
            descriptor = open_new(path, os.O_RDWR | os.O_EXCL | flags)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(descriptor)
                raise
            self._held[identity(os.fstat(descriptor))] = path, descriptor
        return descriptor

    def adopt(self, path: Path, flags: int = 0) -> int | None:
        """Lock a file whose process has ended.

        Args:
            path: the file.
            flags: as for :meth:`create`.

        Returns:
            Its descriptor; ``None`` if a process, including this one, holds it, or if it cannot be opened.
        """
        with self._lock:
            try:
                if identity(path.stat()) in self._held:
                    return None
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags)
            except OSError:
                return None
            if _lock(descriptor) != "free":
                os.close(descriptor)
                return None
            self._held[identity(os.fstat(descriptor))] = path, descriptor
        return descriptor

    def release(self, descriptor: int) -> None:
        """Unlock a file that this process has locked, and close it."""
        with self._lock, contextlib.suppress(OSError):
            self._held.pop(identity(os.fstat(descriptor)), None)
            os.close(descriptor)

    def remove(self, path: Path) -> None:
        """Delete a file that this process has locked under this path."""
        with self._lock:
            file = next((file for file, (held, _) in self._held.items() if held == path), None)
            if file is not None:
                _, descriptor = self._held.pop(file)
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
                os.close(descriptor)

    def read(self, path: Path) -> bytes:
        """The bytes of a file, even if it is locked.

        Raises:
            OSError: it cannot be read.
        """
        with self._lock:
            _, descriptor = self._held.get(identity(path.stat()), (path, None))
            if descriptor is not None:
                return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
            return path.read_bytes()

    def state(self, path: Path) -> LockState:
        """Whether a living process holds a file; processes on other machines may be unknown."""
        with self._lock:
            try:
                if identity(path.stat()) in self._held:
                    return "held"
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return "unknown"
            try:
                return _lock(descriptor)
            finally:
                os.close(descriptor)

    def in_forked_child(self) -> None:
        """Forget the parent's locks. Closing a descriptor here does not release them."""
        for _, descriptor in self._held.values():
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._held.clear()


def _lock(descriptor: int) -> LockState:
    """Try to lock; a file found ``free`` is locked from now on."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return "held"
    except OSError:
        return "unknown"
    return "free"
