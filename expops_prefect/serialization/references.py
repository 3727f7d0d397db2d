"""The reference dictionaries of a manifest: their markers, and the types that cannot contain them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

ARRAY_MARKER: Final = "__mlops_payload_ref__"
MODEL_MARKER: Final = "__mlops_model_ref__"
OWN_MARKER: Final = "__expops_payload_ref__"
MARKERS: Final = (ARRAY_MARKER, MODEL_MARKER, OWN_MARKER)

ATOMS: Final = frozenset({type(None), bool, int, float, complex, str})
"""Types whose values are never replaced."""


def is_marked(value: dict[Any, Any]) -> bool:
    """Whether a dictionary is a reference, or looks like one."""
    return ARRAY_MARKER in value or MODEL_MARKER in value or OWN_MARKER in value


def only_atoms(values: Iterable[object]) -> bool:
    """Whether no value can contain references; runs in C, because lists of numbers may be long."""
    return ATOMS.issuperset(map(type, values))
