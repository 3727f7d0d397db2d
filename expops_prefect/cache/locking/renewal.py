"""Renews the leases of a process in one thread."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from expops_prefect._internal.diagnostics import Concern, concerned, concerning, degrade


class Renewable(Protocol):
    """Something that has to be renewed from time to time."""

    @property
    def failing(self) -> str:
        """The name under which a failed renewal is logged and counted."""

    @property
    def due(self) -> float:
        """When to renew it next, monotonic seconds."""

    @property
    def renewing(self) -> bool:
        """Whether it still has to be renewed."""

    def beat(self) -> None:
        """Renew it."""

    def give_up(self) -> None:
        """Called when it cannot be renewed."""


class Renewer:
    """Renews what was added; its thread runs only while there is something to renew."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._all: list[tuple[Renewable, Concern]] = []
        self._thread: threading.Thread | None = None

    def in_forked_child(self) -> None:
        """Renew nothing of the parent's in a forked child."""
        self.__init__()  # type: ignore[misc]

    def add(self, item: Renewable) -> None:
        """Renew this item from now on."""
        with self._changed:
            self._all.append((item, concerned()))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="expops-leases", daemon=True)
                self._thread.start()
            self._changed.notify()

    def wake(self) -> None:
        """Check again what has to be renewed."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._all = [held for held in self._all if held[0].renewing]
                if not self._all:
                    self._thread = None
                    return
                now = time.monotonic()
                due = [held for held in self._all if held[0].due <= now]
                if not due:
                    self._changed.wait(min(item.due for item, _ in self._all) - now)
            for item, whom in due:
                with concerning(whom):
                    try:
                        item.beat()
                    except Exception as error:  # noqa: BLE001 - the other items still have to be renewed
                        degrade(item.failing, repr(error))
                        item.give_up()
