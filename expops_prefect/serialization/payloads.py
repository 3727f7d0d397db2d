"""Payloads: the large parts of a result, each stored as an object that is named by its content."""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

import blake3

from expops_prefect._internal.process import of_process
from expops_prefect.errors import IntegrityError
from expops_prefect.models import names
from expops_prefect.stores.objects.base import Buffer

Mapping: TypeAlias = Literal["copy-on-write", "readonly", "off"]

_THREADS_FROM: Final = 1 << 20
_MAP_FROM: Final = 1 << 20
"""Below this size, reading costs no more than the page faults and the open file of a mapping."""
_MAX_MAPPINGS: Final = 256
"""Before Python 3.13, a mapping keeps its file open; a process may be limited to 1,024 open files."""


@dataclass(frozen=True)
class PayloadRef:
    """A payload's name: BLAKE3 of its bytes (64 hex digits), its size in bytes, and its file suffix."""

    digest: str
    size: int
    suffix: str

    @property
    def key(self) -> str:
        """The object key."""
        return names.payload_key(self.digest, self.suffix)


@dataclass(frozen=True)
class Payload:
    """A payload to be written: its parts in file order, which are views of the result's own memory."""

    ref: PayloadRef
    parts: tuple[Buffer, ...]


class PayloadReader(Protocol):
    """Returns payloads to :func:`~expops_prefect.serialization.manifest.unpack`."""

    @property
    def mmap(self) -> Mapping:
        """How files are loaded; ``readonly`` makes every array that uses a payload's memory read-only."""

    @property
    def project_root(self) -> Path | None:
        """The root of the project to which paths of data files are relative; ``None`` if it is not known."""

    def data(self, ref: PayloadRef) -> Buffer:
        """The whole payload, verified against ``ref.digest``.

        The caller owns a writable buffer: the loaded value may use its memory and be changed.

        Raises:
            IntegrityError: it is missing or does not match the digest.
        """

    def file(self, ref: PayloadRef) -> Path | None:
        """A trusted local file with the payload; ``None`` to use :meth:`data` instead.

        Only called for payloads that cannot contain code.
        """


def digest(parts: Sequence[Buffer]) -> str:
    """BLAKE3 of the concatenated buffers, as 64 hex digits; they are not copied."""
    views = [memoryview(part) for part in parts]
    # Starting threads costs more than it saves on a small input.
    threads = blake3.blake3.AUTO if sum(view.nbytes for view in views) >= _THREADS_FROM else 1
    hasher = blake3.blake3(max_threads=threads)
    for view in views:
        if view.nbytes:
            hasher.update(view.cast("B"))
    return hasher.hexdigest()


def payload(parts: Sequence[Buffer], suffix: str) -> Payload:
    """A payload of these parts, with the digest of their content."""
    size = sum(memoryview(part).nbytes for part in parts)
    return Payload(PayloadRef(digest(parts), size, suffix), tuple(parts))


def load(ref: PayloadRef, reader: PayloadReader) -> memoryview:
    """The bytes of a payload without code: mapped or read, and writable unless ``reader.mmap`` is ``readonly``.

    The stored size is checked before anything is allocated.

    Raises:
        IntegrityError: the payload is missing or has another size.
    """
    file = reader.file(ref)
    if file is None:
        view = load_verified(ref, reader)
        if reader.mmap == "readonly":
            return view.toreadonly()
        return memoryview(bytearray(view)) if view.readonly else view
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise IntegrityError(f"payload {ref.key} cannot be opened: {error}") from error
    try:
        _check_size(ref, os.fstat(descriptor).st_size)
        if reader.mmap != "off" and ref.size >= _MAP_FROM:
            mapped = _map(descriptor, ref.size, writable=reader.mmap == "copy-on-write")
            if mapped is not None:
                return mapped
        view = _read(descriptor, ref)
        return view.toreadonly() if reader.mmap == "readonly" else view
    finally:
        os.close(descriptor)


def load_verified(ref: PayloadRef, reader: PayloadReader) -> memoryview:
    """The bytes of a payload as the reader verified them, for unpickling.

    Raises:
        IntegrityError: the payload is missing, damaged or has another size.
    """
    view = memoryview(reader.data(ref)).cast("B")
    _check_size(ref, view.nbytes)
    return view


def _check_size(ref: PayloadRef, found: int) -> None:
    if found != ref.size:
        raise IntegrityError(f"payload {ref.key} has {found} bytes instead of {ref.size}")


def _map(descriptor: int, size: int, *, writable: bool) -> memoryview | None:
    """A private mapping, which stays valid if the file is deleted or replaced; ``None`` at the limit of mappings."""
    access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
    try:
        if sys.version_info >= (3, 13):
            return memoryview(mmap.mmap(descriptor, size, access=access, trackfd=False))
        if len(of_process(_Mappings).held) >= _MAX_MAPPINGS:
            return None
        mapped = mmap.mmap(descriptor, size, access=access)
    except (OSError, ValueError):  # a file system without mappings, or the process's limit
        return None
    of_process(_Mappings).held.add(mapped)
    return memoryview(mapped)


class _Mappings:
    """The files that this process has mapped."""

    def __init__(self) -> None:
        self.held: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()


def _read(descriptor: int, ref: PayloadRef) -> memoryview:
    import numpy as np

    view: memoryview = np.empty(ref.size, dtype=np.uint8).data  # unlike a bytearray, not filled with zeros first
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        done = 0
        while done < ref.size:
            count = file.readinto(view[done:])
            if not count:
                raise IntegrityError(f"payload {ref.key} became shorter while it was read")
            done += count
    return view
