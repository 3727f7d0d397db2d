"""Watches what a task's body does beside computing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Final

from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.effects import following, generators, libraries, paths, questions, traffic
from expops_prefect.effects.chain import Link, current, here, innermost, running
from expops_prefect.effects.hearing import heard, hook, is_own, note_write, real_lstat
from expops_prefect.effects.origin import Origin
from expops_prefect.effects.record import Record
from expops_prefect.models.effects import CodeEffects, Seen

_NOTHING: Final = Origin("", 0, direct=False)
_CALLS: Final = {"random": "random (global generator)", "numpy": "numpy.random (global generator)"}


class watching:  # noqa: N801 - a context, used as a verb
    """Watch a body: what it opens, writes, connects to and starts, also in its threads and coroutines.

    Watches nest: what happens in an inner body is observed by the outer watches too. Around an awaited coroutine, use
    it in the same asyncio task.

    Args:
        known: the effects found in the code of the task; the generators that it seeds are ignored.
        scratch: folders whose files are ignored, such as this package's own.
        code: the code object that calls of its function share, see :func:`~expops_prefect.effects.shown.code_of`.

    Attributes:
        overlapped: whether another body ran at the same time in the process, so that it is unknown which of them drew
            from a global generator.
    """

    __slots__ = ("_before", "_draws_nothing", "_link", "_record", "_seeds", "_thread", "_token", "overlapped")

    def __init__(self, known: CodeEffects | None = None, *, scratch: Sequence[str] = (), code: object = None) -> None:
        self._seeds = known.seeds if known is not None else frozenset()
        self._draws_nothing = known is not None and known.resolved and not known.may_draw
        self._record = Record(tuple(folder.rstrip("/\\") + "/" for folder in scratch), code)
        self._link = Link(self._record, None)
        self._before: dict[str, Any] = {}
        self._token: Token[Link | None] | None = None
        self._thread = 0
        self.overlapped = False

    def __enter__(self) -> watching:
        install()
        outer = here()
        while outer is not None and outer.record is None:
            outer = outer.outer
        self._link.outer = outer
        self._thread = threading.get_ident()
        self._before = generators.snapshot(self._seeds)
        self._meet()
        self._token = current.set(self._link)
        return self

    def _meet(self) -> None:
        """Find the bodies that run concurrently."""
        around = set()
        link = self._link.outer
        while link is not None:
            around.add(id(link))
            link = link.outer
        watches = of_process(_Watches)
        with watches.lock:
            for other in list(watches.open.values()):
                # A surrounding body waits for this one, unless it runs in another thread.
                if id(other._link) not in around or other._thread != self._thread:
                    self.overlapped = True
                    if id(other._link) not in around:
                        other.overlapped = True
            running[id(self._link)] = self._link
            watches.open[id(self._link)] = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watches = of_process(_Watches)
        with watches.lock:
            running.pop(id(self._link), None)
            watches.open.pop(id(self._link), None)
        self._link.record = None
        try:
            if self._token is not None:
                current.reset(self._token)
        except ValueError:
            pass  # a generator was closed in another context; its link is marked as ended anyway
        try:
            if not self.overlapped:
                for name in generators.drawn(self._before, self._seeds):
                    if name == "random" and self._draws_nothing:
                        continue  # Prefect's own threads draw from it too, and the code does not
                    call = _CALLS.get(name, f"{name} (global generator)")
                    self._record.effect("random", call, _NOTHING, seedable=True)
            self._record.end(real_lstat)
        except Exception as failed:
            if not is_own(failed):
                raise
        self._before = {}

    def seen(self) -> Seen:
        """What the body did, without harmless events; call it after the body, however it ended."""
        return self._record.seen()


def note_file(path: str) -> None:
    """Note a file or folder of a cached result: a body that calls its task would else have written it."""
    link = innermost()
    if link is not None:
        heard(note_write, link, path, f'open("{paths.shown(path)}")', _NOTHING)


class _Watches:
    """The watches of this process.

    Attributes:
        lock: held while a watch begins or ends.
        installed: whether the audit hook is installed; it cannot be removed.
        open: the watches whose bodies run; concurrent bodies share the generators.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.installed = False
        self.open: dict[int, watching] = {}


def install() -> None:
    """Add the audit hook of this process, once."""
    here = of_process(_Watches)
    if not here.installed:
        with here.lock:
            if not here.installed:
                sys.addaudithook(hook)
                questions.install()
                here.installed = True
    following.install()
    libraries.install()
    traffic.install()
    generators.install()
