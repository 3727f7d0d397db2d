"""The audit hook, which turns events during a body into observations."""

# ruff: noqa: ARG001 - the handlers of events have one signature

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

from expops_prefect.effects import paths
from expops_prefect.effects.chain import Link, follow, innermost, records, running
from expops_prefect.effects.events import CHANGES, EFFECTS, LISTINGS, MADE, THREADS
from expops_prefect.effects.origin import Origin, Place, origin_of, place_of
from expops_prefect.effects.record import Stamp
from expops_prefect.models.effects import Kind

_CHANGING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NAME_WALKERS: Final = ("<frozen os>", *(f"{os.sep}{name}.py" for name in ("os", "glob", "pathlib", "shutil")))
"""The ends of the files that walk folders by the names of their entries."""
_TMPFILE: Final = getattr(os, "O_TMPFILE", 0)
_WALKERS: Final = frozenset(
    {"_rmtree_unsafe", "_rmtree_safe_fd", "_rmtree_safe_fd_step", "_fwalk", "fwalk", "_get_default_tempdir"}
)
"""Python's own functions that open folders by another's descriptor, or that create files to test a folder."""
_HERE: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep  # noqa: PTH120, PTH100 - text
real_stat: Final = os.stat
real_lstat: Final = os.lstat
openers: Final[set[CodeType]] = set()
"""The code of the replacement of ``os.open``, which knows the folder that a path is relative to."""
_noting: Final[set[int]] = set()
"""The threads that are noting an event, which may open files itself. At module level, as every event reads it."""
Handler = Callable[[str, tuple[Any, ...], Link, FrameType], None]


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Handle an event. This runs for every event of the process, so it does very little outside bodies."""
    if not running:
        return
    handler = _HANDLERS.get(event)
    if handler is None:
        return
    link = innermost()
    if link is not None:
        heard(handler, event, arguments, link, sys._getframe(1))


def heard(note: Callable[..., None], *arguments: Any, **options: Any) -> None:
    """Note something, unless this thread is already noting something.

    Exceptions are caught here, because they would be raised into the user's call.
    """
    thread = threading.get_ident()
    if thread in _noting:
        return
    _noting.add(thread)
    try:
        note(*arguments, **options)
    except Exception as error:
        if not is_own(error):
            raise
    finally:
        _noting.discard(thread)


def is_own(error: BaseException) -> bool:
    """Whether an error arose in our code; otherwise a signal handler raised it, and it is re-raised."""
    trace: TracebackType | None = error.__traceback__
    last = ""
    while trace is not None:
        last = trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    return last.startswith(_HERE) or place_of(last) is not Place.PROJECT


def stamp_of(status: os.stat_result) -> Stamp:
    """The fields that cheaply tell whether a file is unchanged."""
    return status.st_size, status.st_mtime_ns, status.st_ino


def link_stamp(status: os.stat_result) -> Stamp:
    """The same for a link itself; a constant for everything that is not a link."""
    return stamp_of(status) if stat.S_ISLNK(status.st_mode) else (0, 0, 0)


def _effect(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    origin = origin_of(frame)
    if origin is not None:
        kind, call = EFFECTS[event]
        for record in records(link):
            record.effect(kind, call, origin)


def _request(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    """Note a request, except for ``data:`` URLs and ``file:`` URLs, which are opened like other files."""
    origin = origin_of(frame)
    if origin is not None and not str(arguments[0]).startswith(("file:", "data:")):
        for record in records(link):
            record.effect("network", "urllib.request.urlopen", origin)


def _database(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    """Note a database, except one in memory, which only serves computing."""
    name = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    if name in ("", ":memory:") or name.startswith("file::memory:") or "mode=memory" in name:
        return
    origin = origin_of(frame)
    if origin is not None:
        for record in records(link):
            record.effect("database", "sqlite3.connect", origin)


def _library(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    """Note a library that the project itself loads: its effects are unknown. Packages load libraries all the time."""
    outer: FrameType | None = frame
    while outer is not None and "ctypes" in outer.f_code.co_filename:
        outer = outer.f_back
    origin = origin_of(outer)
    if origin is not None and origin.direct:
        for record in records(link):
            record.effect("unknown", "ctypes.CDLL", origin)


def _thread(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    note_thread(arguments[0], link, frame)


def note_thread(function: Any, link: Link, frame: FrameType) -> None:
    """Follow a thread that is being started, unless it belongs to Prefect.

    Args:
        function: what the thread will run.
        frame: the frame in which :mod:`threading` starts it.
    """
    origin = origin_of(frame)
    if origin is None:
        return
    thread = getattr(function, "__self__", None)
    if not isinstance(thread, threading.Thread):
        if origin.direct:
            for record in records(link):
                record.effect("process", "_thread.start_new_thread", origin)
        return
    follow(thread, link)
    caller = frame.f_back
    while caller is not None and caller.f_code.co_filename.startswith(_HERE):
        caller = caller.f_back
    if caller is not None and place_of(caller.f_code.co_filename) is Place.PROJECT:
        for record in records(link):
            record.thread(thread, origin)


def _made(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    path = paths.absolute(arguments[0])
    origin = origin_of(frame)
    if path is not None and origin is not None:
        for record in records(link):
            record.private(path, MADE[event], origin)


def _listing(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    if _is_walker(frame) and not frame.f_code.co_name.endswith("fwalk"):
        return
    path = paths.absolute(arguments[0])
    # An entry gives its size and time, without another event; Python's own functions read only names.
    dated = event == "os.scandir" and not frame.f_code.co_filename.endswith(_NAME_WALKERS)
    if path is not None and link.record is not None and link.record.knows(path, listing=True, dated=dated):
        return
    origin = origin_of(frame)
    if origin is not None:
        note_read(link, path, origin, "os.listdir", listing=True, dated=dated)


def _opened(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    given, mode, flags = arguments
    path, frame = _path_of_open(given, mode, frame)
    if isinstance(given, int) or (_TMPFILE and flags & _TMPFILE == _TMPFILE) or _is_walker(frame):
        return
    changes = flags & _CHANGING
    if not changes and path is not None and link.record is not None and link.record.knows(path):
        return
    origin = origin_of(frame)
    if origin is None:
        return
    if changes and path is None:
        note_write(link, None, "os.open", origin)
    elif changes and path is not None:
        _changed_by_opening(link, path, mode, flags, origin)
    else:
        note_read(link, path, origin, _call("open", path, mode))


def _path_of_open(given: Any, mode: str | None, frame: FrameType) -> tuple[str | None, FrameType]:
    """The opened path, ``None`` if unknown, and the opening frame; the event itself lacks the folder."""
    if frame.f_code in openers:
        return paths.absolute(given, frame.f_locals["dir_fd"]), frame.f_back or frame
    if mode is None and not isinstance(given, int) and not os.path.isabs(os.fspath(given)):  # noqa: PTH117 - text
        return None, frame  # os.open under a name that was bound before the replacement
    return paths.absolute(given), frame


def _changed_by_opening(link: Link, path: str, mode: str | None, flags: int, origin: Origin) -> None:
    if paths.is_sink(path) or (not origin.direct and paths.is_cache(path)):
        return
    status = _status(path)
    if status is not None and stat.S_ISDIR(status.st_mode):
        return  # tempfile passes the folder to open(), and the file to its opener
    keeps = not flags & (os.O_TRUNC | os.O_EXCL)
    partial = keeps and bool(status is not None or flags & os.O_APPEND)
    if status is not None and keeps and flags & os.O_RDWR:
        note_read(link, path, origin, _call("open", path, mode))
    call = _call("open" if mode else "os.open", path, mode)
    note_write(link, path, call, origin, absent=status is None, partial=partial)


def note_read(
    link: Link,
    path: str | None,
    origin: Origin,
    call: str,
    *,
    listing: bool = False,
    asked: bool = False,
    dated: bool = False,
    exists: bool = False,
    decides: bool = False,
    status: os.stat_result | None = None,
) -> None:
    """Note that a file is read or a folder is listed, unless it is not data.

    Args:
        link: the watches.
        path: absolute; ``None`` if unknown.
        origin: the project's code that caused it.
        call: the call, for people.
        listing: the names in a folder are read.
        asked: only its status is read.
        dated: its times are read.
        exists: only its existence is read.
        decides: the answer may decide what the body does.
        status: its ``stat`` result, if known.
    """
    if path is None:
        for record in records(link):
            record.effect("file read", call, origin)
        return
    if paths.is_no_data(path, direct=origin.direct):
        return
    try:
        status = status or real_stat(path)
    except (FileNotFoundError, NotADirectoryError):
        status = None
    except (OSError, ValueError):
        for record in records(link):
            record.effect("file read", call, origin)
        return
    if status is not None and not listing and _without_content(link, path, status, call, origin, asked=asked):
        return
    stamp = None if status is None else stamp_of(status)
    for record in records(link):
        record.read(path, stamp, origin, listing=listing, dated=dated, asked=exists, decides=decides)


def note_link(link: Link, path: str | None, origin: Origin) -> None:
    """Note that code reads whether a path is a link, or its target."""
    if path is None or paths.is_kernel(path):
        for record in records(link):
            record.effect("environment", "os.readlink", origin)
    elif not paths.is_no_data(path, direct=origin.direct):
        status = _status(path)
        for record in records(link):
            record.link(path, None if status is None else link_stamp(status), origin)


def note_current_folder(link: Link, path: str, origin: Origin) -> None:
    """Note that a path was made absolute by the current folder."""
    for record in records(link):
        record.current_folder(path, origin)


def _without_content(link: Link, path: str, status: os.stat_result, call: str, origin: Origin, *, asked: bool) -> bool:
    """Note a read of something without comparable content; return whether it is such."""
    if stat.S_ISREG(status.st_mode) and not paths.is_kernel(path):
        return False
    if stat.S_ISDIR(status.st_mode):
        return not asked  # opening a folder reads nothing
    kind: Kind = "environment" if asked or paths.is_kernel(path) else "random" if paths.is_random(path) else "file read"
    for record in records(link):
        record.effect(kind, call, origin)
    return True


def note_write(
    link: Link,
    path: str | None,
    call: str,
    origin: Origin,
    *,
    absent: bool = False,
    partial: bool = False,
    folder: bool = False,
) -> None:
    """Note that a file is changed, unless it is a library's own cache; see :class:`Write` of the models."""
    if path is not None and (paths.is_sink(path) or (not origin.direct and paths.is_cache(path))):
        return
    for record in records(link):
        record.write(path, call, origin, absent=absent, partial=partial, folder=folder)


def _changed(event: str, arguments: tuple[Any, ...], link: Link, frame: FrameType) -> None:
    if _is_walker(frame):
        return
    which, relative = CHANGES[event]
    folder = arguments[relative] if relative is not None and len(arguments) > relative else None
    path = paths.absolute(arguments[which], folder if isinstance(folder, int) else None)
    origin = origin_of(frame)
    if origin is None:
        return
    there = path is not None and _status(path) is not None
    if path is not None and ((event == "os.mkdir" and there) or (event in _NEED_FILE and not there)):
        # It fails, depending on whether the path exists.
        note_read(link, path, origin, "os.path.exists", asked=True, exists=True)
        return
    if event == "os.rename":
        source = paths.absolute(arguments[0], arguments[2] if len(arguments) > 2 else None)
        note_write(link, source, _call(event, source), origin)
    partial = event in _PARTIAL and there
    note_write(link, path, _call(event, path), origin, absent=not there, partial=partial, folder=event == "os.mkdir")


_PARTIAL: Final = frozenset(
    {"os.truncate", "os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr", "shutil.chown"}
    | {"shutil.copytree"}
)
"""Events that leave the rest of what is at a path."""
_NEED_FILE: Final = frozenset({"os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "shutil.rmtree"})


def _status(path: str) -> os.stat_result | None:
    try:
        return real_lstat(path)
    except (OSError, ValueError):
        return None


def _is_walker(frame: FrameType) -> bool:
    return frame.f_code.co_name in _WALKERS and place_of(frame.f_code.co_filename) in (Place.LIBRARY, Place.PATHS)


def _call(function: str, path: str | None, mode: str | None = None) -> str:
    named = f'"{paths.shown(path)}"' if path is not None else "…"
    return f'{function}({named}, "{mode}")' if mode else f"{function}({named})"


_HANDLERS: Final[dict[str, Handler]] = {
    **dict.fromkeys(EFFECTS, _effect),
    **dict.fromkeys(CHANGES, _changed),
    **dict.fromkeys(LISTINGS, _listing),
    **dict.fromkeys(MADE, _made),
    **dict.fromkeys(THREADS, _thread),
    "open": _opened,
    "urllib.Request": _request,
    "sqlite3.connect": _database,
    "ctypes.dlopen": _library,
    "ctypes.dlsym": _library,
}
