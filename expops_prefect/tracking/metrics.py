"""Metrics: which values count as numbers, and how they are stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, Final

from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricValue
from expops_prefect.stores.outbox.numbering import LoggedPoint

_SHOWN: Final = 80
"""The most characters of a refused value that a message shows."""


class MetricRefusedError(ValueError):
    """Raised for a value that is not a number, or a step that is not a whole number."""


def metric_points(values: Iterable[tuple[str, Any]], step: Any | None) -> list[LoggedPoint]:
    """Check metrics and bring them into the stored form.

    Raises:
        MetricRefusedError: a value is not a number, or a step is not a whole number.
    """
    number = None if step is None else _step(step)
    return [LoggedPoint(_name(name), _value(name, value), number) for name, value in values]


def _name(name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise MetricRefusedError(f"a metric's name must be text, not {name!r}")
    return _plain_name(str.__str__(name))  # a subclass may hash and print as it likes


@lru_cache(maxsize=1024)  # a training loop logs under few names
def _plain_name(name: str) -> str:
    # A stat or metric of this name creates phantom runs in ExpOps' clients.
    if name == "status" or name.startswith("__"):
        return names.normalise(name)
    plain = names.shown(name)
    return name if plain == name else f"{plain}-{names.short_hash(name)}"


def _value(name: Any, value: Any) -> MetricValue:
    if type(value) is float and math.isfinite(value):
        return float(value)
    try:
        plain = value
        if not isinstance(plain, Real) and callable(getattr(value, "item", None)):
            plain = value.item()  # numpy's and torch's scalars and one-element arrays
        if isinstance(plain, bool | str | bytes) or type(plain).__name__ in {"bool", "bool_"}:
            raise MetricRefusedError(f"metric {name!r} is {_shown(value)}; pass a number (for a boolean, int(value))")
        if isinstance(plain, Integral) and -(2**63) <= (whole := int(plain)) < 2**63:
            return whole
        number = float(plain)
    except (TypeError, OverflowError, RuntimeError, ValueError) as error:
        if isinstance(error, MetricRefusedError):
            raise
        raise MetricRefusedError(f"metric {name!r} is {_shown(value)}; pass a number") from error
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _step(step: Any) -> int:
    try:
        plain = step.item() if callable(getattr(step, "item", None)) else step
    except (RuntimeError, ValueError):
        plain = None
    if isinstance(plain, bool) or not isinstance(plain, Integral):
        raise MetricRefusedError(f"step is {_shown(step)}; pass a whole number")
    number = int(plain)
    if not -(2**63) <= number < 2**63:
        raise MetricRefusedError(f"step is {_shown(step)}; pass a whole number of at most 64 bits")
    return number


def _shown(value: Any) -> str:
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__, or an integer with too many digits to print
        return f"a value of type {kind}"
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return text if isinstance(value, bool | str | bytes) else f"{kind} {text}"
