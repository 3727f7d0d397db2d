"""Metrics: taken in at once, written in batches at least every half second."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Final

from expops_prefect import names
from expops_prefect.degraded import degrade
from expops_prefect.errors import BackendError
from expops_prefect.kv.base import KVStore, MetricPoint, MetricValue

_MOST_WAITING: Final = 50_000
"""Points held in memory; whoever adds more writes them first."""


class MetricRefusedError(ValueError):
    """A value that is no number, or a step that is no whole number."""


class MetricsBuffer:
    """The points of one run on their way to its KV store. Points of a path are written in order.

    Args:
        kv: where they go.
        run_id: the run.
        flush_seconds: how long a point waits at most.
    """

    def __init__(self, kv: KVStore, run_id: str, flush_seconds: float) -> None:
        self._kv = kv
        self._run_id = run_id
        self._flush_seconds = flush_seconds
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._waiting: dict[str, list[MetricPoint]] = {}
        self._count = 0
        self._paths: set[str] = set()
        self._work = threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, path: str, points: Iterable[MetricPoint]) -> None:
        """Take in points of a probe path."""
        with self._lock:
            waiting = self._waiting.setdefault(path, [])
            size = len(waiting)
            waiting.extend(points)
            self._count += len(waiting) - size
            self._paths.add(path)
            full = self._count >= _MOST_WAITING
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="expops-metrics", daemon=True)
                self._thread.start()
        self._work.set()
        if full:
            self.flush()

    def has(self, path: str) -> bool:
        """Whether any point of a probe path was taken in."""
        return path in self._paths

    def paths(self) -> set[str]:
        """The probe paths that have points."""
        with self._lock:
            return set(self._paths)

    def flush(self) -> None:
        """Write what waits. What cannot be written stays and is tried again with the next batch."""
        with self._flushing:
            with self._lock:
                batches, self._waiting, self._count = self._waiting, {}, 0
            while batches:
                path = next(iter(batches))
                try:
                    self._kv.append_metrics(names.metrics_key(self._run_id, path), batches[path])
                except BackendError as error:
                    degrade("metrics delayed", str(error), key=self._run_id)
                    self._put_back(batches)
                    return
                del batches[path]

    def close(self) -> None:
        """Write what waits and end the background thread."""
        self._closed.set()
        self._work.set()
        self.flush()

    def _put_back(self, batches: dict[str, list[MetricPoint]]) -> None:
        with self._lock:
            for path, points in batches.items():
                self._waiting[path] = points + self._waiting.get(path, [])
            self._count = sum(map(len, self._waiting.values()))

    def _run(self) -> None:
        while not self._closed.is_set():
            self._work.wait()
            self._work.clear()
            if self._closed.wait(self._flush_seconds):
                return
            self.flush()


def metric_points(values: Iterable[tuple[str, Any]], step: Any | None) -> list[MetricPoint]:
    """Check metrics and bring them into the stored form.

    Raises:
        MetricRefusedError: a value that is no number, or a step that is no whole number.
    """
    number = None if step is None else _step(step)
    return [MetricPoint(_name(name), _value(name, value), number) for name, value in values]


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise MetricRefusedError(f"a metric's name is text, not {name!r}")
    # A stat or metric of this name makes phantom runs in ExpOps' clients.
    return name if name != "status" and not name.startswith("__") else names.normalise(name)


def _value(name: Any, value: Any) -> MetricValue:
    plain = value
    if not isinstance(plain, Real) and callable(getattr(value, "item", None)) and getattr(value, "size", 1) == 1:
        plain = value.item()  # numpy's and torch's scalars and one-element arrays
    if isinstance(plain, bool) or type(plain).__name__ in {"bool", "bool_"} or isinstance(plain, str | bytes):
        raise MetricRefusedError(f"metric {name!r} is {value!r}; pass a number (for a truth value, int(value))")
    if isinstance(plain, Integral):
        whole = int(plain)
        return whole if -(2**63) <= whole < 2**63 else float(whole)
    try:
        number = float(plain)
    except (TypeError, ValueError, OverflowError) as error:
        raise MetricRefusedError(f"metric {name!r} is {type(value).__name__} {value!r:.80}; pass a number") from error
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _step(step: Any) -> int:
    plain = step.item() if callable(getattr(step, "item", None)) else step
    if isinstance(plain, bool) or not isinstance(plain, Integral):
        raise MetricRefusedError(f"step={step!r} is no whole number")
    return int(plain)
