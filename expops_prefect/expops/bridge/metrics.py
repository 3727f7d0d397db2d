"""The metrics of a process and its steps, in the form in which ExpOps passes them to charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, TypeAlias

Series: TypeAlias = dict[str, Any]
"""Values by step number as text."""


@dataclass(frozen=True)
class Logged:
    """One call of ``log_metric``."""

    name: str
    value: Any
    step: int | None


@dataclass
class MetricLog:
    """The metrics of a process and of its steps: by step (``""`` for the process itself), then by metric.

    A number is a point of a series; anything else is the metric's last value.
    """

    content: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, step_name: str, logged: Logged) -> None:
        """Add one call; a point without a step number gets the one after the highest."""
        metrics = self.content.setdefault(step_name, {})
        if isinstance(logged.value, float):
            series = metrics.get(logged.name)
            if not isinstance(series, dict):
                series = metrics[logged.name] = {}
            number = max(map(int, series), default=0) + 1 if logged.step is None else logged.step
            series[str(number)] = logged.value
        else:
            metrics[logged.name] = logged.value


def normalised(name: str, value: Any, step: int | None) -> Logged:
    """Normalise a call: numbers become floats, arrays lists, keys text."""
    plain = _plain(value)
    return Logged(str(name), float(plain) if isinstance(plain, Real) else plain, None if step is None else int(step))


def record(logged: Logged, log_metric: Callable[[str, Any, int | None], None]) -> None:
    """Pass a metric to the recorder, which keeps only series of numbers.

    A list is recorded as a series from step 1, and a dictionary with whole numbers as keys as a series over them. For
    anything else the recorder reports that it is not a number.
    """
    points: list[tuple[Any, int | None]] = [(logged.value, logged.step)]
    if isinstance(logged.value, list) and all(isinstance(item, Real) for item in logged.value):
        points = [(item, number) for number, item in enumerate(logged.value, 1)]
    elif isinstance(logged.value, dict) and all(_is_point(key, item) for key, item in logged.value.items()):
        points = [(item, int(key)) for key, item in logged.value.items()]
    for value, step in points:
        log_metric(logged.name, value, step)


def _is_point(key: str, value: Any) -> bool:
    return isinstance(value, Real) and key.removeprefix("-").isdecimal()


def _plain(value: Any) -> Any:
    if callable(getattr(value, "tolist", None)):
        value = value.tolist()  # numpy's and torch's arrays and scalars
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, Real | str) else str(value)
