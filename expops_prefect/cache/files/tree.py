"""Reads what is at a path: a file, or a folder with everything below it."""

# Paths are str: a folder may have many thousand files.
# ruff: noqa: PTH115, PTH118

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.fingerprint.files import DataRules
from expops_prefect.record.file_lists import Kind, leads_outside

_MODES: Final = 0o777
Stamp: TypeAlias = tuple[int, int, int, int, int]
"""Size, modification time, change time, inode and device: while they are equal, so is the content."""


class NotStorableError(ExpOpsPrefectError):
    """A file or folder cannot be part of a result; the message says why."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What is at a path.

    Attributes:
        name: relative to the result's path; empty for that itself.
        kind: file, folder or link.
        mode: permissions; 0 for a link.
        stamp: of a file; ``None`` for others.
        target: where a link leads.
    """

    name: str
    kind: Kind
    mode: int
    stamp: Stamp | None = None
    target: str = ""


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev


def scan(path: str, rules: DataRules) -> tuple[Scanned, ...]:
    """What is at a path, itself first; a folder before its content. Names that ``rules`` ignore are left out.

    Args:
        path: absolute.
        rules: the names to ignore.

    Raises:
        NotStorableError: it has a part that is neither file, folder nor a link inside the folder.
        OSError: a part cannot be read; ``FileNotFoundError`` if there is nothing.
    """
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode):
        return (_file("", status),)
    if stat.S_ISLNK(status.st_mode):
        raise NotStorableError(f"{path} is a symbolic link; return the path of what it leads to")
    if not stat.S_ISDIR(status.st_mode):
        raise NotStorableError(f"{path} is neither a file nor a folder")
    return (Scanned("", "folder", status.st_mode & _MODES), *_below(path, "", rules))


def _below(top: str, prefix: str, rules: DataRules) -> Iterator[Scanned]:
    with os.scandir(os.path.join(top, prefix)) as entries:
        ordered = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    for entry in ordered:
        if rules.ignores(entry.name):
            continue
        name, status = f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)
        if stat.S_ISREG(status.st_mode):
            yield _file(name, status)
        elif stat.S_ISLNK(status.st_mode):
            yield _link(top, name)
        elif not stat.S_ISDIR(status.st_mode):
            raise NotStorableError(f"{entry.path} is neither a file nor a folder")
        elif not rules.leaves_out(status):
            yield Scanned(name, "folder", status.st_mode & _MODES)
            yield from _below(top, f"{name}/", rules)


def _file(name: str, status: os.stat_result) -> Scanned:
    return Scanned(name, "file", status.st_mode & _MODES, stamp_of(status))


def _link(top: str, name: str) -> Scanned:
    path = os.path.join(top, name)
    target = os.readlink(path)
    inside = os.path.realpath(top) + os.sep
    if leads_outside(name, target) or not f"{os.path.realpath(path)}{os.sep}".startswith(inside):
        raise NotStorableError(f"{path} is a symbolic link that leads outside of the folder {top}")
    return Scanned(name, "link", 0, target=target)
