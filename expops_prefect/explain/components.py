"""Read the components of a cache key, which :mod:`expops_prefect.cache.key_components` writes."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from expops_prefect._internal.redaction import is_secret_path, masked, masked_text

FORMAT: Final = 1
"""Version of both stored forms; newer ones are not read."""


@dataclass(frozen=True, slots=True)
class Code:
    """The components of a function's code.

    Attributes:
        parts: a digest of each, by the names of :class:`~expops_prefect.fingerprint.code.CodeFingerprint`.
        sources: normalised sources, and the values of plain constants.
    """

    parts: Mapping[str, str]
    sources: Mapping[str, str]


def load_sources(data: bytes, function: str) -> Code | None:
    """Read the object of a function's digest; ``None`` if it is damaged, of another function or of a newer release."""
    try:
        content = orjson.loads(zlib.decompress(data))
        if content["format"] > FORMAT or content["function"] != function:
            return None
        return Code(dict(content["parts"]), dict(content["sources"]))
    except (zlib.error, ValueError, KeyError, TypeError):
        return None


def load_parts(text: str | None) -> Mapping[str, Any] | None:
    """Read the text of a record; ``None`` if there is none in a known format."""
    if not isinstance(text, str):
        return None
    try:
        value = orjson.loads(text)
        known = isinstance(value["inputs"], dict) and isinstance(value["config"], dict)
        return value if known and value["format"] <= FORMAT else None
    except (ValueError, KeyError, TypeError):
        return None


def shown_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A row's fields without secrets, which an older release or another program may have written."""
    return {name: _shown_field(name, value) for name, value in fields.items()}


def _shown_field(name: str, value: Any) -> Any:
    if name in _PLACES:  # names of processes may look like those of secrets
        return value
    if name == "parts" and isinstance(value, str):
        return _shown_parts(value)
    return masked(value)


def _shown_parts(text: str) -> str:
    parts = load_parts(text)
    if parts is None:
        return masked_text(text)
    config = {path: _shown_value(path, str(value)) for path, value in parts["config"].items()}
    inputs = {name: _shown_outline(value) for name, value in parts["inputs"].items()}
    return orjson.dumps({**parts, "config": config, "inputs": inputs}).decode()


def _shown_value(path: str, text: str) -> str:
    """A digest, followed by the configured value."""
    digest, _, value = text.partition(" ")
    if is_secret_path(path) or not value:
        return digest
    try:
        return f"{digest} {orjson.dumps(masked(orjson.loads(value))).decode()}"
    except ValueError:
        return f"{digest} {masked_text(value)}"


def _shown_outline(value: Any) -> Any:
    if isinstance(value, dict):
        return {masked_text(str(path)): masked_text(str(part)) for path, part in value.items()}
    return masked_text(str(value))


_PLACES: Final = frozenset({"process_name", "step_name", "step_of", "upstream", "cache_key", "run_id", "cached_run_id"})
