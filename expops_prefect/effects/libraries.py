"""Wraps the functions of :mod:`~expops_prefect.effects.readers` once their libraries are imported.

Outside bodies a wrapper only calls the function. An error in noting does not affect the call.
"""

from __future__ import annotations

import functools
import glob
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from importlib.util import find_spec
from types import FrameType, ModuleType
from typing import Any, Final

from expops_prefect._internal.process import ForkSafeLock, is_being_imported, of_process
from expops_prefect.effects import paths
from expops_prefect.effects.chain import Link, innermost, records, running
from expops_prefect.effects.hearing import heard, note_read, note_write
from expops_prefect.effects.origin import Origin, Place, origin_of, place_of
from expops_prefect.effects.readers import READERS, Reader
from expops_prefect.effects.record import MOST_READS
from expops_prefect.fingerprint.identity import STANDS_FOR

_URL: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_FILES_IN_SQL: Final = re.compile(
    r"'[^']*[./\\][^']*'|\bread_\w+\s*\(|\b(?:copy|attach|install|load|import|export)\b", re.I
)
_SCANNED: Final = re.compile(r"\bSCAN \[(.*?)\](?=\n|$)")
_WRITING: Final = re.compile(r"^(?:write_|sink_|serialize|save|to_)")


class _Awaited:
    """The readers of libraries that this process has not imported yet, and their modules.

    Attributes:
        lock: held while readers are wrapped; a body that begins meanwhile would not be observed.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.readers = list(READERS)
        self.modules = frozenset(reader.module for reader in READERS)


class _Finder(MetaPathFinder):
    """Wraps the readers of a library that a body is the first to import, as soon as its module has run."""

    def __init__(self) -> None:
        self._asking = threading.local()

    def find_spec(self, fullname: str, *_: object, **__: object) -> Any:
        """The spec that the other finders have; see :class:`importlib.abc.MetaPathFinder`."""
        if fullname not in of_process(_Awaited).modules or getattr(self._asking, "now", False):
            return None
        self._asking.now = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking.now = False
        # Only loaders of a single module each.
        if spec is not None and isinstance(spec.loader, (SourceFileLoader, ExtensionFileLoader)):
            run = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                with suppress(Exception):  # the import has succeeded, and what is not wrapped is in the code
                    _wrap_all(fullname)

            setattr(spec.loader, "exec_module", exec_module)  # noqa: B010 - a method of a class of Python's own
        return spec


_FINDER: Final = _Finder()


def _wrap_all(module: str) -> None:
    """Wrap the readers in a module. Without the lock: whoever holds it may wait for the import that calls this."""
    awaited = of_process(_Awaited)
    for reader in [reader for reader in awaited.readers if reader.module == module]:
        # Another version of the library, or an immutable type: the analysis of code covers it.
        with suppress(AttributeError, TypeError):
            _wrap(reader)
    # Not sooner: a body that begins meanwhile would not be observed.
    awaited.readers = [reader for reader in awaited.readers if reader.module != module]
    awaited.modules -= {module}


def install() -> None:
    """Wrap the readers in modules that were imported since the last call, and in those that will be."""
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)
    loaded, awaited = sys.modules, of_process(_Awaited)
    if loaded.keys().isdisjoint(awaited.modules):  # on the way of every task run
        return
    with awaited.lock:
        for name in awaited.modules:
            if name in loaded and not is_being_imported(loaded[name]):
                _wrap_all(name)


def _wrap(reader: Reader) -> None:
    module = sys.modules[reader.module]
    holder, _, name = reader.name.rpartition(".")
    owner = getattr(module, holder) if holder else module
    function = vars(owner)[name] if isinstance(owner, type) else getattr(owner, name)
    wrapper = _noting(function, reader, method=bool(holder))
    if holder:
        setattr(owner, name, wrapper)
    else:
        _replace(reader.module.partition(".")[0], function, wrapper)


def _replace(package: str, function: Any, wrapper: Any) -> None:
    """Replace the function in all modules of its library; names in users' modules are left alone."""
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            for key, value in list(getattr(module, "__dict__", {}).items()):
                if value is function:
                    setattr(module, key, wrapper)


def _noting(function: Callable[..., Any], reader: Reader, *, method: bool) -> Callable[..., Any]:
    @functools.wraps(function)
    def noting(*args: Any, **kwargs: Any) -> Any:
        if running:
            link = innermost()
            if link is not None:
                heard(_note, reader, args[1:] if method else args, kwargs, args, link, sys._getframe(1))
        return function(*args, **kwargs)

    setattr(noting, STANDS_FOR, function)
    return noting


def _note(
    reader: Reader, args: tuple[Any, ...], kwargs: dict[str, Any], whole: tuple[Any, ...], link: Link, frame: FrameType
) -> None:
    if reader.use == "plan" and place_of(frame.f_code.co_filename) is not Place.PROJECT:
        return  # polars' own functions on frames create and run plans all the time
    if reader.use == "known files":
        while frame.f_globals.get("__name__") == reader.module and frame.f_back is not None:
            frame = frame.f_back
        if place_of(frame.f_code.co_filename) is not Place.PROJECT:
            return  # libraries guess the type of everything they open
    origin = origin_of(frame)
    if origin is None:
        return
    if reader.use == "plan":
        _plan(whole[0], reader, link, origin)
        return
    if reader.use == "known files":
        for path in sys.modules[reader.module].knownfiles:
            note_path(link, path, reader.call, origin)
        return
    value = args[reader.place] if len(args) > reader.place else kwargs.get(reader.parameter)
    if reader.use == "sql":
        if isinstance(value, str) and _FILES_IN_SQL.search(value):
            for record in records(link):
                record.effect("file read", reader.call, origin)
    elif reader.use == "database":
        if value not in (None, "", ":memory:", ":default:"):
            for record in records(link):
                record.effect("database", reader.call, origin)
    elif _is_elsewhere(kwargs.get("filesystem")):
        for record in records(link):
            record.effect("network", reader.call, origin)
    else:
        call, writes, reads = _use(reader, args, kwargs, frame)
        for path in _paths(value):
            note_path(link, path, call, origin, writes=writes, reads=reads)


def _use(reader: Reader, args: tuple[Any, ...], kwargs: dict[str, Any], frame: FrameType) -> tuple[str, bool, bool]:
    """The call for people, whether it writes, and whether it reads."""
    if reader.use == "by caller":
        name = _outermost(frame)
        return f"polars.{name}", bool(_WRITING.match(name)), not _WRITING.match(name)
    if reader.use == "mode":
        mode = kwargs.get("mode", args[reader.place + 1] if len(args) > reader.place + 1 else None)
        mode = mode if isinstance(mode, str) else "r"
        return reader.call, mode != "r" and mode != "rb", mode[:1] in ("r", "a")
    return reader.call, reader.use == "write", reader.use == "read"


def _outermost(frame: FrameType) -> str:
    """The name of the library's function that the project called."""
    name = frame.f_code.co_name
    outer: FrameType | None = frame
    while outer is not None and place_of(outer.f_code.co_filename) is Place.LIBRARY:
        if f"{os.sep}polars{os.sep}" in outer.f_code.co_filename and outer.f_code.co_name != "wrapper":
            name = outer.f_code.co_name
        outer = outer.f_back
    return name


def _is_elsewhere(filesystem: Any) -> bool:
    if filesystem is None or type(filesystem).__name__ in ("LocalFileSystem", "_MockFileSystem"):
        return False
    return not (isinstance(filesystem, str) and filesystem.startswith(("file:", "/")))


def _paths(value: Any) -> Iterator[str]:
    """The paths in an argument; files that are already open were noted when they were opened."""
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        yield os.fsdecode(text)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _paths(item)


def note_path(link: Link, path: str, call: str, origin: Origin, *, writes: bool = False, reads: bool = True) -> None:
    """Note a file, folder, pattern or URL that a library is about to open."""
    url = _URL.match(path)
    if url and url[1].lower() != "file":
        for record in records(link):
            record.effect("network", call, origin)
        return
    if url:
        path = path[url.end() :]
    found = paths.absolute(os.path.expanduser(path))  # noqa: PTH111 - text
    if found is None:
        return
    if reads:
        for each, listing in _below(found):
            note_read(link, each, origin, call, listing=listing)
    if writes:
        there = os.path.lexists(found)
        # A dataset's files are written into a folder, beside what is there.
        partial = reads or os.path.isdir(found)  # noqa: PTH112
        note_write(link, found, f'{call}("{paths.shown(found)}")', origin, absent=not there, partial=partial)


def _below(path: str) -> Iterable[tuple[str, bool]]:
    """The files that a library finds at a path, and the folders that it lists to find them."""
    if os.path.isdir(path):  # noqa: PTH112
        return _folder(path)
    if glob.has_magic(path) and not os.path.lexists(path):
        return _pattern(path)
    return [(path, False)]


def _pattern(path: str) -> Iterator[tuple[str, bool]]:
    base = path
    while glob.has_magic(base):
        base = os.path.dirname(base)  # noqa: PTH120
    if "**" in path or glob.has_magic(os.path.dirname(path)):  # noqa: PTH120
        yield from ((folder, True) for folder, listing in _folder(base) if listing)
    else:
        yield base, True
    for found in glob.iglob(path, recursive=True):  # noqa: PTH207
        if os.path.isfile(found):  # noqa: PTH113
            yield found, False


def _folder(path: str) -> Iterator[tuple[str, bool]]:
    count = 0
    for folder, _, names in os.walk(path):
        yield folder, True
        for name in sorted(names):
            yield os.path.join(folder, name), False  # noqa: PTH118
            count += 1
            if count > MOST_READS:
                return


def _plan(plan: Any, reader: Reader, link: Link, origin: Origin) -> None:
    """Note the files of a plan that was created elsewhere, such as by the module; they are read when it is run."""
    for names in _SCANNED.findall(plan.explain(optimized=False)):
        if re.search(r"\.\.\. \d+ other sources?$", names):
            # Not all are named. If the first is known, the body created the plan, and all were noted then.
            first = paths.absolute(names.split(", ")[0])
            for record in records(link):
                if first is None or not record.knows(first):
                    record.effect("lazy data", reader.call, origin)
            continue
        for path in names.split(", "):
            note_path(link, path, reader.call, origin)


def is_noted(function: Any) -> bool:
    """Whether calls of this object are noted; false for a function that was bound before it was wrapped."""
    return hasattr(function, STANDS_FOR)
