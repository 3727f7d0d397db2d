"""Equality without mercy: types, dtypes, bits, order, labels and flags, all the way down."""

from __future__ import annotations

import collections
import struct
import sys
from typing import Any

import numpy as np


def assert_same(left: Any, right: Any, path: str = "result") -> None:
    """Fail, naming the place, unless nothing can tell the two values apart (identity aside)."""
    assert type(left) is type(right), f"{path}: {type(left)} is not {type(right)}"
    library = type(left).__module__.partition(".")[0]
    if isinstance(left, float):
        assert struct.pack("d", left) == struct.pack("d", right), f"{path}: {left!r} is not {right!r}"
    elif isinstance(left, complex):
        assert_same([left.real, left.imag], [right.real, right.imag], path)
    elif isinstance(left, np.ndarray):
        _assert_same_array(left, right, path)
    elif isinstance(left, np.generic):
        assert left.dtype == right.dtype, path
        assert left.tobytes() == right.tobytes(), path
    elif isinstance(left, (list, tuple, collections.deque)):
        assert len(left) == len(right), f"{path}: lengths {len(left)} and {len(right)}"
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{path}[{index}]")
    elif isinstance(left, dict):
        assert_same(list(left), list(right), f"{path} keys")
        for key in left:
            assert_same(left[key], right[key], f"{path}[{key!r}]")
    elif library == "pandas" or _is_frame(left):
        _assert_same_pandas(left, right, path)
    elif library == "polars":
        polars = sys.modules["polars"]
        if isinstance(left, polars.Series):
            left, right = left.to_frame(), right.to_frame()
        assert left.schema == right.schema, f"{path}: {left.schema} is not {right.schema}"
        assert left.equals(right, null_equal=True), path
    elif library == "pyarrow":
        if hasattr(left, "schema"):
            assert left.schema.equals(right.schema, check_metadata=True), path
        assert left.equals(right), path
    elif hasattr(left, "__dict__") and not isinstance(left, (type, Exception)) and not callable(left):
        assert_same(vars(left), vars(right), f"{path}.__dict__")
    else:
        assert left == right, f"{path}: {left!r} is not {right!r}"


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _assert_same_array(left: np.ndarray, right: np.ndarray, path: str) -> None:
    assert left.dtype == right.dtype, f"{path}: {left.dtype} is not {right.dtype}"
    assert left.dtype.byteorder == right.dtype.byteorder, path
    assert left.shape == right.shape, f"{path}: {left.shape} is not {right.shape}"
    assert left.flags.writeable == right.flags.writeable, f"{path}: writeable"
    if left.flags.c_contiguous or left.flags.f_contiguous:
        assert left.flags.c_contiguous == right.flags.c_contiguous, f"{path}: order"
        assert left.flags.f_contiguous == right.flags.f_contiguous, f"{path}: order"
    if isinstance(left, np.ma.MaskedArray) and isinstance(right, np.ma.MaskedArray):
        assert_same(np.ma.getmaskarray(left), np.ma.getmaskarray(right), f"{path}.mask")
        assert_same(left.data, right.data, f"{path}.data")
        assert_same(left.fill_value, right.fill_value, f"{path}.fill_value")
    elif left.dtype.hasobject:
        assert_same(left.tolist(), right.tolist(), path)
    else:
        assert left.tobytes() == right.tobytes(), f"{path}: bits"


def _assert_same_pandas(left: Any, right: Any, path: str) -> None:
    pd = sys.modules["pandas"]
    if isinstance(left, pd.DataFrame):
        assert_same(left.columns, right.columns, f"{path}.columns")
        assert_same(left.index, right.index, f"{path}.index")
        assert_same(left.attrs, right.attrs, f"{path}.attrs")
        assert left.flags.allows_duplicate_labels == right.flags.allows_duplicate_labels, path
        for position in range(left.shape[1]):
            assert_same(left.iloc[:, position].array, right.iloc[:, position].array, f"{path}.iloc[:, {position}]")
    elif isinstance(left, pd.Series):
        assert_same(left.name, right.name, f"{path}.name")
        assert_same(left.index, right.index, f"{path}.index")
        assert_same(left.attrs, right.attrs, f"{path}.attrs")
        assert_same(left.array, right.array, f"{path}.array")
    elif isinstance(left, pd.Index):
        assert_same(list(left.names), list(right.names), f"{path}.names")
        assert_same(getattr(left, "freq", None), getattr(right, "freq", None), f"{path}.freq")
        if isinstance(left, pd.MultiIndex):
            assert_same(list(left.levels), list(right.levels), f"{path}.levels")
            assert_same([np.array(code) for code in left.codes], [np.array(code) for code in right.codes], path)
        elif isinstance(left, pd.RangeIndex):
            assert (left.start, left.stop, left.step) == (right.start, right.stop, right.step), path
        else:
            assert_same(left.array, right.array, path)
    elif isinstance(left, pd.api.extensions.ExtensionArray):
        _assert_same_extension(left, right, path)
    else:
        assert left is right or left == right, f"{path}: {left!r} is not {right!r}"


def _assert_same_extension(left: Any, right: Any, path: str) -> None:
    pd = sys.modules["pandas"]
    assert left.dtype == right.dtype, f"{path}: {left.dtype} is not {right.dtype}"
    assert type(left.dtype) is type(right.dtype), path
    if isinstance(left, pd.arrays.NumpyExtensionArray):
        mine, other = np.array(left.to_numpy()), np.array(right.to_numpy())
        assert_same(mine, other, path)
    elif isinstance(left, pd.Categorical):
        assert_same(np.array(left.codes), np.array(right.codes), f"{path}.codes")
        assert_same(left.categories, right.categories, f"{path}.categories")
        assert left.ordered == right.ordered, path
    elif isinstance(left, (pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray)):
        assert_same(left.asi8.tobytes(), right.asi8.tobytes(), path)
        zones = [getattr(array.dtype, "tz", None) for array in (left, right)]
        assert zones[0] == zones[1], f"{path}.tz"
        assert type(zones[0]) is type(zones[1]), f"{path}.tz"
    else:
        # What stands below a mask is no part of the value, but NaN is something else than NA.
        assert_same(getattr(left, "_mask", None), getattr(right, "_mask", None), f"{path}._mask")
        assert_same(np.array(left.isna()), np.array(right.isna()), f"{path}.isna")
        assert_same(list(left.dropna()), list(right.dropna()), path)
