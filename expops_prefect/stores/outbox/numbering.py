"""Step numbers for metric points that were logged without one.

Numbers are reserved in a counter before the points are sent. So a batch that is sent twice adds
no point twice, and processes that log to one series never get the same number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint, MetricValue

_MOST_KNOWN: Final = 4096


@dataclass(frozen=True, slots=True)
class LoggedPoint:
    """A point of a series as you log it; without a ``step`` it gets the one after the series' highest."""

    name: str
    value: MetricValue
    step: int | None = None


def with_steps(points: Sequence[LoggedPoint]) -> list[MetricPoint] | None:
    """The points, if you logged all of them with a step."""
    found = [MetricPoint(point.name, point.value, point.step) for point in points if point.step is not None]
    return found if len(found) == len(points) else None


class StepNumbers:
    """Numbers the points of one process.

    Args:
        kv: the store of the counters and the series.
    """

    def __init__(self, kv: KVStore) -> None:
        self._kv = kv
        self._highest: dict[str, dict[str, int]] = {}

    def number(self, key: str, points: Sequence[LoggedPoint], batch: str) -> list[MetricPoint]:
        """The points, each with a step; those without one get the next after the series' highest.

        Args:
            key: their metrics key.
            points: points of any number of series, in order.
            batch: names their batch; the same name always gives the same numbers.

        Raises:
            KVError: the counter could not be written.
        """
        if key not in self._highest:
            if len(self._highest) >= _MOST_KNOWN:
                self._highest.clear()
            series = self._kv.get(key) or {}
            self._highest[key] = {name: max(map(int, steps), default=0) for name, steps in series.items()}
        known = self._highest[key]
        numbered: list[MetricPoint] = []

        def reserve(value: JSON | None) -> JSON:
            # May be called again if another process was faster.
            numbered.clear()
            held = value or {}
            before = held["before"] if held.get("batch") == batch else held.get("highest", {})
            highest = dict(before)
            for point in points:
                top = max(highest.get(point.name, 0), known.get(point.name, 0))
                step = top + 1 if point.step is None else point.step
                highest[point.name] = max(top, step)
                numbered.append(MetricPoint(point.name, point.value, step))
            return {"highest": highest, "batch": batch, "before": before}

        self._kv.update(f"expops_prefect:steps:{key}", reserve)
        return list(numbered)

    def saw(self, key: str, points: Sequence[MetricPoint]) -> None:
        """Note points that have a step, so that later ones come after them."""
        highest = self._highest.get(key)
        if highest is None:
            return  # read from the store when it is first needed
        for point in points:
            highest[point.name] = max(highest.get(point.name, 0), point.step)
