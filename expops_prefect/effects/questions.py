"""Observes queries without audit events: whether a file exists, its size and times, where a link leads.

``os.stat``, ``os.lstat``, ``os.access``, ``os.readlink`` and ``os.getcwd`` are replaced in :mod:`os`, once; all of
:mod:`os.path` and :mod:`pathlib` uses them. Outside bodies, and for a path that a body has already queried, they only
call the originals. ``os.open`` is replaced too, because its event does not include the folder.
"""

from __future__ import annotations

import functools
import os
import pathlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, TypeVar

from expops_prefect.effects import paths
from expops_prefect.effects.chain import Link, innermost, running
from expops_prefect.effects.hearing import (
    heard,
    note_current_folder,
    note_link,
    note_read,
    openers,
    real_lstat,
    real_stat,
)
from expops_prefect.effects.origin import Place, origin_of, place_of
from expops_prefect.fingerprint.identity import STANDS_FOR

_Path = TypeVar("_Path", str, bytes)
_EXISTENCE: Final = frozenset(
    {"exists", "lexists", "isfile", "isdir", "is_file", "is_dir", "is_mount"}
    | {"is_socket", "is_fifo", "is_block_device", "is_char_device", "mkdir", "makedirs", "rmtree"}
)
"""Functions whose answer depends only on whether a file or folder exists."""
_LINKS: Final = frozenset({"islink", "is_symlink", "readlink"})
"""Functions whose answer depends on a link itself."""
_FOLLOWING: Final = frozenset({"realpath", "_joinrealpath", "_realpath"})
"""Functions that query each part of a path for links."""
_ASIDE: Final = frozenset({"resolve", "ismount", "samefile", "_samefile", "walk", "fwalk", "_fwalk"})
"""Functions that query more than their answer depends on."""
_ASKING: Final = (f"{os.sep}glob.py", f"{os.sep}shutil.py")
"""Modules, besides those for paths, with functions of such names."""


def install() -> None:
    """Replace the functions of :mod:`os`."""
    named = (("stat", real_stat), ("lstat", real_lstat), ("access", os.access), ("readlink", os.readlink))
    for name, real, asking in (*((n, r, _asking(n, r)) for n, r in named), ("open", os.open, _opening(os.open))):
        setattr(os, name, asking)
        for functions in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
            if real in functions:
                functions.add(asking)
    os.getcwd, os.getcwdb = _asking_where(os.getcwd), _asking_where(os.getcwdb)
    accessor = getattr(pathlib, "_NormalAccessor", None)  # Python 3.10 keeps the originals
    if accessor is not None:
        accessor.stat, accessor.readlink = staticmethod(os.stat), staticmethod(os.readlink)
        accessor.getcwd = staticmethod(os.getcwd)


def _opening(real: Callable[..., int]) -> Callable[..., int]:
    """Wrap ``os.open``, whose event does not include the folder that the path is relative to."""

    def opening(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return real(path, flags, mode) if dir_fd is None else real(path, flags, mode, dir_fd=dir_fd)

    openers.add(opening.__code__)
    functools.update_wrapper(opening, real)
    opening.__module__ = "os"  # pickled by name
    setattr(opening, STANDS_FOR, real)
    return opening


def _asking(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(real)
    def asking(*args: Any, **kwargs: Any) -> Any:
        if not running or not (args or kwargs):
            return real(*args, **kwargs)
        try:
            answer = real(*args, **kwargs)
        except OSError:
            _note(name, args, kwargs, None)
            raise
        _note(name, args, kwargs, answer)
        return answer

    asking.__module__ = "os"  # pickled by name
    setattr(asking, STANDS_FOR, real)
    return asking


def _asking_where(real: Callable[[], _Path]) -> Callable[[], _Path]:
    """Wrap ``os.getcwd`` or ``os.getcwdb``, which make relative paths absolute."""

    @functools.wraps(real)
    def asking() -> _Path:
        answer = real()
        if running:
            link = innermost()
            if link is not None:
                heard(_asked_where, os.fsdecode(answer), link, sys._getframe(1))
        return answer

    asking.__module__ = "os"  # pickled by name
    setattr(asking, STANDS_FOR, real)
    return asking


def _asked_where(answer: str, link: Link, frame: FrameType | None) -> None:
    """Note the current folder for the project's own calls only: libraries make paths absolute internally."""
    asked = ""
    while frame is not None and place_of(frame.f_code.co_filename) is Place.PATHS:
        asked, frame = frame.f_code.co_name, frame.f_back
    if asked == "cwd":
        return  # the use of Path.cwd() itself cannot be told; the analysis of the code reports it
    if frame is not None and place_of(frame.f_code.co_filename) is Place.PROJECT:
        origin = origin_of(frame)
        if origin is not None:
            note_current_folder(link, answer, origin)


def _note(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], answer: Any) -> None:
    link = innermost()
    if link is not None:
        given = args[0] if args else kwargs.get("path")
        status = answer if name == "stat" and kwargs.get("follow_symlinks", True) else None
        heard(_asked, name, given, kwargs.get("dir_fd"), status, link, sys._getframe(2))


def _asked(
    name: str, given: Any, folder: int | None, status: os.stat_result | None, link: Link, frame: FrameType
) -> None:
    if isinstance(given, int):
        return
    path = paths.absolute(given, folder)
    question = {"access": "content", "readlink": "link"}.get(name) or _question(frame)
    if question is None or (path is None and folder is None):
        return
    dated, of_link, exists = question == "times", question == "link", question == "existence"
    known = link.record if path is not None else None
    if path is not None and known is not None and known.knows(path, dated=dated, of_link=of_link, asked=exists):
        return
    origin = origin_of(frame)
    if origin is None:
        return
    if of_link:
        if path is None or not paths.is_around(path):
            note_link(link, path, origin)
    else:
        call = "os.stat" if dated else "os.path.exists"
        decides = exists and origin.direct
        note_read(link, path, origin, call, asked=True, dated=dated, exists=exists, decides=decides, status=status)


def _question(frame: FrameType | None) -> str | None:
    """What a call queries: ``existence``, ``content``, ``times`` or ``link``; ``None`` if none of them."""
    asked = "times"
    while frame is not None:
        code = frame.f_code
        if place_of(code.co_filename) is not Place.PATHS and not code.co_filename.endswith(_ASKING):
            break
        if code.co_name in _FOLLOWING:
            return "link"
        if code.co_name in _ASIDE:
            return None
        if code.co_name in _EXISTENCE:
            return "existence"
        if code.co_name == "getsize":
            return "content"
        if code.co_name in _LINKS:
            asked = "link"
        frame = frame.f_back
    return asked
