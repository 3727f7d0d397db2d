"""Who caused an event: the project's own code, or something whose files and sockets say nothing of a result."""

from __future__ import annotations

import enum
import os
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

from expops_prefect.fingerprint.ownership import Owner, owner_of

_PACKAGE: Final = str(Path(__file__).resolve().parents[1]) + os.sep
_EFFECTS: Final = str(Path(__file__).resolve().parent) + os.sep
_BODY: Final = os.path.join(_PACKAGE, "tracking", "wrapping.py")  # noqa: PTH118 - text, compared with a code's file
_PREFECT: Final = re.compile(r"[\\/](?:site|dist)-packages[\\/]prefect[\\/]")
_HARMLESS: Final = re.compile(
    r"[\\/](?:logging[\\/]\w+|inspect|mimetypes|warnings|traceback|tracemalloc"
    r"|importlib[\\/](?:metadata[\\/]\w+|_bootstrap|_bootstrap_external)|zipimport"
    r"|site-packages[\\/](?:tqdm[\\/].+|matplotlib[\\/]font_manager|threadpoolctl|importlib_metadata[\\/]\w+"
    r"|pkg_resources[\\/].+))\.py$"
)
# Not multiprocessing's pool.py and dummy: they run functions of the user's in this process.
_POOLS: Final = re.compile(
    r"[\\/](?:multiprocessing[\\/](?!pool\.py|dummy[\\/])\w+|concurrent[\\/]futures[\\/]process"
    r"|(?:joblib[\\/]externals[\\/])?loky[\\/].+|joblib[\\/](?:_memmapping_reducer|_multiprocessing_helpers|pool)"
    r"|dask[\\/]multiprocessing)\.py$"
)
_PATHS: Final = re.compile(
    r"(?:.*[\\/])?(?:<frozen )?(?:genericpath|posixpath|ntpath|os|pathlib(?:[\\/]\w+)?)(?:\.py|>)$"
)
_GIVEN: Final = ("<stdin>", "<console>", "<ipython-input", "<doctest ")
_MOST: Final = 8192


class Place(enum.Enum):
    """What code in a file means for an event below it."""

    LIBRARY = enum.auto()
    """Its caller decides."""
    PATHS = enum.auto()
    """A library that only passes paths on: its caller is as good as the one who asked."""
    PROJECT = enum.auto()
    BODY = enum.auto()
    """Nothing but the wrapper of a task's function stands between the library and its task."""
    OURS = enum.auto()
    """Prefect and this package."""
    IMPORT = enum.auto()
    LOGGING = enum.auto()
    HARMLESS = enum.auto()
    POOL = enum.auto()
    """Python's own pools of processes."""
    LOOP = enum.auto()
    """An event loop: its callers have nothing to do with the coroutine."""


class Origin(NamedTuple):
    """Where in the project an event comes from.

    Attributes:
        file: the source file; empty if no code of the project's stands around it.
        line: its line.
        direct: the project's code itself asked for it, not a library that it called.
    """

    file: str
    line: int
    direct: bool


_NOWHERE: Final = Origin("", 0, direct=False)
_places: Final[dict[str, Place]] = {}
"""What code in a file means, by file. Held here, because it is asked for at every event that a watch hears."""


def origin_of(frame: FrameType | None) -> Origin | None:
    """The nearest code of the project's around an event; ``None`` if the event says nothing of a result."""
    direct = True
    while frame is not None:
        code = frame.f_code
        place = _places.get(code.co_filename) or place_of(code.co_filename)
        if place is Place.PROJECT:
            return None if _is_handler(frame) else Origin(code.co_filename, frame.f_lineno, direct)
        if place is Place.BODY:
            return _NOWHERE
        if place is Place.LOOP:
            if code.co_name == "_run":
                return _NOWHERE
        elif place is Place.IMPORT:
            # Data that somebody asks an importer for is no import.
            if code.co_name != "get_data" or not frame.f_back or _place(frame.f_back) is Place.IMPORT:
                return None
        elif place is Place.LIBRARY:
            direct = False
        elif place is not Place.PATHS:
            return None
        frame = frame.f_back
    return _NOWHERE


def _is_handler(frame: FrameType) -> bool:
    """Whether logging called the project's code: what a handler of logs does is logging."""
    outer: FrameType | None = frame
    while outer is not None and _place(outer) is Place.PROJECT:
        outer = outer.f_back
    return outer is not None and _place(outer) is Place.LOGGING


def _place(frame: FrameType) -> Place:
    name = frame.f_code.co_filename
    return _places.get(name) or place_of(name)


def place_of(file: str) -> Place:
    """What code in this file means for an event below it, remembered."""
    if len(_places) >= _MOST:
        _places.clear()  # cells and made-up code have ever new names
    _places[file] = found = _find(file)
    return found


def _find(file: str) -> Place:
    if file.startswith("<frozen "):
        if _PATHS.match(file):
            return Place.PATHS
        return Place.IMPORT if "importlib" in file or "zipimport" in file else Place.LIBRARY
    if file.startswith("<"):
        # Made by libraries, as those of dataclasses are, unless a person typed it.
        return Place.PROJECT if file.startswith(_GIVEN) else Place.LIBRARY
    if file.startswith(_PACKAGE):
        if file == _BODY:
            return Place.BODY
        return Place.LIBRARY if file.startswith(_EFFECTS) else Place.OURS
    if _PREFECT.search(file) or file.startswith(_folder_of_prefect()):
        return Place.OURS
    if owner_of("", file) is Owner.PROJECT:
        return Place.PROJECT
    return _kind_of_library(file)


def _kind_of_library(file: str) -> Place:
    if found := _HARMLESS.search(file):
        if "logging" in found[0]:
            return Place.LOGGING
        return Place.IMPORT if "_bootstrap" in found[0] else Place.HARMLESS
    if _POOLS.search(file):
        return Place.POOL
    if _PATHS.match(file):
        return Place.PATHS
    return Place.LOOP if file.endswith(os.path.join("asyncio", "events.py")) else Place.LIBRARY  # noqa: PTH118


def _folder_of_prefect() -> str:
    """Wherever it was installed from."""
    file = getattr(sys.modules.get("prefect"), "__file__", None)
    return os.path.dirname(file) + os.sep if file else "\0"  # noqa: PTH120
