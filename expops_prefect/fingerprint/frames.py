"""Encoders for pandas. Imported when the first of its objects is encoded."""

from __future__ import annotations

import datetime
from collections.abc import Container
from typing import Any, Final

import numpy as np
import pandas as pd

from expops_prefect.fingerprint.canonical import Encoder, Walk
from expops_prefect.fingerprint.encoding_primitives import named, string, text
from expops_prefect.fingerprint.identity import class_name
from expops_prefect.fingerprint.leftovers import with_attributes

_PANDAS: Final = frozenset(
    {
        *("_mgr", "_item_cache", "_attrs", "_flags", "_cacher", "_is_copy", "_metadata", "_name", "_index", "_data"),
        *("_cache", "_id", "_range", "_references", "_no_setting_name", "_levels", "_codes", "_names", "_engine"),
        *("sortorder", "_freq", "_tz", "_dtype", "_hidden_attrs", "_comparables", "_typ", "_constructor_expanddim"),
    }
)
"""The attributes in which pandas keeps the state and the caches of a frame, series or index."""


def encode_frame(walk: Walk, value: Any) -> bytes:
    """A frame by class, column names, columns, index and attributes; its layout in blocks is ignored."""
    known = walk.enter(value)
    if known is not None:
        return known
    names = value.columns
    columns = [
        walk.at(f"[{_shown(names, index)}]", _plain(value.iloc[:, index].array)) for index in range(value.shape[1])
    ]
    parts = [_extra(walk, value), walk.at(".columns", names), walk.at(".index", value.index), *columns]
    return walk.leave(value, named("frame", *parts))


def _shown(names: Any, index: int) -> str:
    name = names[index]
    return repr(name) if isinstance(name, (str, int)) else f"<column {index}>"


def encode_series(walk: Walk, value: Any) -> bytes:
    """A series by class, name, values, index and attributes."""
    known = walk.enter(value)
    if known is not None:
        return known
    parts = [
        _extra(walk, value),
        walk.at(".name", value.name),
        walk.at(".index", value.index),
        walk.at(".array", _plain(value.array)),
    ]
    return walk.leave(value, named("series", *parts))


def _extra(walk: Walk, value: Any) -> bytes:
    cls = type(value)
    if walk.classes is not None:
        walk.classes.add(cls)
    own = {name: getattr(value, name, None) for name in sorted(cls._metadata) if name != "_name"}
    flags = bool(value.flags.allows_duplicate_labels)
    form = text(class_name(cls)) + walk.at(".attrs", value.attrs) + walk.encode(flags) + walk.encode(own)
    return form + _own_attributes(walk, value, own)


def set_on(value: Any) -> dict[str, Any]:
    """The attributes that somebody has set on a frame, series or index; usually none."""
    return {name: part for name, part in vars(value).items() if name not in _PANDAS}


def _own_attributes(walk: Walk, value: Any, known: Container[str] = ()) -> bytes:
    own = {name: part for name, part in set_on(value).items() if name not in known}
    return walk.at(".__dict__", dict(sorted(own.items()))) if own else b""


def _plain(array: Any) -> Any:
    """The NumPy array, if pandas merely wraps one."""
    # Not its subclasses: strings have a dtype of their own, which would be lost.
    return array.to_numpy() if type(array) is pd.arrays.NumpyExtensionArray else array


def encode_index(walk: Walk, value: Any) -> bytes:
    """An index by class, names, dtype, values and frequency."""
    cls = type(value)
    head = text(class_name(cls)) + _own_attributes(walk, value)
    names = walk.at(".names", list(value.names))
    if isinstance(value, pd.RangeIndex):
        return named("index", head, names, walk.encode((value.start, value.stop, value.step)))
    known = walk.enter(value)
    if known is not None:
        return known
    if isinstance(value, pd.MultiIndex):
        parts = [walk.encode(value.sortorder)]
        for number in range(value.nlevels):
            # By value: levels and codes may contain unused entries, and in another order.
            level = value.get_level_values(number)
            parts.append(walk.at(f".get_level_values({number})", level.rename(None)))
        if not all(map(_adds_nothing, value.levels, value.codes)):
            parts.append(named("levels", *(walk.encode(level.rename(None)) for level in value.levels)))
        return walk.leave(value, named("multiindex", head, names, *parts))
    parts = [_frequency(walk, value), walk.at(".array", _plain(value.array))]
    return walk.leave(value, named("index", head, names, *parts))


def _adds_nothing(level: Any, codes: Any) -> bool:
    """Whether a level contains exactly the used values in their order, so that it adds nothing to them."""
    used = np.unique(np.asarray(codes))
    return len(used) - int(len(used) > 0 and used[0] < 0) == len(level) and bool(level.is_monotonic_increasing)


def _frequency(walk: Walk, value: Any) -> bytes:
    frequency = getattr(value, "freq", None)
    said = string("" if frequency is None else str(getattr(frequency, "freqstr", frequency)))
    # The text of a business-day frequency does not contain its holidays.
    own = getattr(frequency, "calendar", None) is not None
    return said + named("offset", walk.at(".freq", frequency)) if own else said


def encode_extension_dtype(walk: Walk, value: Any) -> bytes:
    """A pandas dtype by its class and parameters."""
    parts: list[bytes] = []
    if isinstance(value, pd.CategoricalDtype):
        parts = [walk.encode(value.categories), walk.encode(value.ordered)]
    elif isinstance(value, pd.StringDtype):
        parts = [string(value.storage), walk.encode(getattr(value, "na_value", None))]
    elif isinstance(value, pd.SparseDtype):
        parts = [walk.encode(value.subtype), walk.encode(value.fill_value)]
    elif isinstance(value, pd.ArrowDtype):
        parts = [walk.encode(value.pyarrow_dtype)]
    elif type(value).__module__.partition(".")[0] == "pandas":
        # Not by their state, in which they cache computed values.
        parts = [string(str(value))]
        zone = getattr(value, "tz", None)
        if type(zone) is datetime.timezone and zone is not datetime.timezone.utc:
            parts.append(walk.encode(zone))  # a custom name does not tell the offset
        elif (library := type(zone).__module__.partition(".")[0]) == "pytz" and str(zone) != "UTC":
            parts.append(text(library))
    else:
        from expops_prefect.fingerprint.objects import encode_object

        return encode_object(walk, value)
    return named("dtype", text(class_name(type(value))), *parts)


def encode_extension_array(walk: Walk, value: Any) -> bytes:
    """A pandas array by its dtype and values; the data under missing values is ignored."""
    # The encoding creates copies, which the walk would otherwise keep alive to its end.
    seen, walk.seen = walk.seen, None
    try:
        return _extension_form(walk, value)
    finally:
        walk.seen = seen


def _extension_form(walk: Walk, value: Any) -> bytes:
    from expops_prefect.fingerprint.objects import encode_object

    dtype = value.dtype
    if type(value) is pd.arrays.NumpyExtensionArray:
        parts = [walk.encode(value.to_numpy())]
    elif isinstance(value, pd.Categorical):
        parts = [walk.encode(dtype), walk.encode(np.asarray(value.codes))]
    elif isinstance(value, (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray)):
        parts = [walk.encode(dtype), _frequency(walk, value), walk.encode(np.asarray(value.asi8))]
    elif isinstance(value, pd.arrays.IntervalArray):
        parts = [walk.encode(value.left), walk.encode(value.right), string(value.closed)]
    elif isinstance(value, pd.arrays.SparseArray):
        indices = np.asarray(value.sp_index.indices) if hasattr(value.sp_index, "indices") else _positions(value)
        parts = [walk.encode(dtype), walk.encode(len(value)), walk.encode(value.sp_values), walk.encode(indices)]
    elif isinstance(value, (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)):
        missing = np.asarray(value.isna())
        plain = value.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        # isna() may be true for more than the masked values: a NaN among the numbers differs from NA.
        mask = getattr(value, "_mask", missing)
        parts = [walk.encode(dtype), walk.encode(np.where(mask, dtype.numpy_dtype.type(0), plain)), walk.encode(mask)]
    elif isinstance(dtype, pd.ArrowDtype) or (
        isinstance(dtype, pd.StringDtype) and dtype.storage.startswith("pyarrow")
    ):
        from expops_prefect.fingerprint.arrow import encode_chunks

        parts = [walk.encode(dtype), encode_chunks(walk, value.__arrow_array__())]
    elif isinstance(dtype, pd.StringDtype):
        parts = [walk.encode(dtype), walk.encode(np.asarray(value, dtype=object))]
    else:
        return encode_object(walk, value)
    return with_attributes(walk, value, named("extension", text(class_name(type(value))), *parts), frozenset())


def _positions(value: Any) -> np.ndarray[Any, Any]:
    return np.asarray(value.sp_index.to_int_index().indices)


def families() -> dict[type, Encoder]:
    """Encoders by base class."""
    return {
        pd.DataFrame: encode_frame,
        pd.Series: encode_series,
        pd.Index: encode_index,
        pd.api.extensions.ExtensionDtype: encode_extension_dtype,
        pd.api.extensions.ExtensionArray: encode_extension_array,
    }
