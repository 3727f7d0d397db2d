"""Encoders for ``unittest.mock`` objects that code refers to, by what they are configured to return."""

from __future__ import annotations

from typing import Any, Final
from unittest import mock

from expops_prefect.fingerprint.canonical import Walk
from expops_prefect.fingerprint.encoding_primitives import named, text

_REASON: Final = "what a mock returns cannot be determined; pass plain data"
_NOTHING: Final = b""


def encode_mock(walk: Walk, value: Any) -> bytes:
    """A mock by what it and its attributes return or raise, and by attributes set on it; not by its calls."""
    if not walk.lenient:
        return walk.refuse(value, _REASON)
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, named("mock", _configuration(walk, value)))


def _configuration(walk: Walk, value: Any) -> bytes:
    """A mock's configuration; empty for one that was only used, because use creates child mocks."""
    held = object.__getattribute__(value, "__dict__")
    parts: list[tuple[str, bytes]] = []
    usual = _usual(held.get("_mock_new_parent"), str(held.get("_mock_name") or ""))
    for name in ("_mock_return_value", "_mock_side_effect", "_mock_wraps"):
        part = held.get(name)
        if part is None or part is mock.DEFAULT or getattr(part, "__module__", None) == "unittest.mock":
            continue
        if name != "_mock_return_value" or usual is None or type(part) is not type(usual) or part != usual:
            parts.append((name, _form(walk, part)))
    parts += [(f".{name}", _form(walk, child)) for name, child in dict(held.get("_mock_children") or {}).items()]
    kept = ("_mock_", "_spec_", "method_calls")
    parts += [(f"={name}", _form(walk, part)) for name, part in held.items() if not name.startswith(kept)]
    configured = sorted((name, form) for name, form in parts if form)
    return named("told", *(text(name) + form for name, form in configured)) if configured else _NOTHING


def _usual(parent: Any, name: str) -> Any:
    """The default result of a special method of a mock."""
    calculated = getattr(mock, "_calculate_return_value", {}).get(name)
    return getattr(mock, "_return_values", {}).get(name) if calculated is None else calculated(parent)


def _form(walk: Walk, part: Any) -> bytes:
    if not isinstance(part, mock.NonCallableMock):
        return _NOTHING if type(part).__module__ == "unittest.mock" else walk.encode(part)
    if walk.enter(part) is not None:
        return _NOTHING  # its parent, or a mock that was already encoded
    configured = _configuration(walk, part)
    walk.leave(part, configured)
    return configured
