"""BLAKE3 over buffers: on all cores when large, never copied, with the GIL released."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

DIGEST_SIZE: Final = 32
_PARALLEL_FROM: Final = 1 << 20
_OWN_POOL_FROM: Final = 8 << 20
_forked = False


def _note_fork() -> None:
    global _forked
    _forked = True


# BLAKE3's shared thread pool does not survive a fork: a child that used it would wait for ever.
os.register_at_fork(after_in_child=_note_fork)


def threads_for(nbytes: int) -> int:
    """The ``max_threads`` with which to hash so many bytes."""
    if not _forked:
        return blake3.AUTO if nbytes >= _PARALLEL_FROM else 1
    # An explicit number makes a pool of the hasher's own, which costs more to start.
    return os.cpu_count() or 1 if nbytes >= _OWN_POOL_FROM else 1


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """The 32-byte BLAKE3 digest of one contiguous buffer."""
    nbytes = data.nbytes if isinstance(data, memoryview) else len(data)
    return blake3(data, max_threads=threads_for(nbytes)).digest()


def digest_stream(parts: Iterable[bytes | bytearray | memoryview], total: int) -> bytes:
    """The digest of buffers taken as one; ``total`` is about how many bytes they hold together."""
    hasher = blake3(max_threads=threads_for(total))
    for part in parts:
        hasher.update(part)
    return hasher.digest()
