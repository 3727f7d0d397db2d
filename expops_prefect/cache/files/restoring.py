"""Puts the files of a result back: each file or folder whole, under its own name, or not at all.

A copy is made beside the target, under a temporary name, and then renamed. Where the file system can share blocks
between files, a copy takes no space; where ``prefect.cache.hard_links`` asks for it, the target is the stored file.
What somebody changed is dealt with as ``prefect.cache.files`` says; a file whose content the cache has can be had
again, and is replaced without asking.
"""

# Paths are str: a folder may have many thousand files.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH105, PTH108, PTH112, PTH113, PTH114, PTH116, PTH118, PTH121, PTH208
# ruff: noqa: PTH211

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from blake3 import blake3

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache.files.tree import NotStorableError, Scanned, scan
from expops_prefect.cache.payloads import verified_copy
from expops_prefect.errors import ExpOpsPrefectError, IntegrityError
from expops_prefect.fingerprint.buffers import threads_for
from expops_prefect.fingerprint.files import file_digest, remember_digest
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, StoredPayload
from expops_prefect.record.file_lists import FILE_SUFFIX, Entry, StoredPath
from expops_prefect.stores.objects.base import GRACE, TEMPORARY

_CHUNK: Final = 8 << 20
_CLONE: Final = 0x40049409
"""The request ``FICLONE`` of Linux: let a file share the blocks of another one."""
_PARALLEL: Final = 8
_SETTLED: Final = 3.0
"""Seconds by which the times of a restored file are in the past at least, so that any later change is noticed."""
_LONGEST_NAME: Final = 255


class NotRestoredError(ExpOpsPrefectError):
    """A file of a result could not be put back, so its task is executed; the message says why."""


def restore(project: Project, record: CacheRecord, paths: Sequence[StoredPath]) -> list[str]:
    """Put the files of a result back where they are missing or differ.

    Args:
        project: the project.
        record: the record of the result.
        paths: its files.

    Returns:
        Their absolute paths.

    Raises:
        NotRestoredError: a file could not be written, or was changed and may not be replaced.
        IntegrityError: a stored content is missing or damaged.
        ObjectStoreError: the object store failed.
    """
    found = []
    for item in paths:
        place = os.path.join(project.settings.root, item.path)
        target = _Target(project, item, place, min(record.ended_at, time.time() - _SETTLED))
        try:
            target.restore()
        except OSError as error:
            raise NotRestoredError(f"{item.path} cannot be put back: {error}") from error
        found.append(place)
    return found


class _Target:
    """One file or folder of a result, and the place where it belongs.

    Args:
        project: the project.
        item: the file or folder.
        place: its absolute path.
        written: the time of change that restored files get, epoch seconds.
    """

    def __init__(self, project: Project, item: StoredPath, place: str, written: float) -> None:
        self._project = project
        self._item = item
        self._place = place
        self._written = written
        self._parent, self._name = os.path.split(place)

    def restore(self) -> None:
        """Put it back, unless it is there."""
        if self._is_there():
            return
        os.makedirs(self._parent, exist_ok=True)
        self._sweep()
        temporary = os.path.join(self._parent, f"{self._temporary}{secrets.token_hex(8)}")
        try:
            self._build(temporary)
            with _alone(self._parent):
                # Another task run may have put it back meanwhile.
                if not self._is_there():
                    self._set_aside()
                    self._put(temporary)
            self._remember()
        finally:
            _remove(temporary)

    # What is there ----------------------------------------------------------------------------------

    def _is_there(self) -> bool:
        """Whether it is there already; corrects permissions."""
        try:
            found = scan(self._place, self._project.data_rules())
        except (FileNotFoundError, NotADirectoryError, NotStorableError):
            return False
        wanted = {entry.name: entry for entry in self._item.entries}
        if wanted.keys() != {entry.name for entry in found}:
            return False
        if not all(self._is_same(entry, wanted[entry.name]) for entry in found):
            return False
        for entry in found:
            if entry.mode == wanted[entry.name].mode:
                continue
            if entry.kind == "file" and self._is_link(wanted[entry.name]):
                if not self._links:
                    return False  # it was linked by another rule: its mode is that of the stored file
                continue
            os.chmod(self._path_of(entry.name), wanted[entry.name].mode)
        return True

    @property
    def _links(self) -> bool:
        return self._project.settings.cache.hard_links

    def _is_link(self, entry: Entry) -> bool:
        """Whether the file there is a hard link to the stored one."""
        path = self._path_of(entry.name)
        try:
            return os.stat(path).st_nlink > 1 and os.path.samefile(path, self._source(entry))
        except (OSError, ExpOpsPrefectError):
            return False

    def _is_same(self, found: Scanned, wanted: Entry) -> bool:
        if (found.kind, found.target) != (wanted.kind, wanted.target):
            return False
        if found.stamp is None:
            return True
        return found.stamp[0] == wanted.size and file_digest(self._path_of(found.name)) == wanted.digest

    def _path_of(self, name: str) -> str:
        return os.path.join(self._place, name) if name else self._place

    def _changed(self) -> str | None:
        """The first file there that nobody could get back; ``None`` if the cache has all."""
        if not os.path.lexists(self._place):
            return None
        try:
            found = scan(self._place, self._project.data_rules())
        except NotStorableError:
            return self._name
        wanted = {entry.name: entry for entry in self._item.entries}
        for entry in found:
            known = wanted.get(entry.name)
            if known is not None and self._is_same(entry, known):
                continue
            if entry.kind == "folder" and entry.name:
                continue
            if entry.kind == "file":
                key = names.payload_key(file_digest(self._path_of(entry.name)), FILE_SUFFIX)
                if self._project.objects.stat(key) is not None:
                    continue
            elif not entry.name:
                continue
            return os.path.join(self._name, entry.name) if entry.name else self._name
        return None

    def _set_aside(self) -> None:
        """Keep what somebody changed, or refuse to replace it."""
        changed, rule = self._changed(), self._project.settings.cache.files
        if changed is None or rule == "replace":
            return
        if rule == "refuse":
            raise NotRestoredError(
                f"{self._item.path} was changed ({changed}), and prefect.cache.files is refuse; remove the file to get "
                "back what was stored"
            )
        kept = self._kept_name()
        try:
            os.link(self._place, kept, follow_symlinks=False)  # so that it is never missing
        except FileExistsError:
            pass  # kept before, by somebody who was killed then
        except OSError:
            os.rename(self._place, kept)
        degrade(
            "changed files kept",
            f"{self._place} differs from the result of its task ({changed}); what was there is now {kept}, and the "
            "result was put back. prefect.cache.files chooses another rule",
            key=self._place,
        )

    def _kept_name(self) -> str:
        is_file = os.path.isfile(self._place) and not os.path.islink(self._place)
        mark = file_digest(self._place)[:8] if is_file else secrets.token_hex(4)
        return os.path.join(self._parent, _shortened(self._name, f".changed-{mark}"))

    # What is put there ------------------------------------------------------------------------------

    def _build(self, temporary: str) -> None:
        """Make a complete copy under a temporary name."""
        folders = [entry for entry in self._item.entries if entry.kind == "folder"]
        for entry in folders:
            os.mkdir(os.path.join(temporary, entry.name) if entry.name else temporary, 0o700)
        files = [entry for entry in self._item.entries if entry.kind == "file"]
        with ThreadPoolExecutor(_PARALLEL if len(files) > 1 else 1) as pool:
            list(pool.map(partial(self._copy, temporary), files))
        for entry in self._item.entries:
            if entry.kind == "link":
                os.symlink(entry.target, os.path.join(temporary, entry.name))
        for entry in reversed(folders):
            path = os.path.join(temporary, entry.name) if entry.name else temporary
            os.chmod(path, entry.mode)
            _flush(path)

    def _copy(self, temporary: str, entry: Entry) -> None:
        path = os.path.join(temporary, entry.name) if entry.name else temporary
        source = self._source(entry)
        if self._links and not entry.mode & 0o111 and _link(source, path):
            if file_digest(path) != entry.digest:
                raise IntegrityError(f"the stored file {source} was changed after it was written")
            return
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as target, open(source, "rb", buffering=0) as stored:  # noqa: PTH123
            digest = _digest_of_copy(target.fileno(), stored.fileno())
            if digest != entry.digest:
                raise IntegrityError(f"the stored file {source} was changed after it was written")
            os.fchmod(descriptor, entry.mode)
            os.utime(descriptor, (self._written, self._written))
            os.fsync(descriptor)

    def _source(self, entry: Entry) -> Path:
        objects = self._project.objects
        if self._project.remote_objects:
            return verified_copy(self._project, StoredPayload(entry.key, entry.digest, entry.size, ""))
        path = objects.path(entry.key)
        if path is None:
            raise IntegrityError(f"the stored file {objects.uri(entry.key)} is gone")
        return path

    def _put(self, temporary: str) -> None:
        """Give the copy its name. A folder cannot replace another thing at once; then that is renamed first."""
        aside = f"{temporary}-old"
        single = self._item.entries[0].kind == "file"
        if not single or (os.path.isdir(self._place) and not os.path.islink(self._place)):
            with suppress(FileNotFoundError):
                os.rename(self._place, aside)
        try:
            os.replace(temporary, self._place)
        except OSError:
            with suppress(OSError):
                os.rename(aside, self._place)
            raise
        _flush(self._parent)
        _remove(aside)

    def _remember(self) -> None:
        """A task that takes the file next need not read it again."""
        for entry in self._item.entries:
            if entry.kind == "file":
                remember_digest(self._path_of(entry.name), entry.digest)

    @property
    def _temporary(self) -> str:
        """The start of the names of unfinished copies of this file or folder."""
        return f"{TEMPORARY}{names.short_hash(self._name, 12)}-"

    def _sweep(self) -> None:
        """Remove what killed processes have left of this file or folder."""
        limit = time.time() - GRACE
        for name in os.listdir(self._parent):
            path = os.path.join(self._parent, name)
            if name.startswith(self._temporary):
                with suppress(OSError):
                    if os.lstat(path).st_ctime < limit:
                        _remove(path)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    """Hold the lock of a folder while its entries are compared and renamed, where the file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _link(source: Path, path: str) -> bool:
    """Make a hard link to a file that nobody may write; returns whether it was made."""
    with suppress(OSError):  # another file system, or one without links
        if not os.stat(source).st_mode & 0o222:
            os.link(source, path)
            return True
    return False


def _digest_of_copy(target: int, source: int) -> str:
    """Copy an open file into an empty one, and return the digest of what was copied."""
    hasher, cloned = blake3(max_threads=threads_for(os.fstat(source).st_size)), False
    with suppress(OSError):
        fcntl.ioctl(target, _CLONE, source)
        cloned = True
    while chunk := os.read(target if cloned else source, _CHUNK):
        hasher.update(chunk)
        view = memoryview(chunk)
        while not cloned and view:
            view = view[os.write(target, view) :]
    return hasher.hexdigest()


def _flush(folder: str) -> None:
    with suppress(OSError):  # not all file systems can
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _shortened(name: str, suffix: str) -> str:
    """A name with a suffix, shortened to what file systems allow."""
    while len(os.fsencode(name)) > _LONGEST_NAME - len(suffix):
        name = name[:-1]
    return name + suffix


def _remove(path: str) -> None:
    """Remove a file or folder that this package made, if there is one."""
    if not os.path.lexists(path):
        return
    if os.path.islink(path) or not os.path.isdir(path):
        with suppress(OSError):
            os.unlink(path)
        return
    for folder, _, _ in os.walk(path):
        with suppress(OSError):
            os.chmod(folder, 0o700)  # folders of a result may be read-only
    shutil.rmtree(path, ignore_errors=True)
