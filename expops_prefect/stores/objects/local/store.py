"""Objects as files below one folder."""

# Paths are str: pathlib costs more than the system calls of a small read.
# ruff: noqa: PTH105, PTH106, PTH108, PTH114, PTH120

from __future__ import annotations

import errno
import os
import secrets
import stat as stat_modes
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from expops_prefect._internal.files import close_to_others, make_folder
from expops_prefect._internal.process import of_process
from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.base import (
    TEMPORARY,
    Buffer,
    ObjectInfo,
    ObjectStore,
    TakesFiles,
    check_key,
    check_prefix,
)
from expops_prefect.stores.objects.local.files import (
    LOCK,
    RefuseLinks,
    TemporaryNames,
    alone,
    content,
    name_of,
    sync_folder,
    written,
)

_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_ABSENT: Final = (FileNotFoundError, NotADirectoryError)
_ADVICE: Final = {
    errno.ENOSPC: "the disk is full; free some space, remove old results with `expops-prefect cache gc`, "
    "or set prefect.runtime_dir to a folder on another disk",
    errno.EDQUOT: "the disk quota is used up; remove old results with `expops-prefect cache gc`, "
    "or set prefect.runtime_dir to a folder on another disk",
    errno.EROFS: "the file system is read-only; set EXPOPS_RUNTIME_DIR or prefect.runtime_dir to a writable folder",
    errno.EACCES: "permission denied; correct the permissions, or set EXPOPS_RUNTIME_DIR or "
    "prefect.runtime_dir to a folder that you own",
    errno.EMFILE: "too many open files; raise the limit with `ulimit -n`, or close what you can",
}
_MAPPED: Final = "too many open files; raise the limit with `ulimit -n`, or set prefect.cache.mmap to false"
"""A file stays open for as long as an array is mapped to it."""


class LocalObjects:
    """An :class:`~expops_prefect.stores.objects.base.ObjectStore` of files below ``root``.

    A write goes to a temporary file beside its target, is flushed to disk and then renamed, so a
    reader, even one that has the old file mapped, never sees half of it. Symbolic links below the
    root are refused; the root itself may be one.

    Args:
        root: the folder; created by the first write.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root.absolute())
        self._real_root: str | None = None

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_key(key)
        target = f"{self._root}/{key}"
        with (
            _translated("write", key),
            written(target, parts, read_only, self._refusing(key)) as (temporary, descriptor),
        ):
            with alone(self._root):
                os.replace(temporary, target)
            return _info(key, os.fstat(descriptor))

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_key(key)
        target = f"{self._root}/{key}"
        size = sum(memoryview(part).nbytes for part in parts)
        with _translated("write", key):
            if _file_size(target) == size:
                self._entry(key)
                return None
            with written(target, parts, read_only, self._refusing(key), flush=flush) as (temporary, descriptor):
                return _info(key, os.fstat(descriptor)) if self._publish(temporary, target, size) else None

    def _publish(self, temporary: str, target: str, size: int) -> bool:
        """Give a complete file its name, unless another writer was first."""
        try:
            os.link(temporary, target)  # unlike a rename, fails if another writer was first
        except FileExistsError:
            with alone(self._root):
                if _file_size(target) == size:
                    os.unlink(temporary)
                    return False
                os.replace(temporary, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            with alone(self._root):
                os.replace(temporary, target)  # a racing writer's file has the same content
        else:
            os.unlink(temporary)  # before the stamp: removing a link changes the ctime
        return True

    def scratch(self) -> Path:
        """See :class:`~expops_prefect.stores.objects.base.TakesFiles`."""
        make_folder(self._root)
        return Path(self._root, of_process(TemporaryNames).next())

    def take(self, key: str, file: Path) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.TakesFiles`."""
        target = self._entry(key)
        with _translated("write", key):
            close_to_others(file)
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
                make_folder(os.path.dirname(target))
                if not self._publish(str(file), target, os.fstat(descriptor).st_size):
                    return None
                sync_folder(os.path.dirname(target))
                return _info(key, os.fstat(descriptor))
            finally:
                os.close(descriptor)

    def get(self, key: str) -> bytes | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_key(key)
        path = f"{self._root}/{key}"
        with _translated("read", key):
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except _ABSENT:
                self._file(key)
                return None
            try:
                if not self._is_direct(path, descriptor):
                    self._file(key)
                status = os.fstat(descriptor)
                return content(descriptor, status.st_size) if stat_modes.S_ISREG(status.st_mode) else None
            finally:
                os.close(descriptor)

    def stat(self, key: str) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        with _translated("read", key):
            status = _regular(self._file(key))
            return None if status is None else _info(key, status)

    def refresh(self, key: str) -> ObjectInfo | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. ``None`` also for a file of another user."""
        file = self._file(key)
        with _translated("refresh", key):
            try:
                with alone(self._root):
                    if _regular(file) is None:
                        return None
                    os.utime(file)
                    return _info(key, os.lstat(file))
            except (*_ABSENT, PermissionError):
                return None

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. Also removes folders that become empty."""
        target = self._entry(key)
        with _translated("delete", key):
            try:
                if stamp is None:
                    os.unlink(target)
                else:
                    with alone(self._root, required=True):
                        status = _regular(target)
                        if status is None or _info(key, status).stamp != stamp:
                            return False
                        os.unlink(target)
            except (*_ABSENT, IsADirectoryError):
                return False
            parent = os.path.dirname(target)
            while len(parent) > len(self._root):
                try:
                    os.rmdir(parent)
                except OSError:  # not empty, or another process was faster
                    break
                parent = os.path.dirname(parent)
            return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`. Symbolic links are not followed."""
        check_prefix(prefix)
        return self._below(prefix.rpartition("/")[0], prefix)

    def path(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        with _translated("read", key):
            file = self._file(key)
            return Path(file) if _regular(file) is not None else None

    def fetch(self, key: str) -> Path | None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`: objects are files already."""
        return self.path(key)

    def uri(self, key: str) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        check_key(key)
        return f"{self._root}/{key}"

    def sweep(self, older_than_seconds: float) -> int:
        """Remove temporary files that killed writers left.

        Args:
            older_than_seconds: only files that nobody has written to for this long.

        Returns:
            How many were removed.
        """
        limit = time.time() - older_than_seconds
        removed = 0
        with _translated("sweep", "."):
            for folder, _, names in os.walk(self._root):
                for name in names:
                    if name.startswith(TEMPORARY) and name != LOCK:
                        removed += _remove_older(f"{folder}/{name}", limit)
        return removed

    def ping(self) -> None:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        key = f".ping-{secrets.token_hex(8)}"
        self.put(key, [b"ping"])
        read = self.get(key)
        self.delete(key)
        if read != b"ping":
            raise ObjectStoreError(f"{self.describe()} does not return what was written; check the file system")

    def close(self) -> None:
        """Do nothing: no file stays open between calls."""

    def describe(self) -> str:
        """See :class:`~expops_prefect.stores.objects.base.ObjectStore`."""
        return f"local files in {self._root}"

    def _is_direct(self, path: str, descriptor: int) -> bool:
        """Whether an open file is at its path, with no link below the root, according to the system.

        This takes one call instead of one for each folder. ``False`` may mean that the system does not
        tell, or that the root was moved meanwhile.
        """
        if self._real_root is None:
            self._real_root = os.path.realpath(self._root)
        return name_of(descriptor) == self._real_root + path[len(self._root) :]

    def _refusing(self, key: str) -> RefuseLinks:
        def refuse(path: str, descriptor: int | None) -> None:
            if descriptor is None or not self._is_direct(path, descriptor):
                self._entry(key)

        return refuse

    def _entry(self, key: str) -> str:
        """The path of a key whose parents are not symbolic links. For operations on the entry itself."""
        check_key(key)
        components = key.split("/")
        path = self._root
        for component in components[:-1]:
            path = f"{path}/{component}"
            if os.path.islink(path):
                raise _link_refused(path)
        return f"{path}/{components[-1]}"

    def _file(self, key: str) -> str:
        """The path of a key without any symbolic link. For operations that read through it."""
        path = self._entry(key)
        if os.path.islink(path):
            raise _link_refused(path)
        return path

    def _below(self, folder: str, prefix: str) -> Iterator[ObjectInfo]:
        with _translated("list", folder or "."):
            try:
                with os.scandir(f"{self._root}/{folder}") as scan:
                    entries = [(f"{folder}/{entry.name}".lstrip("/"), entry) for entry in scan]
            except _ABSENT:
                return
            # Sort a folder by its name with the slash, so that the keys below it come in order.
            named = sorted((key + "/" * entry.is_dir(follow_symlinks=False), entry) for key, entry in entries)
        for name, entry in named:
            if name.endswith("/"):
                if name.startswith(prefix) or prefix.startswith(name):
                    yield from self._below(name[:-1], prefix)
            elif name.startswith(prefix) and not entry.name.startswith(TEMPORARY):
                status = _regular(entry.path)
                if status is not None:
                    yield _info(name, status)


@contextmanager
def _translated(action: str, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        mapped = action == "read" and error.errno == errno.EMFILE
        advice = _MAPPED if mapped else _ADVICE.get(error.errno or 0, "see the cause")
        failed = ObjectStoreError(f"cannot {action} {key!r} in the local object store: {error}; {advice}")
        raise failed.for_long() from error


def _regular(path: str) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except _ABSENT:
        return None
    return status if stat_modes.S_ISREG(status.st_mode) else None


def _file_size(path: str) -> int | None:
    status = _regular(path)
    return None if status is None else status.st_size


def _remove_older(path: str, limit: float) -> bool:
    try:
        if os.lstat(path).st_mtime >= limit:
            return False
        os.unlink(path)
    except FileNotFoundError:  # its writer finished
        return False
    return True


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    stamp = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"
    return ObjectInfo(key, status.st_size, stamp, status.st_mtime)


def _link_refused(path: str) -> ObjectStoreError:
    return ObjectStoreError(
        f"{path} is a symbolic link; links below the object store's folder are not followed. "
        "To keep results elsewhere, set prefect.runtime_dir (or EXPOPS_RUNTIME_DIR) to that folder"
    )


if TYPE_CHECKING:

    def _conforms(store: LocalObjects) -> tuple[ObjectStore, TakesFiles]:
        return store, store
