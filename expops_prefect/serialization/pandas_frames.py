"""Stores pandas frames and series as one Arrow record batch, if that keeps all their properties.

Each column is stored as it is in pandas' memory: numbers, booleans (as bytes), times, the codes of
categoricals, the values and the mask of nullable numbers and booleans. Text becomes Arrow text. Labels,
dtypes and categories are pickled separately. Everything else (missing values in object columns, mixed
cells, time zones, sparse or interval columns, several index levels, an index frequency, ``attrs``) is
left to pickle, which is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from expops_prefect.serialization import arrow, pickling
from expops_prefect.stores.objects.base import Buffer

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

PLAIN: Final = "pandas-arrow"
MASKED: Final = "pandas-arrow-masked"
"""Format with the masks of nullable columns at the end; a release that knows only :data:`PLAIN` refuses it."""
_MAX_COLUMNS: Final = 100
"""A loaded frame has one block per column, and pandas warns above a hundred. Pickle keeps columns in common blocks."""
_KINDS: Final = frozenset("biufmM")
_TEXT: Final = frozenset({str, type(None)})


def encode(value: Any, spill_bytes: int) -> tuple[dict[str, Any], list[Buffer]] | None:
    """Encode a frame or series as an Arrow file.

    Returns:
        What :func:`decode` needs and the file's parts; ``None`` for small or not exactly representable values.
    """
    import pandas as pd
    import pyarrow as pa

    if type(value) is pd.DataFrame:
        columns = [column for _, column in value.items()] if value.shape[1] <= _MAX_COLUMNS else None
        schema: dict[str, Any] = {"columns": value.columns}
    elif type(value) is pd.Series:
        columns, schema = [value], {"name": value.name}
    else:
        return None
    if columns is None or value.size * 8 < spill_bytes or value.attrs or not value.flags.allows_duplicate_labels:
        return None
    vectors = [_to_arrow(column, spill_bytes) for column in columns]
    schema["dtypes"] = [column.dtype for column in columns]
    if type(value.index) is pd.RangeIndex:
        schema["index"] = value.index
    elif type(value.index) in {pd.Index, pd.DatetimeIndex, pd.TimedeltaIndex}:
        if getattr(value.index, "freq", None) is not None:
            return None
        vectors.append(_to_arrow(value.index, spill_bytes))
        schema |= {"index_dtype": value.index.dtype, "index_name": value.index.name}
    else:
        return None
    masks = [_numbers(column.array._mask) for column in columns if _is_masked(column.dtype)]
    vectors += masks
    if any(vector is None for vector in vectors):
        return None
    batch = pa.record_batch(vectors, names=[str(position) for position in range(len(vectors))])
    fields = {"format": MASKED if masks else PLAIN, "schema": pickling.dumps(schema)}
    return fields, arrow.write(batch)


def decode(fields: dict[str, Any], view: memoryview) -> pd.DataFrame | pd.Series:
    """The frame or series of :func:`encode`; numbers use the memory of ``view``, and are writable if it is.

    Nullable columns of a read-only ``view`` are copies.
    """
    import numpy as np
    import pandas as pd

    schema: Any = pickling.loads(fields["schema"])
    table = arrow.read(view)
    vectors = [column.chunk(0) for column in table.columns]
    count = len(schema["dtypes"])
    others = iter(vectors[count:])  # the index, where it has values; then the masks
    if "index" in schema:
        index = schema["index"]
    else:
        dtype = schema["index_dtype"]
        values = _from_arrow(next(others), dtype, view)
        index = pd.Index(values, dtype=dtype, name=schema["index_name"], copy=False)
    columns = []
    for vector, dtype in zip(vectors[:count], schema["dtypes"], strict=True):
        if _is_masked(dtype):
            values, mask = _memory(vector, dtype.numpy_dtype, view), _memory(next(others), np.dtype(bool), view)
            # pandas itself writes under the mask, for example in cumsum, and fails on read-only memory.
            cells = dtype.construct_array_type()(values, mask, copy=view.readonly)
        else:
            cells = _from_arrow(vector, dtype, view)
        columns.append(pd.Series(cells, dtype=dtype, index=index, copy=False))
    if "columns" not in schema:
        return columns[0].rename(schema["name"])
    frame = pd.DataFrame(dict(enumerate(columns)), index=index, copy=False)
    frame.columns = schema["columns"]
    return frame


def _to_arrow(column: pd.Series | pd.Index, spill_bytes: int) -> pa.Array | None:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        # Categories are in the manifest.
        return _numbers(column.array.codes) if dtype.categories.size * 8 < spill_bytes else None
    if isinstance(dtype, (pd.StringDtype, pd.ArrowDtype)):
        return _contiguous(column.array.__arrow_array__())
    if isinstance(column, pd.Series) and _is_masked(dtype):
        return _numbers(column.array._data)
    if not isinstance(dtype, np.dtype):
        return None
    values = column.to_numpy()
    if dtype.kind != "O":
        return _numbers(values) if dtype.kind in _KINDS and dtype.isnative and dtype.itemsize <= 8 else None
    if not _TEXT.issuperset(map(type, values)):
        return None
    return pa.array(values, type=pa.large_string(), from_pandas=False)


def _from_arrow(vector: pa.Array, dtype: Any, view: memoryview) -> Any:
    import numpy as np
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        codes = _memory(vector, np.dtype(vector.type.to_pandas_dtype()), view)
        return pd.Categorical.from_codes(codes, dtype=dtype)
    if not isinstance(dtype, np.dtype):
        return dtype.__from_arrow__(vector)
    return vector.to_numpy(zero_copy_only=False) if dtype.kind == "O" else _memory(vector, dtype, view)


def _is_masked(dtype: Any) -> bool:
    """Whether pandas stores such a column as values and a mask; other libraries' dtypes may have any layout."""
    import pandas as pd

    signed = (pd.Int8Dtype, pd.Int16Dtype, pd.Int32Dtype, pd.Int64Dtype)
    unsigned = (pd.UInt8Dtype, pd.UInt16Dtype, pd.UInt32Dtype, pd.UInt64Dtype)
    return type(dtype) in {*signed, *unsigned, pd.Float32Dtype, pd.Float64Dtype, pd.BooleanDtype}


def _numbers(values: np.ndarray) -> pa.Array:
    """An Arrow array on the memory of a NumPy array; NaN and NaT keep their bits."""
    import numpy as np
    import pyarrow as pa

    contiguous = np.ascontiguousarray(values)
    kind = pa.uint8() if values.dtype.kind == "b" else pa.from_numpy_dtype(values.dtype)
    memory = pa.py_buffer(contiguous.view(np.uint8))
    return pa.Array.from_buffers(kind, len(values), [None, memory], null_count=0)


def _memory(vector: pa.Array, dtype: np.dtype, view: memoryview) -> np.ndarray:
    """The inverse of :func:`_numbers`. Arrow's own conversion would make every array read-only."""
    import numpy as np

    memory = vector.buffers()[1]
    offset = memory.address - np.frombuffer(view, np.uint8).ctypes.data
    array: np.ndarray = np.ndarray(len(vector), dtype, buffer=view, offset=offset)
    return array


def _contiguous(values: Any) -> pa.Array:
    import pyarrow as pa

    if not isinstance(values, pa.ChunkedArray):
        return values
    return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
