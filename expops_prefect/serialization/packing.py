"""Converts a result to its skeleton, with large parts replaced by references and collected as payloads."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from expops_prefect.errors import ResultNotStorableError
from expops_prefect.serialization import arrays, frames, pickling
from expops_prefect.serialization.deferred import Deferred
from expops_prefect.serialization.payloads import Payload, PayloadRef, payload
from expops_prefect.serialization.references import ARRAY_MARKER, ATOMS, MODEL_MARKER, OWN_MARKER, is_marked, only_atoms
from expops_prefect.stores.objects.base import Buffer

_DEPTH: Final = 64


class _NotWalkableError(Exception):
    """A container contains itself, or containers are nested too deeply."""


class Packer:
    """Replaces large parts by references, and collects the payloads."""

    def __init__(self, spill_bytes: int, uri: Callable[[str], str]) -> None:
        self.payloads: dict[PayloadRef, Payload] = {}
        self._spill = spill_bytes
        self._uri = uri
        self.linked = False
        self._whole = False
        self._open: set[int] = set()
        # By the id of an object in the result, which outlives the packer.
        self._containers: dict[int, object] = {}
        self._parts: dict[int, object] = {}
        self._kept: dict[int, object] = {}

    def skeleton(self, value: object) -> object:
        """The value with its large parts replaced, except those that only a pickler finds."""
        try:
            return self._replace(value)
        except _NotWalkableError:
            # References could not be resolved one by one; the pickler can handle such containers.
            self._whole = True
            self.linked = False
            self.payloads.clear()
            return value

    def split(self, value: object) -> object:
        """Like :meth:`skeleton`, with every object that has large buffers replaced too."""
        if self._whole:
            return self._pickled(value)
        by_type: dict[type, list[object]] = {}
        for part in self._kept.values():
            by_type.setdefault(type(part), []).append(part)
        for parts in by_type.values():
            # All objects of a type at once, because there may be many small ones.
            large = pickling.LargeBuffers(self._spill)
            pickling.dumps(parts, keep=large)
            if large.found:
                self._parts.update({id(part): self._pickled(part) for part in parts})
        self._containers.clear()
        return self._replace(value)

    def _replace(self, value: Any) -> object:
        kind = type(value)
        if kind in ATOMS:
            return value
        if kind is dict:
            return value if only_atoms(value.values()) and not is_marked(value) else self._once(value, self._dict)
        if kind is list or kind is tuple:
            return value if only_atoms(value) else self._once(value, self._sequence)
        key = id(value)
        if key not in self._parts:
            self._parts[key] = self._part(value)
            if self._parts[key] is value:
                self._kept[key] = value
        return self._parts[key]

    def _once(self, value: Any, replace: Callable[[Any], object]) -> object:
        key = id(value)
        if key in self._containers:
            return self._containers[key]
        if key in self._open or len(self._open) >= _DEPTH:
            raise _NotWalkableError
        self._open.add(key)
        try:
            replaced = replace(value)
        finally:
            self._open.discard(key)
        self._containers[key] = replaced
        return replaced

    def _dict(self, value: dict[Any, Any]) -> object:
        parts = [self._replace(part) for part in value.values()]
        same = all(map(operator.is_, parts, value.values()))
        replaced = value if same else dict(zip(value, parts, strict=True))
        if not is_marked(value):
            return replaced
        self.linked = True
        return {OWN_MARKER: True, "format": "dict", "items": list(replaced.items())}

    def _sequence(self, value: list[Any] | tuple[Any, ...]) -> object:
        parts = [self._replace(part) for part in value]
        if all(map(operator.is_, parts, value)):
            return value
        return parts if type(value) is list else tuple(parts)

    def _part(self, value: Any) -> object:
        if isinstance(value, Deferred):
            return self._deferred(value)
        if isinstance(value, (bytes, bytearray)):
            if type(value) not in {bytes, bytearray} or len(value) < self._spill:
                return value
            return self._reference({OWN_MARKER: True, "format": type(value).__name__}, [value], ".buf")
        if arrays.is_plain(value):
            if value.nbytes < self._spill:
                return value
            fields, parts = arrays.encode(value)
            return self._reference({ARRAY_MARKER: True, "meta": {"origin_type": "ndarray", **fields}}, parts, ".npz")
        frame = frames.encode(value, self._spill)
        if frame is not None:
            return self._reference({OWN_MARKER: True, **frame.fields}, frame.parts, ".arrow")
        if _is_estimator(value):
            return self._model(value)
        return value

    def _deferred(self, value: Deferred[Any]) -> object:
        """A separate pickle, with references for its large parts, so that it can be loaded alone."""
        self.linked = True
        link = {
            OWN_MARKER: True,
            "format": "deferred",
            "fingerprint": value.fingerprint,
            "classes": list(value.classes),
        }
        stream = pickling.dumps(self._replace(value.value()))
        if len(stream) < self._spill:
            return {**link, "pickle": stream}
        return {**link, "part": self._reference({}, [stream], ".pkl")}

    def _model(self, value: object) -> object:
        try:
            stream = pickling.dumps(value)
        except ResultNotStorableError:  # raised again for the whole result, with the path to this model
            return value
        return value if len(stream) < self._spill else self._reference({MODEL_MARKER: True}, [stream], ".joblib")

    def _pickled(self, value: object) -> object:
        """The reference of an object with large buffers; any other object itself."""
        kept = pickling.KeptBuffers(self._spill)
        stream = pickling.dumps(value, keep=kept)
        if not kept.buffers:
            return value
        links = [self._reference({}, [part], ".buf") for part in kept.apart]
        return {OWN_MARKER: True, "format": "pickle", "pickle": stream, "buffers": links}

    def _reference(self, fields: dict[str, Any], parts: Sequence[Buffer], suffix: str) -> dict[str, Any]:
        self.linked = True
        made = payload(parts, suffix)
        ref = made.ref
        self.payloads.setdefault(ref, made)
        return {**fields, "uri": self._uri(ref.key), "digest": ref.digest, "size": ref.size, "suffix": suffix}


def _is_estimator(value: object) -> bool:
    sklearn = sys.modules.get("sklearn.base")
    return sklearn is not None and isinstance(value, sklearn.BaseEstimator)
