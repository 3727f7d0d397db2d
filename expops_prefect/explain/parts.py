"""Reading what a cache key was made of: see :mod:`expops_prefect.caching.parts`, which writes it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

FORMAT: Final = 1
"""Version of both forms; newer ones are not read."""


@dataclass(frozen=True, slots=True)
class Code:
    """The parts of a function's code.

    Attributes:
        parts: a digest for each, by the names of :class:`~expops_prefect.fingerprint.code.CodeFingerprint`.
        sources: normalised sources, and the values of plain constants.
    """

    parts: Mapping[str, str]
    sources: Mapping[str, str]


def load_sources(data: bytes, function: str) -> Code | None:
    """Read the object of a function's digest; ``None`` if it is damaged, another's or of a newer release."""
    try:
        content = orjson.loads(zlib.decompress(data))
        if content["format"] > FORMAT or content["function"] != function:
            return None
        return Code(dict(content["parts"]), dict(content["sources"]))
    except (zlib.error, ValueError, KeyError, TypeError):
        return None


def load_parts(text: str | None) -> Mapping[str, Any] | None:
    """Read the text of a record; ``None`` if there is none that is known here."""
    if not isinstance(text, str):
        return None
    try:
        value = orjson.loads(text)
        known = isinstance(value["inputs"], dict) and isinstance(value["config"], dict)
        return value if known and value["format"] <= FORMAT else None
    except (ValueError, KeyError, TypeError):
        return None
