"""Signatures of cache records, for projects whose records others can write too.

A record says which bytes a result has, and these bytes are unpickled: anybody who can write records can run code
on the workers. If the project's machines share a secret key, records are signed, and records without a valid
signature are not used. A signature covers the whole record and its KV key, so a record cannot be moved to another
key.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import orjson

FIELD: Final = "signature"
"""The field of a record that holds its signature."""
MIN_KEY_LENGTH: Final = 32
"""The least number of characters in a key."""
_SCHEME: Final = "hmac-sha256:"
_CONTEXT: Final = b"expops-prefect cache record 1\0"


class Signatures:
    """Signs records and verifies signatures.

    Args:
        keys: the first one signs, all verify; without keys nothing is signed and every record is valid.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"Signatures(<{len(self._keys)} keys>)"

    def __reduce__(self) -> Any:
        raise TypeError("keys do not leave their process; each reads the file of keys itself")

    @property
    def required(self) -> bool:
        """Whether records must be signed."""
        return bool(self._keys)

    def signed(self, kv_key: str, value: dict[str, Any]) -> dict[str, Any]:
        """A record's JSON form with its signature for a KV key; unchanged without keys."""
        if not self._keys:
            return value
        return {**value, FIELD: _signature(self._keys[0], kv_key, value)}

    def valid(self, kv_key: str, value: Any) -> bool:
        """Whether a value was signed for this KV key with one of the keys; true without keys."""
        if not self._keys:
            return True
        found = value.get(FIELD) if isinstance(value, dict) else None
        if not isinstance(found, str) or not found.isascii():
            return False
        try:
            return any(hmac.compare_digest(found, _signature(key, kv_key, value)) for key in self._keys)
        except (TypeError, ValueError):  # was never signed
            return False


def read_keys(file: Path) -> tuple[bytes, ...]:
    """The keys in a file, one a line; skips empty lines and lines that start with ``#``.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no key, or a short one; the message says what is allowed without showing a key.
    """
    try:
        text = file.read_bytes().decode()
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    keys = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))
    if not keys:
        raise ValueError("it holds no key")
    if any(len(key) < MIN_KEY_LENGTH for key in keys):
        raise ValueError(f"it holds a key of fewer than {MIN_KEY_LENGTH} characters")
    return tuple(key.encode() for key in keys)


def _signature(key: bytes, kv_key: str, value: dict[str, Any]) -> str:
    whole = [kv_key, {name: item for name, item in value.items() if name != FIELD}]
    text = orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)
    return _SCHEME + hmac.digest(key, _CONTEXT + text, "sha256").hex()
