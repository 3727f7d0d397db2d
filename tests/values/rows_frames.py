"""Rows of pandas, Arrow and polars."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytz  # type: ignore[import-untyped]

from tests.values.rows_python import tagged, used


class Sub(pd.DataFrame):
    _metadata: ClassVar[list[str]] = ["unit"]

    @property
    def _constructor(self) -> type[Sub]:
        return Sub


class Kind(pa.ExtensionType):
    def __init__(self, unit: str) -> None:
        self.unit = unit
        super().__init__(pa.int64(), "tests.kind")

    def __arrow_ext_serialize__(self) -> bytes:
        return self.unit.encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: Any, data: bytes) -> Kind:
        return cls(data.decode())


def frame() -> Any:
    return pd.DataFrame({"a": [1, 2]})


def named(make: Callable[[], Any], name: str) -> Callable[[], list[Any]]:
    def values() -> list[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tagged(make, name)()

    return values


def levels() -> list[Any]:
    whole = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    part = whole[:2]
    return [part, part.remove_unused_levels()]


def level_order() -> list[Any]:
    codes = [[0, 1], [0, 0]]
    swapped = [[1, 0], [0, 0]]
    return [
        pd.MultiIndex(levels=[["a", "b"], [1]], codes=codes),
        pd.MultiIndex(levels=[["b", "a"], [1]], codes=swapped),
    ]


def field(metadata: dict[str, str] | None, **more: Any) -> Any:
    return pa.field("x", pa.int64(), metadata=metadata, **more)


def nested(metadata: dict[str, str] | None) -> Any:
    return pa.struct([field(metadata)])


DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "attribute of a frame": named(frame, "name"),
    "attribute of a series": named(lambda: pd.Series([1]), "unit"),
    "attribute of an index": named(lambda: pd.Index([1]), "unit"),
    "attribute of an array": tagged(lambda: pd.Categorical(["a"])),
    "attribute of a timestamp": tagged(lambda: pd.Timestamp("2020")),
    "attribute of a polars frame": tagged(lambda: pl.DataFrame({"a": [1]})),
    "attribute of a polars series": tagged(lambda: pl.Series([1])),
    "attribute of a lazy frame": tagged(lambda: pl.DataFrame({"a": [1]}).lazy()),
    "libraries of a zone": lambda: [
        pd.DatetimeIndex(["2020"], tz=zone) for zone in ("Europe/Berlin", pytz.timezone("Europe/Berlin"))
    ],
    "metadata of a frame's subclass": tagged(lambda: Sub({"a": [1]}), "unit"),
    "attrs": lambda: [
        frame(),
        used(frame(), lambda v: v.attrs.update(a=1)),
        used(frame(), lambda v: v.attrs.update(a=2)),
    ],
    "flags": lambda: [frame(), frame().set_flags(allows_duplicate_labels=False)],
    "unused levels": levels,
    "order of levels": level_order,
    "unused categories": lambda: [pd.Categorical(["a"]), pd.Categorical(["a"], categories=["a", "b"])],
    "ordered categories": lambda: [pd.Categorical(["a"]), pd.Categorical(["a"], ordered=True)],
    "holidays of an offset": lambda: [
        pd.offsets.CustomBusinessDay(holidays=[day]) for day in ("2020-01-01", "2020-01-02")
    ],
    "mask of an offset": lambda: [pd.offsets.CustomBusinessDay(weekmask=days) for days in ("Mon Tue", "Mon Wed")],
    "offsets": lambda: [pd.offsets.Week(), pd.offsets.Week(weekday=1), pd.offsets.Day(), pd.offsets.Day(2)],
    "offset with keywords": lambda: [pd.DateOffset(months=1), pd.DateOffset(months=2), pd.DateOffset(days=1)],
    "hours of an offset": lambda: [pd.offsets.BusinessHour(start="09:00"), pd.offsets.BusinessHour(start="10:00")],
    "grouper": lambda: [pd.Grouper(freq="D"), pd.Grouper(freq="h"), pd.Grouper(key="a")],
    "group by": lambda: [frame().groupby("a"), frame().groupby("a", sort=False)],
    "interval": lambda: [pd.Interval(0, 1), pd.Interval(0, 1, closed="left")],
    "period": lambda: [pd.Period("2020", "Y"), pd.Period("2020-01", "M")],
    "unit of a timestamp": lambda: [pd.Timestamp(1, unit="s"), pd.Timestamp(1, unit="s").as_unit("ns")],
    "extension type": lambda: [pa.array([1], Kind("m")), pa.array([1], Kind("s")), pa.array([1])],
    "extension type in a schema": lambda: [pa.schema([("x", Kind("m"))]), pa.schema([("x", Kind("s"))])],
    "extension type in a struct": lambda: [pa.struct([("x", Kind("m"))]), pa.struct([("x", Kind("s"))])],
    "extension type itself": lambda: [Kind("m"), Kind("s")],
    "metadata of a field": lambda: [field(None), field({"a": "1"}), field({"a": "2"})],
    "metadata of a nested field": lambda: [nested(None), nested({"a": "1"}), nested({"a": "2"})],
    "metadata in a table": lambda: [
        pa.table({"x": pa.array([{"x": 1}], nested(data))}) for data in (None, {"a": "1"}, {"a": "2"})
    ],
    "metadata in a list type": lambda: [pa.list_(field(None)), pa.list_(field({"a": "1"}))],
    "metadata of a schema": lambda: [pa.schema([field(None)]), pa.schema([field(None)], metadata={"a": "1"})],
    "nullability of a nested field": lambda: [pa.struct([field(None)]), pa.struct([field(None, nullable=False)])],
    "ordered dictionary": lambda: [
        pa.DictionaryArray.from_arrays([0], ["a"], ordered=ordered) for ordered in (False, True)
    ],
    "ordered dictionary type": lambda: [pa.dictionary(pa.int8(), pa.string(), ordered) for ordered in (False, True)],
    "sorted keys of a map": lambda: [pa.map_(pa.string(), pa.int8(), keys_sorted=s) for s in (False, True)],
    "zone in a type": lambda: [pa.timestamp("s", "UTC"), pa.timestamp("s", "Europe/Berlin"), pa.timestamp("ms")],
    "polars enum": lambda: [pl.Series(["a"], dtype=pl.Enum(["a", *map(str, range(count))])) for count in (30, 31)],
    "polars wide integers": lambda: [pl.Series([1], dtype=pl.Int128), pl.Series([2], dtype=pl.Int128)],
    "polars wide integers in a frame": lambda: [pl.DataFrame({"a": pl.Series([n], dtype=pl.Int128)}) for n in (1, 2)],
    "polars nested": lambda: [pl.Series([{"a": n}]) for n in (1, 2)],
    "polars objects": lambda: [pl.Series([{n}], dtype=pl.Object) for n in (1, 2)],
    "polars expression": lambda: [pl.col("a") + n for n in (1, 2)],
    "polars schema": lambda: [pl.Schema({"a": pl.Int8}), pl.Schema({"a": pl.Int16})],
}

ALIKE: dict[str, Callable[[], list[Any]]] = {
    "frame after use": lambda: [
        frame(),
        used(frame(), lambda v: v.a, lambda v: v["a"], lambda v: v.index.is_unique, lambda v: v.describe(), repr),
    ],
    "index after use": lambda: [
        pd.Index([3, 1]),
        used(pd.Index([3, 1]), lambda v: v.is_unique, lambda v: v.get_loc(3), lambda v: v.hasnans),
    ],
    "dates after use": lambda: [
        pd.DatetimeIndex(["2020-01-01"]),
        used(pd.DatetimeIndex(["2020-01-01"]), lambda v: v.inferred_freq if len(v) > 2 else None, lambda v: v.year),
    ],
    "group by after use": lambda: [
        frame().groupby("a"),
        used(frame().groupby("a"), lambda v: v.sum(), lambda v: v.groups),
    ],
    "offset after use": lambda: [
        pd.offsets.MonthEnd(),
        used(pd.offsets.MonthEnd(), lambda v: pd.Timestamp(0) + v, hash),
    ],
    "chunks": lambda: [pa.chunked_array([[1], [2]]), pa.chunked_array([[1, 2]])],
    "blocks": lambda: [frame(), pd.concat([frame()[["a"]]], axis=1)],
    "polars frame after use": lambda: [
        pl.DataFrame({"a": [1]}),
        used(pl.DataFrame({"a": [1]}), lambda v: v["a"].is_sorted(), lambda v: v.rechunk()),
    ],
    "table after pandas": lambda: [
        pa.table({"a": np.arange(2)}),
        used(pa.table({"a": np.arange(2)}), lambda v: v.to_pandas()),
    ],
}

REFUSED: dict[str, Callable[[], Any]] = {"a styled frame": lambda: pd.DataFrame({"a": [1]}).style}
