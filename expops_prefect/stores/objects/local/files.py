"""Writing files for the local object store: whole or not at all, and under a lock where it matters."""

# Paths are str: pathlib costs more than the system calls of a small read.
# ruff: noqa: PTH108, PTH115, PTH120

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Final, TypeAlias

from expops_prefect._internal.files import FILE_MODE, READ_ONLY_MODE, make_folder, open_new
from expops_prefect._internal.process import of_process
from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.base import TEMPORARY, Buffer
from expops_prefect.stores.objects.local import direct

LOCK: Final = f"{TEMPORARY}lock"
"""The file to lock where a folder cannot be locked (NFS)."""
_IOV_MAX: Final = 512
_LARGE_PART: Final = 1 << 20
RefuseLinks: TypeAlias = Callable[[str, int | None], None]
"""Raises if a path contains a link. Also gets the open file, if there is one."""


class TemporaryNames:
    """Names of temporary files that are unique to this process; a forked child gets its own."""

    def __init__(self) -> None:
        self._numbers = count()
        self.in_forked_child()

    def in_forked_child(self) -> None:
        """Start names of its own in a forked child."""
        self._process = secrets.token_hex(8)

    def next(self) -> str:
        """The next name."""
        return f"{TEMPORARY}{self._process}-{next(self._numbers)}"


@contextmanager
def alone(root: str, *, required: bool = False) -> Iterator[None]:
    """Hold the store's lock while an entry is created, refreshed or removed.

    It keeps a removal, which checks first, from removing an entry that came after the check.

    Args:
        root: the store's folder.
        required: fail on a file system without locks; otherwise go on without one, because such a
            store never removes anything conditionally.

    Raises:
        OSError: the folder does not exist, or cannot be locked.
    """
    descriptor = _locked(root, required)
    try:
        yield
    finally:
        os.close(descriptor)


def _locked(root: str, required: bool) -> int:
    """A descriptor that holds the lock until it is closed."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return folder
    except OSError:
        file = -1
        try:
            file = open_new(f"{root}/{LOCK}", os.O_RDWR)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            if file >= 0:
                os.close(file)
            if not required:
                return folder
            os.close(folder)
            raise
        os.close(folder)
        return file


@contextmanager
def written(
    target: str, parts: Sequence[Buffer], read_only: bool, refuse_links: RefuseLinks, *, flush: bool = True
) -> Iterator[tuple[str, int]]:
    """A complete temporary file beside ``target``. The caller must rename or remove it, unless an error occurs.

    Args:
        target: the path that the caller renames it to.
        parts: its bytes.
        read_only: make the file read-only for everybody.
        refuse_links: called before folders are made, and once the file is open.
        flush: flush the file to the disk, and then the folders that were made.

    Yields:
        Its path and an open descriptor.

    Raises:
        OSError: writing failed.
    """
    temporary = f"{os.path.dirname(target)}/{of_process(TemporaryNames).next()}"
    descriptor, made = _open_new(temporary, READ_ONLY_MODE if read_only else FILE_MODE, refuse_links)
    try:
        refuse_links(temporary, descriptor)
        directly = _write(descriptor, parts, flush=flush)
        if flush:
            os.fsync(descriptor)
        yield temporary, descriptor
        if directly:
            direct.read_back(descriptor)
        if made and flush:
            sync_folder(os.path.dirname(target))
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def name_of(descriptor: int) -> str | None:
    """The path of an open file with every link resolved; ``None`` where the system does not tell."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return None


def content(descriptor: int, size: int) -> bytes:
    """All bytes of an open file.

    Args:
        descriptor: the file, at its beginning.
        size: its size. A small file is read in one call, because after each call this thread may have
            to wait for others.
    """
    if size < _LARGE_PART:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return data
        os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        return file.readall()


def _open_new(path: str, mode: int, refuse_links: RefuseLinks) -> tuple[int, bool]:
    """Create a file and the folders it needs; the descriptor, and whether folders were made."""
    made = False
    for _ in range(100):  # a deletion elsewhere may remove a folder that was just made
        try:
            return open_new(path, os.O_WRONLY | os.O_EXCL, mode), made
        except FileNotFoundError:
            refuse_links(path, None)
            made = True
            with suppress(FileNotFoundError):
                make_folder(os.path.dirname(path))
    raise ObjectStoreError(f"the folder of {path} is removed again and again; stop what deletes it")


def _write(descriptor: int, parts: Sequence[Buffer], *, flush: bool) -> bool:
    """Write a new file; return whether that bypassed the page cache."""
    views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    if flush and sum(view.nbytes for view in views) >= direct.FROM:
        if direct.write(descriptor, views):
            return True
        os.ftruncate(descriptor, 0)
    first = 0
    while first < len(views):
        last = first
        while last < len(views) and last - first < _IOV_MAX and views[last].nbytes < _LARGE_PART:
            last += 1
        # os.write splits a buffer that is too large for one system call, writev does not.
        written = os.write(descriptor, views[first]) if last == first else os.writev(descriptor, views[first:last])
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views[first] = views[first][written:]
    return False


def sync_folder(folder: str) -> None:
    """Flush the entries of a folder to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # emptied and removed by a deletion elsewhere
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
