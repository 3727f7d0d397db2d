"""BLAKE3 over buffers: on all cores when large, never copied, with the GIL released."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from blake3 import blake3

from expops_prefect._internal.process import of_process

DIGEST_SIZE: Final = 32
_PARALLEL_FROM: Final = 1 << 20
_OWN_POOL_FROM: Final = 8 << 20


class _Hashing:
    """Whether this process was forked: a forked child that used BLAKE3's shared thread pool would deadlock."""

    forked = False

    def in_forked_child(self) -> None:
        """Use separate thread pools from now on."""
        self.forked = True


_hashing: Final = of_process(_Hashing)


def threads_for(nbytes: int) -> int:
    """The ``max_threads`` for hashing this many bytes."""
    if not _hashing.forked:
        return blake3.AUTO if nbytes >= _PARALLEL_FROM else 1
    # An explicit number gives the hasher a separate pool, which costs more to start.
    return os.cpu_count() or 1 if nbytes >= _OWN_POOL_FROM else 1


def digest(data: bytes | bytearray | memoryview) -> bytes:
    """The 32-byte BLAKE3 digest of one contiguous buffer."""
    nbytes = data.nbytes if isinstance(data, memoryview) else len(data)
    return blake3(data, max_threads=threads_for(nbytes)).digest()


def digest_stream(parts: Iterable[bytes | bytearray | memoryview], total: int) -> bytes:
    """The digest of the concatenated buffers; ``total`` is their approximate size in bytes."""
    hasher = blake3(max_threads=threads_for(total))
    for part in parts:
        hasher.update(part)
    return hasher.digest()
