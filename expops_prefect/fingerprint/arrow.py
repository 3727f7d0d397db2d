"""Encoders for Arrow and polars, whose columns are Arrow. Imported when the first of their objects is encoded."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from expops_prefect.fingerprint import buffers
from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import named, size, string, text
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.leftovers import with_attributes

Chunks: TypeAlias = list[Any]


def encode_chunks(walk: Walk, array: Any) -> bytes:
    """The form of an array or chunked array: type and values.

    Chunks, offsets, all-valid bitmaps and the bytes under nulls are ignored.
    """
    chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
    return named("arrow", string(str(array.type)), _values(walk, array.type, chunks), *_beyond_text(walk, array.type))


def _beyond_text(walk: Walk, kind: Any) -> list[bytes]:
    """What a type's text omits: parameters of extension types, metadata of its fields, sorted keys."""
    if isinstance(kind, pa.BaseExtensionType):
        parameters = kind.__arrow_ext_serialize__() if isinstance(kind, pa.ExtensionType) else b""
        if walk.classes is not None and isinstance(kind, pa.ExtensionType):
            walk.classes.add(type(kind))
        name = string(str(kind.extension_name))
        return [named("extension", name, walk.encode(bytes(parameters or b"")), *_beyond_text(walk, kind.storage_type))]
    more = []
    for number in range(kind.num_fields if pa.types.is_nested(kind) else 0):
        field = kind.field(number)
        inner = [walk.encode(dict(field.metadata))] if field.metadata else []
        inner += _beyond_text(walk, field.type)
        if inner:
            more.append(named("field", size(number), *inner))
    if pa.types.is_dictionary(kind):
        more += _beyond_text(walk, kind.value_type)
    if pa.types.is_map(kind) and kind.keys_sorted and "sorted" not in str(kind):
        more.append(named("sorted"))
    return more


def _values(walk: Walk, kind: Any, chunks: Chunks) -> bytes:
    total = sum(map(len, chunks))
    head = size(total) + _validity(chunks)
    if isinstance(kind, pa.BaseExtensionType):
        return head + _values(walk, kind.storage_type, [chunk.storage for chunk in chunks])
    if pa.types.is_null(kind):
        return head
    if pa.types.is_dictionary(kind):
        one = pa.chunked_array(chunks, type=kind).unify_dictionaries()
        words = one.chunk(0).dictionary if one.num_chunks else pa.array([], kind.value_type)
        indices = [chunk.indices for chunk in one.chunks]
        return head + _values(walk, kind.index_type, indices) + encode_chunks(walk, words)
    if pa.types.is_boolean(kind):
        return head + _stream((_flags(chunk) for chunk in chunks), total)
    if _is_view(kind):
        plain = pa.large_string() if "string" in str(kind) else pa.large_binary()
        kind, chunks = plain, [chunk.cast(plain) for chunk in chunks]
    if any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string)) or any(
        check(kind) for check in (pa.types.is_binary, pa.types.is_large_binary)
    ):
        return head + _texts(chunks)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = [pc.fill_null(pc.list_value_length(chunk), 0) for chunk in chunks]
        inner = [chunk.flatten() for chunk in chunks]
        return (
            head
            + _values(walk, lengths[0].type if lengths else pa.int32(), lengths)
            + _values(walk, kind.value_type, inner)
        )
    if pa.types.is_fixed_size_list(kind):
        return head + _values(walk, kind.value_type, [chunk.flatten() for chunk in chunks])
    if pa.types.is_struct(kind):
        fields = [kind.field(number) for number in range(kind.num_fields)]
        flat = [chunk.flatten() for chunk in chunks]
        parts = [_values(walk, field.type, [c[number] for c in flat]) for number, field in enumerate(fields)]
        return head + b"".join(parts)
    if _is_fixed_width(kind):
        return head + _stream((_numbers(chunk, kind) for chunk in chunks), total * kind.bit_width // 8)
    # Unions, maps, run-ends and any other type by value: slower, but exact.
    return head + walk.sequence([item for chunk in chunks for item in chunk.to_pylist()])


def _is_view(kind: Any) -> bool:
    return str(kind) in ("string_view", "binary_view")


def _is_fixed_width(kind: Any) -> bool:
    if pa.types.is_nested(kind) or pa.types.is_union(kind):
        return False
    try:
        return bool(kind.bit_width % 8 == 0)
    except ValueError:
        return False


def _validity(chunks: Chunks) -> bytes:
    if not any(chunk.null_count for chunk in chunks):
        return b"-"
    total = sum(map(len, chunks))
    return b"+" + _stream((np.ascontiguousarray(_bits(chunk.is_valid())) for chunk in chunks), total)


def _bits(chunk: Any) -> Any:
    return chunk.cast(pa.uint8()).to_numpy(zero_copy_only=False)


def _flags(chunk: Any) -> Any:
    return _bits(chunk.fill_null(False))  # noqa: FBT003 - Arrow's signature


def _numbers(chunk: Any, kind: Any) -> memoryview | bytes:
    width = kind.bit_width // 8
    if not len(chunk):
        return b""
    begin = chunk.offset * width
    view = memoryview(chunk.buffers()[1])[begin : begin + len(chunk) * width]
    if not chunk.null_count:
        return view
    # Overwrite the bytes under nulls with zeros.
    values = np.frombuffer(view, np.uint8).reshape(len(chunk), width).copy()
    values[_bits(chunk.is_valid()) == 0] = 0
    return memoryview(values.reshape(-1))


def _texts(chunks: Chunks) -> bytes:
    chunks = [
        chunk.fill_null("" if "string" in str(chunk.type) else b"") if chunk.null_count else chunk for chunk in chunks
    ]
    return _stream((_lengths(chunk) for chunk in chunks), 0) + _stream(
        map(_characters, chunks), sum(c.nbytes for c in chunks)
    )


def _offsets(chunk: Any) -> Any:
    large = str(chunk.type).startswith("large_")
    offsets = np.frombuffer(chunk.buffers()[1], np.int64 if large else np.int32)
    return offsets[chunk.offset : chunk.offset + len(chunk) + 1]


def _lengths(chunk: Any) -> Any:
    return np.diff(_offsets(chunk)) if len(chunk) else b""


def _characters(chunk: Any) -> memoryview | bytes:
    if not len(chunk) or chunk.buffers()[2] is None:
        return b""
    offsets = _offsets(chunk)
    return memoryview(chunk.buffers()[2])[int(offsets[0]) : int(offsets[-1])]


def _stream(parts: Iterable[Any], total: int) -> bytes:
    plain = (part.view(np.uint8).data if isinstance(part, np.ndarray) else part for part in parts)
    return b"#" + buffers.digest_stream(plain, total)


def encode_array(walk: Walk, value: Any) -> bytes:
    """An Arrow array or chunked array."""
    return named("arrow array", text(class_name(type(value))), encode_chunks(walk, value))


def encode_table(walk: Walk, value: Any) -> bytes:
    """A table or record batch by its schema and columns."""
    if walk.classes is not None:
        walk.classes.add(type(value))
    schema = encode_schema(walk, value.schema)
    names = value.schema.names
    parts = [encode_chunks(walk, value.column(number)) for number in range(len(names))]
    return named("arrow table", text(class_name(type(value))), schema, walk.encode(value.num_rows), *parts)


def encode_schema(walk: Walk, value: Any) -> bytes:
    """A schema by its fields and metadata."""
    return named("arrow schema", walk.encode(value.metadata), *(encode_field(walk, field) for field in value))


def encode_field(walk: Walk, value: Any) -> bytes:
    """A field by name, type, nullability and metadata."""
    plain = walk.encode((value.name, str(value.type), value.nullable, value.metadata))
    return named("arrow field", plain, *_beyond_text(walk, value.type))


def encode_type(walk: Walk, value: Any) -> bytes:
    """A type by its text, which contains most of its parameters, and by the others."""
    return named("arrow type", string(str(value)), *_beyond_text(walk, value))


def encode_scalar(walk: Walk, value: Any) -> bytes:
    """A scalar by type and value."""
    return named("arrow scalar", encode_chunks(walk, pa.array([value.as_py()], value.type)))


def encode_buffer(walk: Walk, value: Any) -> bytes:
    """A buffer by its bytes."""
    return named("arrow buffer", walk.encode(memoryview(value)))


def encode_polars_frame(walk: Walk, value: Any) -> bytes:
    """A polars frame by class and columns."""
    if walk.classes is not None:
        walk.classes.add(type(value))
    columns = [walk.at(f"[{name!r}]", value.get_column(name)) for name in value.columns]
    form = named("polars frame", text(class_name(type(value))), walk.encode(value.height), *columns)
    return with_attributes(walk, value, form, frozenset())


def encode_polars_series(walk: Walk, value: Any) -> bytes:
    """A polars series by name, dtype and values."""
    if walk.classes is not None:
        walk.classes.add(type(value))
    return with_attributes(walk, value, _series_form(walk, value), frozenset())


def _series_form(walk: Walk, value: Any) -> bytes:
    head = (text(class_name(type(value))), string(value.name), string(str(value.dtype)))
    if str(value.dtype) == "Object":  # early releases of polars have no is_object()
        return named("polars series", *head, walk.sequence(value.to_list()))
    try:
        column = value.to_arrow()
    except pa.ArrowInvalid:  # a type that Arrow does not know, such as 128-bit integers
        return named("polars series", *head, walk.sequence(value.to_list()))
    return named("polars series", *head, encode_chunks(walk, column))


def families() -> dict[type, Encoder]:
    """Encoders by base class, for the libraries that are imported."""
    found: dict[type, Encoder] = {
        pa.Array: encode_array,
        pa.ChunkedArray: encode_array,
        pa.Table: encode_table,
        pa.RecordBatch: encode_table,
        pa.Schema: encode_schema,
        pa.Field: encode_field,
        pa.DataType: encode_type,
        pa.Scalar: encode_scalar,
        pa.Buffer: encode_buffer,
    }
    if polars := sys.modules.get("polars"):
        found[polars.DataFrame] = encode_polars_frame
        found[polars.Series] = encode_polars_series
    return found
