"""Pyplot's open figures. Results loaded only for a comparison must not add to them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Final

_MOST_HELD: Final = 200_000
_OF_EVERYBODY: Final = (type, ModuleType, FunctionType, BuiltinFunctionType)


def open_figures() -> dict[int, Any]:
    """Pyplot's open figures by number; empty if it was not imported."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return {}
    return {number: manager.canvas.figure for number, manager in list(helpers.Gcf.figs.items())}


@contextmanager
def undisturbed() -> Iterator[list[Any]]:
    """Remove figures from pyplot that are loaded inside.

    A figure that pyplot made registers itself again when it is loaded, and becomes the current figure.

    Yields:
        A list; append what you load. Other figures stay, as they may belong to another thread.
    """
    before, loaded = set(open_figures()), list[Any]()
    try:
        yield loaded
    finally:
        new = {id(figure): number for number, figure in open_figures().items() if number not in before}
        for number in _reached(loaded, new):
            # The previous current figure is the last of the others, and so becomes the current one again.
            sys.modules["matplotlib._pylab_helpers"].Gcf.destroy(number)


def _reached(held: list[Any], wanted: dict[int, int]) -> set[int]:
    """The numbers of the wanted objects that are reachable from the held ones, at any depth."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting = list(held) if wanted else []
    while waiting and len(found) < len(wanted) and len(seen) < _MOST_HELD:
        value = waiting.pop()
        if id(value) not in seen and not isinstance(value, _OF_EVERYBODY):
            seen.add(id(value))
            if id(value) in wanted:
                found.add(wanted[id(value)])
            waiting += gc.get_referents(value)
    return found
