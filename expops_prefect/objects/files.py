"""Writing files for the local object store: whole or not at all, and one at a time where it matters."""

# Paths are text here: pathlib costs more than the system calls of a small read.
# ruff: noqa: PTH103, PTH108, PTH120

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from expops_prefect.errors import ObjectStoreError
from expops_prefect.objects.base import TEMPORARY, Buffer

LOCK: Final = f"{TEMPORARY}lock"
"""The file that is locked where a folder cannot be (NFS)."""
_IOV_MAX: Final = 512
_LARGE_PART: Final = 1 << 20


@contextmanager
def alone(root: str, *, required: bool = False) -> Iterator[None]:
    """Hold the store's lock, for the moment in which a name is given, renewed or removed.

    It keeps a removal that looks first from removing what came after its look.

    Args:
        root: the store's folder.
        required: fail on a file system that knows no locks; otherwise go on without, because there
            nothing is removed that way.

    Raises:
        OSError: there is no such folder, or no lock.
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
            file = os.open(f"{root}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
def written(target: str, parts: Sequence[Buffer], read_only: bool) -> Iterator[tuple[str, int]]:
    """A complete, flushed temporary file beside ``target``; removed at the end if it still has its name.

    Args:
        target: the path that the caller gives it then.
        parts: its bytes.
        read_only: mode 0444.

    Yields:
        Its path and an open descriptor.

    Raises:
        OSError: it could not be written.
    """
    temporary = f"{os.path.dirname(target)}/{TEMPORARY}{secrets.token_hex(8)}"
    descriptor, made = _open_new(temporary, 0o444 if read_only else 0o666)
    try:
        _write(descriptor, parts)
        os.fsync(descriptor)
        yield temporary, descriptor
        if made:
            _sync_folder(os.path.dirname(target))
    finally:
        os.close(descriptor)
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _open_new(path: str, mode: int) -> tuple[int, bool]:
    """Create a file and the folders it needs; the descriptor, and whether folders were made."""
    made = False
    for _ in range(100):  # a deletion elsewhere may remove a folder that was just made
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), made
        except FileNotFoundError:
            made = True
            with suppress(FileNotFoundError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
    raise ObjectStoreError(f"the folder of {path} is removed again and again; stop what deletes it")


def _write(descriptor: int, parts: Sequence[Buffer]) -> None:
    views = [memoryview(part).cast("B") for part in parts if memoryview(part).nbytes]
    first = 0
    while first < len(views):
        last = first
        while last < len(views) and last - first < _IOV_MAX and views[last].nbytes < _LARGE_PART:
            last += 1
        # os.write splits what is too large for one system call, writev does not.
        written = os.write(descriptor, views[first]) if last == first else os.writev(descriptor, views[first:last])
        while first < len(views) and written >= views[first].nbytes:
            written -= views[first].nbytes
            first += 1
        if written:
            views[first] = views[first][written:]


def _sync_folder(folder: str) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # emptied and removed by a deletion elsewhere
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
