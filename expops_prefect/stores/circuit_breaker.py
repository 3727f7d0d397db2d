"""A circuit breaker for stores: after a call has timed out, the next tasks do not wait for the store again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from expops_prefect.errors import BackendError

_SLOW: Final = 1.0
_FIRST_PAUSE: Final = 15.0
_LONGEST_PAUSE: Final = 300.0


class Availability:
    """Remember for a while that a store did not answer; the pause grows with each timeout in a row.

    Only slow failures count: one that returns at once costs the flow nothing.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._away_until = float("-inf")
        self._pause = _FIRST_PAUSE
        self._why = ""

    def back(self) -> None:
        """Reset: another process has seen the store answer."""
        self._away_until, self._pause = float("-inf"), _FIRST_PAUSE

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Wrap calls of the store.

        Raises:
            BackendError: the store failed, or did not answer recently and is not asked again yet.
        """
        started = self._clock()
        if started < self._away_until:
            raise BackendError(f"not trying again for {self._away_until - started:.0f} s: {self._why}")
        try:
            yield
        except BackendError as error:
            now = self._clock()
            if now - started >= _SLOW:
                self._away_until, self._why = now + self._pause, str(error)
                self._pause = min(_LONGEST_PAUSE, 2 * self._pause)
            raise
        else:
            self._pause = _FIRST_PAUSE
