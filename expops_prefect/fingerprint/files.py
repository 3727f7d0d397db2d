"""Digests of files and folders by their content."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from blake3 import blake3

from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.config.model import IGNORED
from expops_prefect.fingerprint.buffers import threads_for

_CHUNK: Final = 8 << 20
_MOST_FILES: Final = 10_000
_MOST_FOLDERS: Final = 256
_AROUND: Final = -1
# A file that was written this recently may be written again without a change of its times.
_UNSETTLED_NS: Final = 2_000_000_000

_Stamp: TypeAlias = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class DataRules:
    """What is left out of the digests of data folders.

    Attributes:
        names: ``fnmatch`` patterns of names.
        without: a folder that is left out wherever it occurs: the project's own results.
        folders: collects the folders that are hashed by content; ``None`` to collect nothing.
    """

    names: tuple[str, ...] = IGNORED
    without: Path | None = None
    folders: list[str] | None = field(default=None, compare=False)

    def ignores(self, name: str) -> bool:
        """Whether a file or folder of this name is left out."""
        return _pattern(self.names).match(name) is not None

    def leaves_out(self, status: os.stat_result) -> bool:
        """Whether this is the folder that is left out."""
        return self._place == (status.st_dev, status.st_ino)

    @cached_property
    def _place(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.without) if self.without is not None else None  # noqa: PTH116
        except OSError:
            return None
        return None if status is None else (status.st_dev, status.st_ino)


USUAL: Final = DataRules()
# A context variable, because the fingerprint method of a class has no argument for the project.
_rules: ContextVar[DataRules] = ContextVar("expops_data_rules", default=USUAL)


@contextmanager
def counting(rules: DataRules) -> Iterator[DataRules]:
    """Hash data folders by these rules."""
    token = _rules.set(rules)
    try:
        yield rules
    finally:
        _rules.reset(token)


@lru_cache(maxsize=64)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, names)) or r"(?!)")


def file_digest(path: str | os.PathLike[str]) -> str:
    """The BLAKE3 digest of a file's content, 64 hexadecimal digits.

    Cached in the process while size, times, device and inode stay the same.

    Raises:
        OSError: the file cannot be read (``FileNotFoundError``, ``IsADirectoryError`` and so on).
    """
    real = os.path.realpath(path)
    with open(real, "rb", buffering=0) as file:  # noqa: PTH123 - realpath returns a string
        before = _stamp(file.fileno())
        digests = of_process(_Digests)
        known = digests.get(real, before)
        if known is not None:
            return known
        hasher = blake3(max_threads=threads_for(before[0]))
        buffer = bytearray(min(_CHUNK, before[0] + 1))
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            hasher.update(view[:count])
        digest = hasher.hexdigest()
        after = _stamp(file.fileno())
    if after == before and time.time_ns() - max(before[1], before[2]) > _UNSETTLED_NS:
        digests.put(real, before, digest)
    return digest


def remember_digest(path: str, digest: str) -> None:
    """Remember the digest of a file that was just written by this process, with a time of change in the past.

    A later write sets another time, so it is noticed, however soon it follows.

    Args:
        path: the file.
        digest: of its content.
    """
    real = os.path.realpath(path)
    stamp = _stamp_of(os.stat(real))  # noqa: PTH116 - a string
    if time.time_ns() - stamp[1] > _UNSETTLED_NS:
        of_process(_Digests).put(real, stamp, digest)


class _Digests:
    """The files and folders whose digests this process knows, by real path."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._files: OrderedDict[str, tuple[_Stamp, str]] = OrderedDict()
        self._folders: OrderedDict[tuple[str, bool, DataRules], _Folder] = OrderedDict()

    def get(self, real: str, stamp: _Stamp | None) -> str | None:
        """The digest of a file while it has this stamp."""
        with self._lock:
            known = self._files.get(real)
            if known is None or known[0] != stamp:
                return None
            self._files.move_to_end(real)
            return known[1]

    def put(self, real: str, stamp: _Stamp, digest: str) -> None:
        """Remember a file's digest."""
        with self._lock:
            self._files[real] = stamp, digest
            if len(self._files) > _MOST_FILES:
                self._files.popitem(last=False)

    def folder(self, real: str, rules: DataRules, *, links: bool) -> _Folder:
        """The cached state of a folder."""
        key = real, links, rules
        with self._lock:
            folder = self._folders.setdefault(key, _Folder())
            self._folders.move_to_end(key)
            if len(self._folders) > _MOST_FOLDERS:
                self._folders.popitem(last=False)
        return folder


def data_digest(path: str | os.PathLike[str], *, links: bool = False) -> str:
    """The digest of a file, or of everything below a folder: names and contents, with links followed.

    Names in :class:`DataRules` are left out. A folder's files are not opened again while its stamps and theirs
    stay the same.

    Args:
        path: the file or folder.
        links: whether to include the target of a broken link.

    Raises:
        OSError: a part of it cannot be read.
    """
    status = os.stat(path)  # noqa: PTH116 - on the hot path of every lookup
    if not stat.S_ISDIR(status.st_mode):
        return file_digest(path)
    rules = _rules.get()
    real = os.path.realpath(path)
    if rules.folders is not None:
        rules.folders.append(real)
    asked = time.monotonic_ns()
    folder = of_process(_Digests).folder(real, rules, links=links)
    with folder.looking:
        if folder.began < asked:
            began = time.monotonic_ns()
            _look_again(folder, real, status, rules, links=links)
            folder.began = began
        return folder.digest


@dataclass
class _Folder:
    """The cached state of a data folder.

    Attributes:
        looking: held during a scan; threads that ask meanwhile share the next scan.
        began: when the last scan began.
        stamps: a digest of the stamps of its entries; empty if they cannot be relied on.
        digest: the digest of the contents.
    """

    looking: ForkSafeLock = field(default_factory=ForkSafeLock)
    began: int = -1
    stamps: str = ""
    digest: str = ""


def _look_again(folder: _Folder, real: str, status: os.stat_result, rules: DataRules, *, links: bool) -> None:
    stamps, newest, entries = _look(real, status, rules)
    if stamps == folder.stamps:
        return
    folder.stamps = ""
    hasher = blake3(b"folder")
    for entry in entries:
        for part in (entry.name, _what(entry, links=links)):
            data = os.fsencode(part)
            hasher.update(len(data).to_bytes(8, "little") + data)
    folder.digest = hasher.hexdigest()
    if time.time_ns() - newest > _UNSETTLED_NS and _look(real, status, rules)[0] == stamps:
        folder.stamps = stamps


class _Entry(NamedTuple):
    """An entry below a folder; ``mode`` is 0 for a broken link, -1 for a link to a parent folder.

    Files have the stamp of the scan.
    """

    name: str
    path: str
    mode: int
    stamp: _Stamp | None = None


def _what(entry: _Entry, *, links: bool) -> str:
    if entry.mode == _AROUND:
        return "a folder around it"
    if stat.S_ISREG(entry.mode):
        # Only the files that have changed are opened.
        return f"file {of_process(_Digests).get(entry.path, entry.stamp) or file_digest(entry.path)}"
    if stat.S_ISDIR(entry.mode):
        return "folder"
    if links and not entry.mode:
        return f"link {os.readlink(entry.path)}"  # noqa: PTH115 - text
    return "neither file nor folder"


def _look(folder: str, status: os.stat_result, rules: DataRules) -> tuple[str, int, list[_Entry]]:
    """A digest of all stamps below a folder, the newest time among them, and the entries."""
    entries: list[_Entry] = []
    hasher = blake3()
    newest = 0
    for entry, found in _below(folder, "", (status,), rules):
        entries.append(entry)
        if found is None:
            text = "" if entry.mode else os.readlink(entry.path)  # noqa: PTH115 - text
        elif stat.S_ISDIR(entry.mode):
            text = "folder"  # its names follow
        else:
            stamp = _stamp_of(found)
            newest = max(newest, stamp[1], stamp[2])
            text = f"{entry.mode} {stamp}"
        hasher.update(os.fsencode(f"{entry.name}\0{text}\0"))
    return hasher.hexdigest(), newest, entries


def _below(
    folder: str, prefix: str, above: tuple[os.stat_result, ...], rules: DataRules
) -> Iterator[tuple[_Entry, os.stat_result | None]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        if rules.ignores(entry.name):
            continue
        name = f"{prefix}{entry.name}"
        try:
            status = entry.stat()
        except FileNotFoundError:
            if not entry.is_symlink():
                raise  # it was just removed
            yield _Entry(name, entry.path, 0), None
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield _Entry(name, entry.path, status.st_mode, _stamp_of(status)), status
        elif not rules.leaves_out(status):
            yield _Entry(name, entry.path, status.st_mode), status
            if any(os.path.samestat(status, other) for other in above):
                yield _Entry(f"{name}/", entry.path, _AROUND), None
            else:
                yield from _below(entry.path, f"{name}/", (*above, status), rules)


def _stamp(descriptor: int) -> _Stamp:
    return _stamp_of(os.fstat(descriptor))


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


_root: ContextVar[str | None] = ContextVar("expops_root_of_results", default=None)


@contextmanager
def portable_paths(root: Path | None) -> Iterator[None]:
    """Pickle paths of a :class:`DataFile` below a project's root relative to it, and load them below it.

    Args:
        root: the project's root; ``None`` to keep paths as they are.
    """
    token = _root.set(None if root is None else str(root))
    try:
        yield
    finally:
        _root.reset(token)


def _below_root(path: str) -> DataFile:
    return DataFile(os.path.join(_root.get() or "", path))  # noqa: PTH118 - text


@dataclass(frozen=True)
class DataFile(os.PathLike[str]):
    """A path that is fingerprinted by the content of its file, not by its name.

    A folder is fingerprinted by everything below it: names, contents, links. Files of editors and of the system are
    left out, see ``prefect.cache.ignore_files``.

    Use it like a path: ``open(data)``, ``pandas.read_csv(data)``, ``Path(data)``.

    Example:
        >>> train(DataFile("data/train.csv"))  # runs again when the file has changed
    """

    path: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", os.fspath(path))

    def __reduce__(self) -> tuple[Any, ...]:
        root = _root.get()
        if root is not None and self.path.startswith(f"{root}{os.sep}"):
            return _below_root, (self.path[len(root) + 1 :],)
        return DataFile, (self.path,)

    def __fspath__(self) -> str:
        return self.path

    def __str__(self) -> str:
        return self.path

    def __expops_fingerprint__(self) -> object:
        """The digest of its content."""
        try:
            if os.path.isdir(self.path):  # noqa: PTH112 - a string
                return "folder", data_digest(self.path, links=True)
            return file_digest(self.path)
        except OSError as error:
            error.filename = error.filename or self.path
            raise
