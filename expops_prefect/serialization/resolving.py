"""From a skeleton to the result: references replaced by what their payloads hold."""

from __future__ import annotations

from typing import Any

from expops_prefect.serialization import arrays, frames, pickling
from expops_prefect.serialization.payloads import PayloadReader, PayloadRef, load, load_verified
from expops_prefect.serialization.references import ARRAY_MARKER, MARKERS, MODEL_MARKER, only_atoms


class Resolver:
    """Puts payloads back in place of references. Lists and dictionaries are changed in place: they are ours."""

    def __init__(self, reader: PayloadReader) -> None:
        self._reader = reader
        # With the original, so that its id is not given to another object meanwhile.
        self._done: dict[int, tuple[object, object]] = {}

    def resolve(self, value: Any) -> object:
        """The value with every reference below it replaced; a shared part is resolved once."""
        kind = type(value)
        if kind is not dict and kind is not list and kind is not tuple:
            return value
        key = id(value)
        if key not in self._done:
            self._done[key] = (value, self._resolve(value))
        return self._done[key][1]

    def _resolve(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> object:
        if isinstance(value, dict):
            if any(marker in value for marker in MARKERS):
                return self._load(value)
            if not only_atoms(value.values()):
                for key, part in value.items():
                    value[key] = self.resolve(part)
            return value
        if only_atoms(value):
            return value
        if isinstance(value, list):
            value[:] = [self.resolve(part) for part in value]
            return value
        parts = tuple(self.resolve(part) for part in value)
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts

    def _load(self, link: dict[str, Any]) -> object:
        if ARRAY_MARKER in link:
            return arrays.decode(link["meta"], load(_ref(link), self._reader))
        if MODEL_MARKER in link:
            return pickling.loads(load_verified(_ref(link), self._reader))
        kind = link["format"]
        if kind == "dict":
            return {key: self.resolve(part) for key, part in link["items"]}
        if kind == "bytes":
            return bytes(load(_ref(link), self._reader))
        if kind == "bytearray":
            return bytearray(load(_ref(link), self._reader))
        if kind == "pickle":
            return pickling.loads(link["pickle"], [load(_ref(buffer), self._reader) for buffer in link["buffers"]])
        return frames.decode(link, load(_ref(link), self._reader))


def _ref(link: dict[str, Any]) -> PayloadRef:
    return PayloadRef(link["digest"], link["size"], link["suffix"])
