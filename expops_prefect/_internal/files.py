"""Create folders and files with the user's umask, and never open to everybody.

A runtime folder holds parameters, results and code. So only its owner may read it, and the owner's group if the
umask allows that. A folder that several users share is marked as such: it is writable for its group, and its
set-group-ID bit passes the group on. Files made in it belong to the group, whatever the umask.
"""

from __future__ import annotations

import grp
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import of_process

# Paths are str: this is faster, and every result passes here.
# ruff: noqa: PTH100, PTH101, PTH102, PTH108, PTH112, PTH116, PTH120

FILE_MODE: Final = 0o660
FOLDER_MODE: Final = 0o770
READ_ONLY_MODE: Final = 0o440
_SHARED: Final = stat.S_ISGID | stat.S_IWGRP
_OTHERS: Final = 0o007
_OURS: Final = frozenset(
    {".gitignore", "alive", "artifacts", "cache", "downloads", "metrics.sqlite", "metrics.sqlite-shm"}
    | {"metrics.sqlite-wal", "outbox", "uses"}
)


class _RuntimeFolders(dict[str, str | bool]):
    """The runtime folders of this process's projects, and their group.

    Code that makes a file below one may find the folder gone and create it again, knowing only a path.
    """


def runtime_folder(path: Path, group: str | bool = False, *, ours: bool = False) -> None:
    """Register a folder, which need not exist, as a project's runtime folder. Never raises.

    A new one ignores itself in git. An existing one, for instance from an older release, is closed to other users if it
    belongs to this user and holds only this package's files.

    Args:
        path: the folder.
        group: whether its group shares it, or the group that does.
        ours: whether its name already shows that it is a runtime folder.
    """
    folder = os.path.abspath(path)
    of_process(_RuntimeFolders)[folder] = group
    with suppress(OSError):
        status = os.stat(folder)
        mine = status.st_uid == os.geteuid() and (ours or _is_ours(folder))
        if mine and status.st_mode & _OTHERS:
            for entry in (*os.scandir(folder), None):
                place = folder if entry is None else entry.path
                if entry is None or not entry.is_symlink():
                    _close(place)
        if mine and group and (status.st_mode & _SHARED) != _SHARED:
            _share(folder, group)
            for top, folders, files in os.walk(folder):
                for name in folders:
                    _share(f"{top}/{name}", group)
                for name in files:
                    with suppress(OSError):
                        _give_to_group(f"{top}/{name}", group)
        if mine:
            _ignore_itself(folder)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Create a folder and its parents, unless they exist.

    Raises:
        OSError: it cannot be made.
    """
    missing = []
    current = os.path.abspath(path)
    while not os.path.isdir(current):
        missing.append(current)
        current = os.path.dirname(current)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, FOLDER_MODE)
        except FileExistsError:
            # One call: another process may remove the folder at any time, and create it again.
            try:
                mode = os.stat(folder).st_mode
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                raise
        else:
            known = of_process(_RuntimeFolders)
            if folder in known:
                if group := known[folder]:
                    _share(folder, group)
                _ignore_itself(folder)
            elif is_shared(os.path.dirname(folder)):
                _share(folder, group=True)


def open_new(path: str | os.PathLike[str], flags: int, mode: int = FILE_MODE) -> int:
    """Open a file for writing, creating it if necessary; return the descriptor.

    Args:
        path: the file.
        flags: flags of ``os.open``; those for creating the file and closing it in other programs are added.
        mode: the mode of a new file.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, mode)
    found = os.fstat(descriptor)
    lacking = mode & 0o070 & ~found.st_mode
    if lacking and found.st_uid == os.geteuid() and is_shared(os.path.dirname(path)):
        with suppress(OSError):
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | lacking)
    return descriptor


def make_file(path: str | os.PathLike[str]) -> None:
    """Create an empty file unless it exists, without ever opening it under its name.

    Closing any descriptor of a file drops the process's locks on it, including SQLite's.

    Raises:
        OSError: it cannot be made.
    """
    if os.path.lexists(path):
        return
    temporary = f"{os.fspath(path)}.{secrets.token_hex(8)}"
    try:
        os.close(open_new(temporary, os.O_WRONLY | os.O_EXCL))
        with suppress(OSError):  # another process was first; or no links here, and opening creates it
            os.link(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, replacing its content.

    Raises:
        OSError: it cannot be written.
    """
    with open(open_new(path, os.O_WRONLY | os.O_TRUNC), "wb") as file:
        file.write(data)


def close_to_others(path: str | os.PathLike[str]) -> None:
    """Make a file read-only, for the users that the umask and :data:`READ_ONLY_MODE` allow to read it."""
    os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & READ_ONLY_MODE)


def is_shared(folder: str) -> bool:
    """Whether a folder is shared with its group."""
    try:
        return (os.stat(folder or ".").st_mode & _SHARED) == _SHARED
    except OSError:
        return False


def identity(status: os.stat_result) -> tuple[int, int]:
    """The identity of a file, independent of its path: a project's folder may be reached through a link."""
    return status.st_dev, status.st_ino


def _is_ours(folder: str) -> bool:
    names = {entry.name for entry in os.scandir(folder)}
    return names <= _OURS and bool(names & {"metrics.sqlite", "outbox", "cache"})


def _close(place: str) -> None:
    with suppress(OSError):
        mode = os.stat(place).st_mode
        if mode & _OTHERS:
            os.chmod(place, stat.S_IMODE(mode) & ~_OTHERS)


def _share(folder: str, group: str | bool) -> None:
    """Share a folder with its group."""
    try:
        _give_to_group(folder, group)
        os.chmod(folder, FOLDER_MODE | stat.S_ISGID)
    except (OSError, KeyError) as error:
        degrade("folder not shared", f"{folder} cannot be shared with the group ({group}): {error}", key=str(group))


def _give_to_group(place: str, group: str | bool) -> None:
    if isinstance(group, str):
        os.chown(place, -1, grp.getgrnam(group).gr_gid, follow_symlinks=False)
    mode = os.lstat(place).st_mode
    if stat.S_ISREG(mode):
        os.chmod(place, stat.S_IMODE(mode) & ~_OTHERS | (mode & 0o600) >> 3)


def _ignore_itself(folder: str) -> None:
    """Make git ignore a folder."""
    with suppress(OSError):
        os.close(os.open(f"{folder}/.gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
        write_file(f"{folder}/.gitignore", b"*\n")
