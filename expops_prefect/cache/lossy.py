"""Compares a result with what a hit loads, and warns of what is lost."""

from __future__ import annotations

import logging
from typing import Any, Final

from expops_prefect._internal.diagnostics import first
from expops_prefect.fingerprint.leftovers import caches_of

_logger = logging.getLogger("prefect.expops")
_MOST: Final = 1000
_DEEPEST: Final = 6


def tell(task: str, result: Any, loaded: Any) -> None:
    """Warn once of what hits will lack; does nothing if only fingerprints differ.

    Args:
        task: the task's name.
        result: what it returned.
        loaded: the same result, as hits load it.
    """
    what = _Comparison().lost(result, loaded, "")
    if what and first("lossy", f"{task} {what}"):
        _logger.warning(
            "%s: its result is not the same when it is loaded from the cache: %s. Hits return the loaded value. Have "
            "the class keep it when it is pickled (__getstate__, __reduce__), or return plain data",
            task,
            what,
        )


class _Comparison:
    """One comparison of a value with its loaded copy."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def lost(self, one: Any, other: Any, path: str, depth: int = 0) -> str:
        """Describe the first difference; empty if none is found."""
        if id(one) in self._seen or len(self._seen) >= _MOST or depth > _DEEPEST:
            return ""
        self._seen.add(id(one))
        where = f" ({path.lstrip('.')})" if path else ""
        kind, now = type(one), type(other)
        if kind is not now:
            # A class pickled by value is created again under the same name.
            same = (kind.__module__, kind.__qualname__) == (now.__module__, now.__qualname__)
            return "" if same else f"{_name(kind)} becomes {_name(now)}{where}"
        if kind in (list, tuple):
            if len(one) != len(other):
                return f"it has {len(other)} items instead of {len(one)}{where}"
            parts = [(f"{path}[{place}]", *both) for place, both in enumerate(zip(one, other, strict=True))]
        elif kind is dict:
            if gone := [key for key in one if key not in other]:
                return f"the key {gone[0]!r:.60} is lost{where}"
            parts = [(f"{path}[{key!r:.60}]", part, other[key]) for key, part in one.items()]
        else:
            mine, left = _attributes(one), _attributes(other)
            gone = sorted(mine.keys() - left.keys())
            if gone:
                return f"{_name(kind)} loses its attribute {gone[0]!r}{where}"
            parts = [(f"{path}.{name}", part, left[name]) for name, part in mine.items()]
        return next((said for name, a, b in parts if (said := self.lost(a, b, name, depth + 1))), "")


def _attributes(value: Any) -> dict[str, Any]:
    """The public attributes without caches: a class rebuilds its private ones."""
    found = getattr(value, "__dict__", None)
    kind: Any = type(value)
    caches = caches_of(kind)
    if not isinstance(found, dict):
        return {}
    return {name: part for name, part in found.items() if not str(name).startswith("_") and name not in caches}


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
