"""Converts a skeleton to the result by replacing references with the content of their payloads."""

from __future__ import annotations

import operator
from functools import partial
from typing import Any

from expops_prefect.serialization import arrays, frames, pickling
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.serialization.payloads import PayloadReader, PayloadRef, load, load_verified
from expops_prefect.serialization.references import ARRAY_MARKER, MODEL_MARKER, is_marked, only_atoms


class Resolver:
    """Replaces references by their values. It changes lists and dictionaries in place, because it owns them."""

    def __init__(self, reader: PayloadReader) -> None:
        self._reader = reader
        # With the original, so that its id is not reused meanwhile.
        self._done: dict[int, tuple[object, object]] = {}

    def resolve(self, value: Any) -> object:
        """The value with every reference below it replaced; a shared part is resolved once."""
        kind = type(value)
        if kind is dict:
            if only_atoms(value.values()) and not is_marked(value):
                return value
        elif (kind is not list and kind is not tuple) or only_atoms(value):
            return value
        key = id(value)
        if key not in self._done:
            self._done[key] = (value, self._resolve(value))
        return self._done[key][1]

    def _resolve(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> object:
        if isinstance(value, dict):
            if is_marked(value):
                return self._load(value)
            for key, part in value.items():
                value[key] = self.resolve(part)
            return value
        parts = [self.resolve(part) for part in value]
        if isinstance(value, list):
            value[:] = parts
            return value
        return value if all(map(operator.is_, parts, value)) else tuple(parts)

    def _load(self, link: dict[str, Any]) -> object:
        if ARRAY_MARKER in link:
            return arrays.decode(link["meta"], load(_ref(link), self._reader))
        if MODEL_MARKER in link:
            return pickling.loads(load_verified(_ref(link), self._reader))
        kind = link["format"]
        if kind == "dict":
            return {key: self.resolve(part) for key, part in link["items"]}
        if kind == "deferred":
            return Deferred(
                link["fingerprint"], tuple(link["classes"]), load=partial(_load_deferred, link, self._reader)
            )
        if kind == "bytes":
            return bytes(load(_ref(link), self._reader))
        if kind == "bytearray":
            return bytearray(load(_ref(link), self._reader))
        if kind == "pickle":
            return pickling.loads(link["pickle"], [load(_ref(buffer), self._reader) for buffer in link["buffers"]])
        return frames.decode(link, load(_ref(link), self._reader))


def _load_deferred(link: dict[str, Any], reader: PayloadReader) -> object:
    stream = link["pickle"] if "pickle" in link else load_verified(_ref(link["part"]), reader)
    return Resolver(reader).resolve(pickling.loads(stream))


def _ref(link: dict[str, Any]) -> PayloadRef:
    return PayloadRef(link["digest"], link["size"], link["suffix"])
