"""A flow's parameters as they stand in its run's record."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

_SECRET: Final = re.compile(r"key|credential|secret|token|password", re.IGNORECASE)
_LENGTH: Final = 200
_COUNT: Final = 100


def shown_parameters(parameters: Mapping[str, Any] | None) -> dict[str, str]:
    """Parameters as short texts, by name.

    Args:
        parameters: as Prefect keeps them with the flow run.
    """
    shown = {}
    for name, value in list((parameters or {}).items())[:_COUNT]:
        if _SECRET.search(name):
            shown[name] = "not shown"
            continue
        try:
            text = json.dumps(_masked(value), ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            # Its own text may hold an address, which differs from run to run.
            text = f"a value of type {type(value).__name__}"
        shown[name] = text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"
    return shown


def _masked(value: Any) -> Any:
    """The value without what its own names call a secret."""
    if isinstance(value, Mapping):
        return {str(name): "not shown" if _SECRET.search(str(name)) else _masked(item) for name, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value
