"""JSON values as Firestore values and back, exactly.

Values that Firestore cannot hold (lists in lists, integers above 64 bits, odd or reserved names, deep
nesting) are kept as JSON text in a map with the single field :data:`JSON_FIELD`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from google.cloud.firestore_v1 import types

from expops_prefect.errors import KVDamagedError, KVError
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.encoding import dump, load
from expops_prefect.stores.kv.firestore.layout import KEY_FIELD, REST_FIELD, DocumentPath, is_field, sorted_part

JSON_FIELD: Final = "expops_prefect_json"
_OWN: Final = frozenset({KEY_FIELD, REST_FIELD, JSON_FIELD})
_MAX_ENTRIES: Final = 5_000
"""Fields with more parts than this are kept as text: Firestore allows a document 40,000 index entries,
two for each number or text in it."""
_MAX_DEPTH: Final = 15
"""Firestore's own limit is 20, and this package's fields are up to two levels below the document."""

_Value: Final = types.Value.pb()

Fields = dict[str, Any]
"""A document's fields as JSON values."""


class Unreadable(str):
    """A nested text that should be JSON but is not. Raises only for those who read the key it belongs to."""

    __slots__ = ()
    met: ClassVar[bool] = False
    """Whether this process has met one: until then there is no need to search for them."""


def encode(value: JSON, depth: int = 0) -> Any:
    """A JSON value as Firestore's protobuf value."""
    if isinstance(value, Unreadable):
        return _wrapped(value)
    if value is None:
        return _Value(null_value=0)
    if isinstance(value, bool):
        return _Value(boolean_value=value)
    if isinstance(value, int):
        return _Value(integer_value=value) if -(2**63) <= value < 2**63 else _as_text(value)
    if isinstance(value, float):
        return _Value(double_value=value)
    if isinstance(value, str):
        return _Value(string_value=value)
    if depth >= _MAX_DEPTH:
        return _as_text(value)
    if isinstance(value, dict):
        if JSON_FIELD in value or not all(map(is_field, value)):
            return _as_text(value)
        encoded = _Value()
        encoded.map_value.SetInParent()
        for name, item in value.items():
            encoded.map_value.fields[name].CopyFrom(encode(item, depth + 1))
        return encoded
    encoded = _Value()
    encoded.array_value.SetInParent()
    encoded.array_value.values.extend(
        _as_text(item) if isinstance(item, list) else encode(item, depth + 1) for item in value
    )
    return encoded


def encode_field(value: JSON) -> Any:
    """A JSON value as a field of a document; a large one as text."""
    return _as_text(value) if _entries(value) > _MAX_ENTRIES else encode(value)


def decode(value: Any) -> JSON:
    """A Firestore protobuf value as a JSON value; a time stamp becomes epoch seconds.

    Raises:
        KVError: the type does not exist in JSON.
    """
    kind = value.WhichOneof("value_type")
    if kind == "null_value":
        return None
    if kind == "double_value":
        # Firestore has these numbers and ExpOps writes them, but JSON lacks them.
        number = value.double_value
        return number if math.isfinite(number) else str(number).replace("inf", "Infinity").replace("nan", "NaN")
    if kind in ("boolean_value", "integer_value", "string_value"):
        return getattr(value, kind)
    if kind == "map_value":
        fields = value.map_value.fields
        if len(fields) == 1 and JSON_FIELD in fields and fields[JSON_FIELD].WhichOneof("value_type") == "string_value":
            return _loaded(fields[JSON_FIELD].string_value)
        return {name: decode(item) for name, item in fields.items()}
    if kind == "array_value":
        return [decode(item) for item in value.array_value.values]
    if kind == "timestamp_value":
        return value.timestamp_value.seconds + value.timestamp_value.nanos / 1e9
    raise KVError(f"a document holds a value of the kind {kind}, which is not JSON; find the client that wrote it")


def pack(place: DocumentPath, key: str, value: JSON) -> Fields:
    """The fields of a document that holds only this key."""
    fields = {KEY_FIELD: sorted_part(key)}
    if fields[KEY_FIELD] != key:
        fields[REST_FIELD] = key[len(fields[KEY_FIELD]) :]
    if place.kind == "entry":
        return {**fields, "value": value}
    if isinstance(value, dict) and not value.keys() & _OWN and all(map(is_field, value)):
        return {**value, **fields}
    return {**fields, JSON_FIELD: dump(value)}


def unpack(place: DocumentPath, key: str, fields: Mapping[str, Any]) -> JSON | None:
    """The value of a key in its document, which ExpOps may have written; ``None`` if the document lacks the key.

    Raises:
        KVDamagedError: a text in it is not JSON.
    """
    if place.kind == "field":
        return readable(key, look_up(fields, place.field))
    if place.kind == "entry":
        return readable(key, fields.get("value"))
    if JSON_FIELD in fields:
        return load(key, fields[JSON_FIELD])
    return readable(key, {name: value for name, value in fields.items() if name not in _OWN})


def readable(key: str, value: JSON) -> JSON:
    """The value, unchanged, if all texts in it are readable.

    Raises:
        KVDamagedError: one of them is not JSON.
    """
    waiting = [value] if Unreadable.met else []
    while waiting:
        item = waiting.pop()
        if isinstance(item, Unreadable):
            raise KVDamagedError(f"the value of {key} is not JSON; delete the key", key)
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
    return value


def _loaded(text: str) -> JSON:
    try:
        return load(JSON_FIELD, text)
    except KVDamagedError:
        Unreadable.met = True
        return Unreadable(text)


def key_of(fields: Mapping[str, Any]) -> str:
    """The key in a document that :func:`pack` made."""
    return str(fields[KEY_FIELD]) + str(fields.get(REST_FIELD, ""))


def look_up(fields: Mapping[str, Any], path: Iterable[str]) -> JSON | None:
    """The value of a field, or ``None``."""
    value: Any = fields
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def replaced(fields: Mapping[str, Any], path: Sequence[str], value: JSON | None) -> Fields:
    """A copy of the fields with one of them set, or removed for ``None``."""
    name, rest = path[0], path[1:]
    if rest:
        inner = fields.get(name)
        value = replaced(inner if isinstance(inner, dict) else {}, rest, value)
    elif value is None:
        return {other: item for other, item in fields.items() if other != name}
    return {**fields, name: value}


def _as_text(value: JSON) -> Any:
    return _wrapped(dump(value))


def _wrapped(text: str) -> Any:
    wrapped = _Value()
    wrapped.map_value.fields[JSON_FIELD].string_value = text
    return wrapped


def _entries(value: JSON) -> int:
    if isinstance(value, dict):
        return sum(map(_entries, value.values()))
    return max(len(value), 1) if isinstance(value, list) else 1
