"""Folders and files that are made with the user's umask, and are never writable for everybody."""

from __future__ import annotations

import os
import stat
from typing import Final

FILE_MODE: Final = 0o664
FOLDER_MODE: Final = 0o775


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, with those above it, unless it is there.

    Raises:
        OSError: it cannot be made.
    """
    missing = []
    current = os.path.abspath(path)  # noqa: PTH100 - text is faster, and this is on the way of every result
    while not os.path.isdir(current):  # noqa: PTH112
        missing.append(current)
        current = os.path.dirname(current)  # noqa: PTH120
    for folder in reversed(missing):
        try:
            os.mkdir(folder, FOLDER_MODE)  # noqa: PTH102
        except FileExistsError:
            # In one look: another process may remove the folder at any time, and make it again.
            try:
                mode = os.stat(folder).st_mode  # noqa: PTH116
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(mode):
                raise


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, replacing its content.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    with open(descriptor, "wb") as file:  # noqa: PTH123
        file.write(data)


def identity(status: os.stat_result) -> tuple[int, int]:
    """Which file it is, by whatever path it is reached: a project's folder may have a link to it."""
    return status.st_dev, status.st_ino
