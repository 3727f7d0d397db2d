"""Large files past the page cache: they are flushed to disk anyway, and copying them there first takes longer.

What was written is then read back by the system, beside the flow, so that the hits that follow find it in memory.
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
"""Bytes from which on it pays."""
_CHUNK: Final = 8 << 20
_ALIGNMENT: Final = 4096
"""Of places, lengths and memory: what all file systems take."""
_READ_BACK: Final = 2 << 30
"""Larger files would push what other programs use out of memory."""
_AHEAD: Final = 128 << 10
"""What the system takes in one request to read ahead."""
_UNABLE: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP})
_FLAG: Final = getattr(os, "O_DIRECT", 0)


def write(descriptor: int, views: Sequence[memoryview]) -> bool:
    """Write a new file; ``False`` where the file system does not do that, and the file may then hold anything.

    Args:
        descriptor: the empty file.
        views: its bytes.

    Raises:
        OSError: it could not be written, for another reason.
    """
    if not _FLAG:
        return False
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _FLAG)
    except OSError:
        return False
    try:
        # Never closed: an exception's traceback still refers to parts of it.
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
    """Have the system read a file into memory, in a thread of its own: what it takes is nobody's wait.

    Where that cannot be, nothing is missing but some speed.
    """
    if os.fstat(descriptor).st_size > _READ_BACK or not hasattr(os, "posix_fadvise"):
        return
    with suppress(OSError):
        copy = os.dup(descriptor)
        try:
            threading.Thread(target=_read_back, args=(copy,), name="expops-read-back", daemon=True).start()
        except RuntimeError:  # there are too many, or the interpreter is ending
            os.close(copy)


def _read_back(descriptor: int) -> None:
    try:
        with suppress(OSError):
            for place in range(0, os.fstat(descriptor).st_size, _AHEAD):
                os.posix_fadvise(descriptor, place, _AHEAD, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)
