"""Metrics: which values are numbers, and the form in which they are stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from expops_prefect import names
from expops_prefect.kv.base import MetricPoint, MetricValue


class MetricRefusedError(ValueError):
    """A value that is no number, or a step that is no whole number."""


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
