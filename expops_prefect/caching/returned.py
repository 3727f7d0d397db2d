"""What a result is beside its bytes: whether it names paths of the checkout in which it was computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from expops_prefect.fingerprint.canonical import ATOMS, Walk
from expops_prefect.fingerprint.foreign import is_for_the_flow
from expops_prefect.fingerprint.forms import roots_of
from expops_prefect.fingerprint.registry import resolve

_ATOMS: Final = ATOMS - {str}
_DATA: Final = frozenset({"numpy", "pandas", "polars", "pyarrow", "scipy"})
"""Packages whose arrays and frames are not searched, however large."""


def place(result: Any, root: Path) -> str:
    """Where the project lies, see :func:`place_of`, if a result names paths below its root; else empty.

    Args:
        result: what a task returned.
        root: the project's folder.
    """
    kind = type(result)
    if kind in _ATOMS or kind.__module__.partition(".")[0] in _DATA:
        return ""
    walk = Walk(resolve, lenient=True, roots=roots_of(root), on_callable=lambda _: b"")
    try:
        walk.encode(result)
    except BaseException as error:
        if is_for_the_flow(error):
            raise
    return place_of(root) if walk.rooted else ""


def place_of(root: Path) -> str:
    """What stands for the place of a project's folder; its path may say too much."""
    return blake3(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest(8)
