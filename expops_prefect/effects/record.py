"""The observations of one watch."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final

from expops_prefect.effects import shown
from expops_prefect.effects.origin import Origin
from expops_prefect.models.effects import Effect, Kind, Read, Seen, Write

MOST_READS: Final = 5_000
MOST_EFFECTS: Final = 100
MOST_WRITES: Final = 100_000
Stamp = tuple[int, int, int]


class Record:
    """What a body has done so far. Safe for threads, because each step is one operation on a dictionary.

    Args:
        scratch: folders whose files are ignored, each ending with a separator.
        code: the code object that calls of its function share; ``None`` to ignore other calls.
    """

    __slots__ = ("_code", "_effects", "_private", "_reads", "_started", "_writes", "scratch", "unfinished")

    def __init__(self, scratch: tuple[str, ...], code: object = None) -> None:
        self.scratch = scratch
        self._code = code
        self.unfinished: set[object] = set()
        """Calls that the body submitted to a thread pool and that have not ended."""
        self._effects: dict[tuple[str, str, int], Effect] = {}
        self._reads: dict[tuple[str, bool | None], Read] = {}
        self._writes: dict[str | None, Write] = {}
        self._private: dict[str, tuple[str, Origin]] = {}
        self._started: list[tuple[weakref.ref[threading.Thread], Origin]] = []

    def effect(self, kind: Kind, call: str, origin: Origin, *, seedable: bool = False) -> None:
        """Note an effect; several of one kind on one line are noted once."""
        key = (kind, origin.file, origin.line) if origin.file else (kind, call, 0)
        if key not in self._effects and len(self._effects) < MOST_EFFECTS:
            found = self._effects[key] = _effect(kind, call, origin, seedable=seedable)
            if self._code is not None:
                shown.note(self._code, found)  # immediately, for concurrent calls

    def knows(
        self, path: str, *, listing: bool = False, dated: bool = False, of_link: bool = False, asked: bool = False
    ) -> bool:
        """Whether this read is already noted."""
        found = self._reads.get((path, None if of_link else listing))
        return found is not None and (found.dated or not dated) and (asked or not found.asked)

    def read(
        self,
        path: str,
        stamp: Stamp | None,
        origin: Origin,
        *,
        listing: bool = False,
        dated: bool = False,
        asked: bool = False,
        decides: bool = False,
    ) -> None:
        """Note a file that was read, or a folder that was listed, with its first stamp."""
        if path in self._writes or path.startswith(self.scratch) or self.is_private(path):
            return
        key = (path, listing)
        found = self._reads.get(key)
        if found is not None:
            more = (found.dated or dated, found.asked and asked, found.decides or decides)
            if more != (found.dated, found.asked, found.decides):
                self._reads[key] = Read(path, listing, found.stamp, more[0], asked=more[1], decides=more[2])
            return
        self._add(key, Read(path, listing, stamp, dated, asked=asked, decides=decides), origin)

    def link(self, path: str, stamp: Stamp | None, origin: Origin) -> None:
        """Note a link whose target was read, with its first stamp."""
        known = path in self._writes or path.startswith(self.scratch) or self.is_private(path)
        if not known and (path, None) not in self._reads:
            self._add((path, None), Read(path, listing=False, stamp=stamp, link=True), origin)

    def current_folder(self, path: str, origin: Origin) -> None:
        """Note that a path was made absolute."""
        self._add(("", None), Read(path, listing=False, stamp=None, current=True), origin)

    def _add(self, key: tuple[str, bool | None], read: Read, origin: Origin) -> None:
        if len(self._reads) < MOST_READS:
            self._reads[key] = read
        else:
            self.effect("file read", f"more than {MOST_READS} files", origin)

    def write(
        self,
        path: str | None,
        call: str,
        origin: Origin,
        *,
        absent: bool = False,
        partial: bool = False,
        folder: bool = False,
    ) -> None:
        """Note a change of a file or folder, unless it is private; see :class:`Write`."""
        if path is not None and (path.startswith(self.scratch) or self.is_private(path)):
            return
        if path not in self._writes and len(self._writes) < MOST_WRITES:
            # Of a path that is not known, or of one too many, nothing says that it is part of the result.
            known = path if len(self._writes) < MOST_WRITES - 1 else None
            made = _effect("file write", call, origin)
            self._writes[known] = Write(known, made, absent=absent, partial=partial, folder=folder)
        self.effect("file write", call, origin)

    def private(self, path: str, call: str, origin: Origin) -> None:
        """Note a temporary file or folder that the body creates; it is an effect if it still exists at the end."""
        self._private[path] = call, origin

    def is_private(self, path: str) -> bool:
        """Whether a path is a temporary file of the body, or below a temporary folder."""
        if not self._private:
            return False
        while path not in self._private:
            parent = os.path.dirname(path)  # noqa: PTH120
            if parent == path:
                return False
            path = parent
        return True

    def thread(self, thread: threading.Thread, origin: Origin) -> None:
        """Note a thread that the project's code started; it is an effect if it still runs at the end."""
        self._started.append((weakref.ref(thread), origin))

    def end(self, exists: Any) -> None:
        """Note temporary files and threads that outlive the body.

        Args:
            exists: Python's original ``os.lstat``, which tells whether a path exists.
        """
        for path, (call, origin) in list(self._private.items()):
            if not path.startswith(self.scratch) and _is_there(path, exists):
                self._writes.setdefault(path, Write(path, _effect("file write", call, origin), absent=True))
                self.effect("file write", call, origin)
        for started, origin in self._started:
            thread = started()
            if thread is not None and thread.is_alive():
                self.effect("process", "threading.Thread.start", origin)
        if self.unfinished:
            self.effect("process", "ThreadPoolExecutor.submit", Origin("", 0, direct=False))

    def seen(self) -> Seen:
        """All observations."""
        return Seen(tuple(self._effects.values()), tuple(self._reads.values()), tuple(self._writes.values()))


def _effect(kind: Kind, call: str, origin: Origin, *, seedable: bool = False) -> Effect:
    file = os.path.abspath(origin.file) if origin.file else ""  # noqa: PTH100
    return Effect(kind, call, file, origin.line, seedable)


def _is_there(path: str, lstat: Any) -> bool:
    try:
        lstat(path)
    except OSError:
        return False
    return True
