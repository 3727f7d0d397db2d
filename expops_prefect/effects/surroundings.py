"""What a body leaves behind in its process beside results: the import path, arithmetic's precision, open figures.

No event tells of these; they are few, and small enough to be compared around every body.
"""

from __future__ import annotations

import decimal
import sys
from typing import Any

Snapshot = dict[str, Any]


def snapshot() -> Snapshot:
    """What is there now."""
    return {
        "sys.path": list(sys.path),
        "decimal's context": _precision(),
        "sys.setrecursionlimit": sys.getrecursionlimit(),
        "figures": _figures().keys(),
    }


def changed(before: Snapshot, result: Any) -> list[str]:
    """What is another than before.

    Args:
        before: as :func:`snapshot` gave it.
        result: what the body gave back: a figure in it is no figure that is left behind.
    """
    now = snapshot()
    found = [name for name in ("sys.path", "decimal's context", "sys.setrecursionlimit") if now[name] != before[name]]
    held = result if isinstance(result, (list, tuple)) else (result,)
    for number, figure in _figures().items():
        if number not in before["figures"] and not any(part is figure for part in held):
            found.append("a figure that it leaves open")
            break
    if before["figures"] - now["figures"]:
        found.append("a figure that it closes")
    return found


def _precision() -> tuple[Any, ...]:
    context = decimal.getcontext()
    return context.prec, context.rounding, context.Emin, context.Emax, tuple(context.traps.values())


def _figures() -> dict[int, Any]:
    """Pyplot's open figures by number, if it was imported."""
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return {}
    return {number: manager.canvas.figure for number, manager in list(helpers.Gcf.figs.items())}
