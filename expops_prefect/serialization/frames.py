"""Stores frames and tables as Arrow files, if Arrow represents them exactly."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expops_prefect.errors import FormatError
from expops_prefect.serialization import arrow, pandas_frames
from expops_prefect.stores.objects.base import Buffer

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Encoded:
    """The fields of a frame's reference, and the parts of its file."""

    fields: dict[str, Any]
    parts: list[Buffer]


def encode(value: object, spill_bytes: int) -> Encoded | None:
    """Encode a frame, series or table as an Arrow file; ``None`` for others, and for small or inexact ones."""
    library = type(value).__module__.partition(".")[0]
    if library not in {"pandas", "polars", "pyarrow"} or library not in sys.modules:
        return None
    import pyarrow as pa

    encoders = {"pandas": pandas_frames.encode, "polars": _encode_polars, "pyarrow": _encode_table}
    try:
        encoded = encoders[library](value, spill_bytes)
    except (pa.ArrowException, UnicodeError, OverflowError):  # Arrow has no form for some value in it
        return None
    return None if encoded is None else Encoded(*encoded)


def decode(fields: dict[str, Any], view: memoryview) -> object:
    """The value of :func:`encode`; it uses the memory of ``view`` as far as its library allows.

    Raises:
        FormatError: a format that this release does not know.
    """
    kind = fields["format"]
    if kind in {pandas_frames.PLAIN, pandas_frames.MASKED}:
        return pandas_frames.decode(fields, view)
    if kind == "polars-arrow":
        return _decode_polars(fields, view)
    if kind == "arrow":
        table = arrow.read(view)
        return table if fields["type"] == "Table" else table.to_batches()[0]
    raise FormatError(f"unknown payload format {kind!r}; it was written by a newer release of expops-prefect")


def _encode_polars(value: Any, spill_bytes: int) -> tuple[dict[str, Any], list[Buffer]] | None:
    import polars as pl

    if type(value) is pl.DataFrame:
        frame, kind = value, "DataFrame"
    elif type(value) is pl.Series:
        frame, kind = value.to_frame(), "Series"
    else:
        return None
    if not hasattr(pl, "CompatLevel"):  # before Polars 1.1, text would be loaded in another layout
        return None
    if frame.estimated_size() < spill_bytes or not all(map(_is_exact_in_arrow, frame.dtypes)):
        return None
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    return {"format": "polars-arrow", "type": kind, "columns": frame.columns}, arrow.write(table)


def _decode_polars(fields: dict[str, Any], view: memoryview) -> object:
    import polars as pl

    frame: Any = pl.from_arrow(arrow.read(view), rechunk=False)
    frame.columns = fields["columns"]  # Polars renames empty ones
    return frame if fields["type"] == "DataFrame" else frame.to_series()


def _is_exact_in_arrow(dtype: Any) -> bool:
    import polars as pl

    if isinstance(dtype, (pl.List, pl.Array)):
        return _is_exact_in_arrow(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return all(_is_exact_in_arrow(field.dtype) for field in dtype.fields)
    integers = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
    others = (pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Binary, pl.Date, pl.Datetime, pl.Duration, pl.Time)
    return isinstance(dtype, (*integers, *others))


def _encode_table(value: Any, spill_bytes: int) -> tuple[dict[str, Any], list[Buffer]] | None:
    import pyarrow as pa

    if type(value) not in {pa.Table, pa.RecordBatch} or value.nbytes < spill_bytes:
        return None
    if any(_has_extension(field.type) for field in value.schema):
        return None  # loaded as an extension only if its type is registered
    return {"format": "arrow", "type": type(value).__name__}, arrow.write(value)


def _has_extension(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_dictionary(kind):
        return _has_extension(kind.value_type)
    return any(_has_extension(kind.field(position).type) for position in range(kind.num_fields))
