"""Checks that the values of an Arrow array are inside its buffers.

Arrow's full validation also reads the text, which would load all pages of a mapped table. This check reads only
the offsets, which takes a few milliseconds for two million rows of text. Less common layouts are left to Arrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_AT_ONCE: Final = 1 << 16
"""Rows that are checked together, so that the intermediate arrays stay in the processor's cache."""
_INLINE: Final = 12
"""The longest text, in bytes, that is stored in its view itself."""
_VIEW_BYTES: Final = 16


def check(table: pa.Table) -> None:
    """Refuse a table with a value outside its buffers; call it after ``table.validate()``.

    Raises:
        pa.ArrowInvalid: there is such a value.
    """
    for column in table.columns:
        for chunk in column.chunks:
            if not _is_inside(chunk):
                chunk.validate(full=True)


def _is_inside(array: Any) -> bool:
    """Whether its values are certainly inside. ``validate`` has checked the buffers' sizes and the last offset."""
    import pyarrow as pa

    if len(array) == 0:
        return True
    kind, types = array.type, pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _is_inside(array.storage)
    if types.is_null(kind):
        return True
    if not _counts_its_nulls(array):
        return False
    if types.is_string(kind) or types.is_binary(kind):
        return _is_rising(array, "<i4")
    if types.is_large_string(kind) or types.is_large_binary(kind):
        return _is_rising(array, "<i8")
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return _are_views_inside(array)
    if types.is_list(kind) or types.is_map(kind):
        return _is_rising(array, "<i4") and _is_inside(array.values)
    if types.is_large_list(kind):
        return _is_rising(array, "<i8") and _is_inside(array.values)
    if types.is_fixed_size_list(kind):
        return _is_inside(array.values)
    if types.is_struct(kind):
        return all(_is_inside(array.field(position)) for position in range(kind.num_fields))
    # For fixed-width values, the sizes are enough. Other types are rare.
    return bool(types.is_primitive(kind) or types.is_fixed_size_binary(kind) or types.is_decimal(kind))


def _counts_its_nulls(array: pa.Array) -> bool:
    """Whether its null count is right: readers allocate memory by it."""
    import numpy as np

    present = array.buffers()[0]
    if present is None:
        return int(array.null_count) == 0
    bits = np.frombuffer(present, np.uint8)
    found = 0
    for start in range(array.offset, array.offset + len(array), _AT_ONCE * 8):
        first, skipped = divmod(start, 8)
        count = min(_AT_ONCE * 8, array.offset + len(array) - start)
        part = np.unpackbits(bits[first : first + _AT_ONCE + 1], count=skipped + count, bitorder="little")
        found += int(np.count_nonzero(part[skipped:]))
    return len(array) - found == int(array.null_count)


def _is_rising(array: pa.Array, dtype: str) -> bool:
    import numpy as np

    offsets = _rows(array, np.dtype(dtype), len(array) + 1)
    parts = (offsets[start : start + _AT_ONCE + 1] for start in range(0, len(array), _AT_ONCE))
    return all(bool((part[1:] >= part[:-1]).all()) for part in parts)


def _are_views_inside(array: pa.Array) -> bool:
    """Whether all views are inside: a view has a length, and for longer text a buffer's number and an offset."""
    import numpy as np

    rooms = np.array([0 if buffer is None else buffer.size for buffer in array.buffers()[2:]] or [0], np.int64)
    views = _rows(array, np.dtype("<i4"), 4 * len(array), _VIEW_BYTES).reshape(-1, 4)
    for start in range(0, len(views), _AT_ONCE):
        sizes, _, numbers, places = np.ascontiguousarray(views[start : start + _AT_ONCE].T)
        known = (numbers >= 0) & (numbers < len(rooms)) & (places >= 0)
        room = rooms[0] if len(rooms) == 1 else rooms[np.where(known, numbers, 0)]
        inside = (sizes <= _INLINE) | (known & (places <= room - sizes))
        if int(sizes.min()) < 0 or not bool(inside.all()):
            return False
    return True


def _rows(array: pa.Array, dtype: np.dtype, count: int, row_bytes: int | None = None) -> np.ndarray:
    """The rows of the second buffer that belong to this slice of the array."""
    import numpy as np

    skipped = array.offset * (dtype.itemsize if row_bytes is None else row_bytes)
    return np.frombuffer(array.buffers()[1], dtype, count, skipped)
