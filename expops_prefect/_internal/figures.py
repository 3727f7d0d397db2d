"""The figures that pyplot knows: of all that is loaded only to be looked at, none may stay among them."""

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
    """Pyplot's open figures by number, if it was imported."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return {}
    return {number: manager.canvas.figure for number, manager in list(helpers.Gcf.figs.items())}


@contextmanager
def undisturbed() -> Iterator[list[Any]]:
    """Load something only to look at it: a figure that is loaded is none of pyplot's afterwards.

    Figures that pyplot made tell it when they are loaded again: it numbers them, and the last is the current one.

    Yields:
        A list for what is loaded: only figures in there are forgotten, others may be another thread's.
    """
    before, loaded = set(open_figures()), list[Any]()
    try:
        yield loaded
    finally:
        new = {id(figure): number for number, figure in open_figures().items() if number not in before}
        for number in _reached(loaded, new):
            # The one that was the current figure before is the last of the others, and so the current one again.
            sys.modules["matplotlib._pylab_helpers"].Gcf.destroy(number)


def _reached(held: list[Any], wanted: dict[int, int]) -> set[int]:
    """Which of these objects something holds, at whatever depth."""
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
