"""Files by their content."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from blake3 import blake3

from expops_prefect.fingerprint.buffers import threads_for
from expops_prefect.forks import ForkSafeLock

_CHUNK: Final = 8 << 20
_MOST_FILES: Final = 10_000
# A file that was written so recently may be written again without its times showing it.
_UNSETTLED_NS: Final = 2_000_000_000

_Stamp: TypeAlias = tuple[int, int, int, int, int]
_known: OrderedDict[str, tuple[_Stamp, str]] = OrderedDict()
_lock = ForkSafeLock()


def file_digest(path: str | os.PathLike[str]) -> str:
    """The BLAKE3 digest of a file's content, 64 hexadecimal digits.

    Remembered in the process for as long as size, times, device and inode stay the same.

    Raises:
        OSError: the file cannot be read (``FileNotFoundError``, ``IsADirectoryError`` and so on).
    """
    real = os.path.realpath(path)
    with open(real, "rb", buffering=0) as file:  # noqa: PTH123 - realpath gives a text
        before = _stamp(file.fileno())
        with _lock:
            known = _known.get(real)
            if known is not None and known[0] == before:
                _known.move_to_end(real)
                return known[1]
        hasher = blake3(max_threads=threads_for(before[0]))
        buffer = bytearray(min(_CHUNK, before[0] + 1))
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            hasher.update(view[:count])
        digest = hasher.hexdigest()
        after = _stamp(file.fileno())
    if after == before and time.time_ns() - max(before[1], before[2]) > _UNSETTLED_NS:
        with _lock:
            _known[real] = before, digest
            if len(_known) > _MOST_FILES:
                _known.popitem(last=False)
    return digest


def data_digest(path: str | os.PathLike[str]) -> str:
    """The digest of a file, or of all that is below a folder: names and contents, links followed.

    Raises:
        OSError: something of it cannot be read.
    """
    if not Path(path).is_dir():
        return file_digest(path)
    hasher = blake3(b"folder")
    for name, what in _below(os.fspath(path), "", ()):
        for part in (name, what):
            data = os.fsencode(part)
            hasher.update(len(data).to_bytes(8, "little") + data)
    return hasher.hexdigest()


def _below(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    real = os.path.realpath(folder)
    if real in above:
        yield prefix, "a folder around it"
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_file():
            yield name, f"file {file_digest(entry.path)}"
        elif entry.is_dir():
            yield name, "folder"
            yield from _below(entry.path, f"{name}/", (*above, real))
        else:
            yield name, "neither file nor folder"


def _stamp(descriptor: int) -> _Stamp:
    status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


@dataclass(frozen=True)
class DataFile(os.PathLike[str]):
    """A path that counts by the content of its file, not by its name.

    Usable wherever a path is: ``open(data)``, ``pandas.read_csv(data)``, ``Path(data)``.

    Example:
        >>> train(DataFile("data/train.csv"))  # runs again when the file has changed
    """

    path: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", os.fspath(path))

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def __expops_fingerprint__(self) -> object:
        """Its content's digest."""
        return file_digest(self.path)
