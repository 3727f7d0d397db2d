"""Direct I/O for large files: they are flushed to disk anyway, so copying them to the page cache first costs time.

The system then reads the file back, in parallel with the flow, so that later hits find it in memory.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

FROM: Final = 16 << 20
"""Bytes from which on direct I/O pays."""
_CHUNK: Final = 8 << 20
_ALIGNMENT: Final = 4096
"""Alignment of offsets, lengths and memory that all file systems accept."""
_READ_BACK: Final = 2 << 30
"""Larger files would push what other programs use out of memory."""
_AHEAD: Final = 128 << 10
"""Bytes that the system accepts in one read-ahead request."""
_UNABLE: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
_FLAG: Final = getattr(os, "O_DIRECT", 0)


def write(descriptor: int, views: Sequence[memoryview]) -> bool:
    """Write a new file; ``False`` if the file system does not support it. The file may then hold anything.

    Args:
        descriptor: the empty file.
        views: its bytes.

    Raises:
        OSError: writing failed for another reason.
    """
    if not _FLAG:
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _FLAG)
    except OSError:
        return False
    try:
        # Never closed: the traceback of an exception may still refer to parts of it.
        return _in_chunks(descriptor, views, memoryview(mmap.mmap(-1, _CHUNK)))
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _in_chunks(descriptor: int, views: Sequence[memoryview], chunk: memoryview) -> bool:
    place = filled = 0
    for view in views:
        taken = 0
        while taken < view.nbytes:
            size = min(_CHUNK - filled, view.nbytes - taken)
            chunk[filled : filled + size] = view[taken : taken + size]
            taken += size
            filled += size
            if filled == _CHUNK:
                if not _written(descriptor, chunk, place):
                    return False
                place, filled = place + _CHUNK, 0
    if filled:
        whole = filled + -filled % _ALIGNMENT
        if not _written(descriptor, chunk[:whole], place):
            return False
        os.ftruncate(descriptor, place + filled)
    return True


def _written(descriptor: int, chunk: memoryview, place: int) -> bool:
    done = 0
    while done < chunk.nbytes:
        try:
            count = os.pwrite(descriptor, chunk[done:], place + done)
        except OSError as error:
            if error.errno in _UNABLE:
                return False
            raise
        if count < _ALIGNMENT:
            return False
        done += count - count % _ALIGNMENT
    return True


def read_back(descriptor: int) -> None:
    """Have the system read a file into memory, in a thread of its own, so that nobody waits for it.

    If that is not possible, only some speed is lost.
    """
    if os.fstat(descriptor).st_size > _READ_BACK or not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):
        copy = os.dup(descriptor)
        try:
            threading.Thread(target=_read_back, args=(copy,), name="expops-read-back", daemon=True).start()
        except RuntimeError:  # too many threads, or the interpreter is ending
            os.close(copy)


def _read_back(descriptor: int) -> None:
    try:
        with suppress(OSError):
            for place in range(0, os.fstat(descriptor).st_size, _AHEAD):
                os.posix_fadvise(descriptor, place, _AHEAD, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)
