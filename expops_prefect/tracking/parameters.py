"""A flow's parameters as the run's record shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from expops_prefect._internal.redaction import HIDDEN, is_secret, masked

_LENGTH: Final = 200
_COUNT: Final = 100


def shown_parameters(parameters: Mapping[str, Any] | None) -> dict[str, str]:
    """Parameters as short texts, by name.

    Args:
        parameters: as Prefect stores them with the flow run.
    """
    shown = {}
    for name, value in list((parameters or {}).items())[:_COUNT]:
        if is_secret(name):
            shown[name] = HIDDEN
            continue
        try:
            text = json.dumps(masked(value), ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            # Its repr may contain an address, which differs between runs.
            text = f"a value of type {type(value).__name__}"
        shown[name] = text if len(text) <= _LENGTH else f"{text[:_LENGTH]}…"
    return shown
