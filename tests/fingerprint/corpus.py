"""Values, each different from all others. Run as a program it prints their fingerprints as JSON."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import fractions
import functools
import json
import math
import pathlib
import re
import struct
import sys
import types
import uuid
import zoneinfo
from array import array
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

from expops_prefect.fingerprint.files import DataFile
from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint import specimens as s


def plain() -> dict[str, Any]:
    """Values of Python's own types."""
    other_nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]
    return {
        "none": None,
        "true": True,
        "one": 1,
        "text one": "1",
        "float one": 1.0,
        "complex one": 1 + 0j,
        "bytes one": b"1",
        "zero": 0,
        "false": False,
        "float zero": 0.0,
        "negative zero": -0.0,
        "complex negative zero": complex(0.0, -0.0),
        "nan": math.nan,
        "other nan": other_nan,
        "infinity": math.inf,
        "int64 max": 2**63 - 1,
        "int64 min": -(2**63),
        "int over": 2**63,
        "int under": -(2**63) - 1,
        "big int": 10**400,
        "big negative int": -(10**400),
        "empty text": "",
        "text": "a",
        "bytes": b"a",
        "bytearray": bytearray(b"a"),
        "memoryview": memoryview(b"a"),
        "long text": "a" * 1000,
        "long bytes": b"a" * 1000,
        "composed": "\u00e9",
        "decomposed": "e\u0301",
        "lone surrogate": "\ud800",
        "nul": "\0",
        "ellipsis": ...,
        "not implemented": NotImplemented,
        "empty list": [],
        "empty tuple": (),
        "empty dict": {},
        "empty set": set(),
        "empty frozenset": frozenset(),
        "list": [1],
        "tuple": (1,),
        "list of text": ["1"],
        "list of float": [1.0],
        "list of true": [True],
        "set": {1},
        "frozenset": frozenset({1}),
        "nested list": [[1]],
        "list of empties": [[], []],
        "list of empty": [[]],
        "flat": [1, 2, 3],
        "grouped left": [[1, 2], 3],
        "grouped right": [1, [2, 3]],
        "texts ab c": ["ab", "c"],
        "texts a bc": ["a", "bc"],
        "text and none": ["a", None],
        "mixed": [1, "a", None, 2.5, b"x"],
        "mixed order": ["a", 1, None, 2.5, b"x"],
        "big ints": [2**70, 1],
        "dict of int": {1: "x"},
        "dict of text": {"1": "x"},
        "dict ab": {"a": 1, "b": 2},
        "dict ba": {"b": 2, "a": 1},
        "dict swapped": {"a": 2, "b": 1},
        "dict as pairs": [("a", 1), ("b", 2)],
        "nested dict": {"a": {"b": {"c": [1, {"d": (2, 3)}]}}},
        "set of text": {"alpha", "beta", "gamma", "delta"},
        "set of mixed": {1, "a", None, 2.5, (1, "b")},
        "set of frozensets": {frozenset({"a", "b"}), frozenset({"c"})},
        "dict of sets": {"k": {"alpha", "beta", "gamma"}},
        "long list": list(range(10_000)),
        "long mixed list": [*range(10_000), "end"],
        "range": range(3),
        "range step": range(0, 3, 2),
        "slice": slice(1, 2),
        "slice step": slice(1, 2, 1),
        "decimal": decimal.Decimal("1.0"),
        "decimal zeros": decimal.Decimal("1.00"),
        "decimal nan": decimal.Decimal("NaN"),
        "decimal big": decimal.Decimal("1E+1000"),
        "fraction": fractions.Fraction(1, 3),
        "date": dt.date(2020, 1, 2),
        "naive": dt.datetime(2020, 1, 2),
        "utc": dt.datetime(2020, 1, 2, tzinfo=dt.timezone.utc),
        "berlin": dt.datetime(2020, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
        "offset": dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        "named offset": dt.datetime(2020, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1), "X")),
        "fold": dt.datetime(2020, 1, 2, fold=1),
        "time": dt.time(1, 2),
        "time fold": dt.time(1, 2, fold=1),
        "timedelta": dt.timedelta(days=1),
        "timedelta microseconds": dt.timedelta(microseconds=1),
        "uuid": uuid.UUID(int=1),
        "path": pathlib.Path("a"),
        "pure path": pathlib.PurePosixPath("a"),
        "windows path": pathlib.PureWindowsPath("a"),
        "pattern": re.compile("a"),
        "pattern flags": re.compile("a", re.IGNORECASE),
        "bytes pattern": re.compile(b"a"),
        "alias": list[int],
        "alias nested": list[list[int]],
        "union": int | str,
        "optional": Optional[int],  # noqa: UP045
        "type int": int,
        "type bool": bool,
        "array": array("i", [1, 2]),
        "array code": array("q", [1, 2]),
        "ordered": collections.OrderedDict(a=1),
        "counter": collections.Counter(a=1),
        "defaultdict": collections.defaultdict(int, a=1),
        "defaultdict list": collections.defaultdict(list, a=1),
        "dict like those": {"a": 1},
        "deque": collections.deque([1]),
        "deque bounded": collections.deque([1], 5),
        "namespace": types.SimpleNamespace(a=1),
        "error": ValueError("x"),
        "other error": KeyError("x"),
    }


def objects() -> dict[str, Any]:
    """Objects of classes, and callables."""
    cycle: list[Any] = [1]
    cycle.append(cycle)
    longer: list[Any] = [1]
    longer.append([1, longer])
    tree = s.Tree("root")
    tree.add("left").add("leaf")
    tree.add("right")
    ring = s.Plain(name="a")
    ring.next = s.Plain(name="b", next=ring)  # type: ignore[attr-defined]
    members = s.Plain(name="group")
    members.members = {s.Plain(name=str(n), group=members) for n in range(5)}  # type: ignore[attr-defined]
    return {
        "plain": s.Plain(x=1),
        "plain other class": s.OtherPlain(x=1),
        "plain other value": s.Plain(x=2),
        "plain other name": s.Plain(y=1),
        "plain empty": s.Plain(),
        "plain set": s.Plain(names={"alpha", "beta", "gamma"}),
        "slots": s.Slotted(1, 2),
        "slots swapped": s.Slotted(2, 1),
        "slots and more": s.SlottedAndMore(1, 2),
        "getstate": s.WithGetState(1),
        "reduce": s.WithReduce(1),
        "dataclass": s.Point(1, 2),
        "dataclass none": s.Point(1, None),
        "frozen": s.FrozenPoint(1, 2),
        "frozen other": s.FrozenSize(1, 2),
        "namedtuple": s.Pair(1, 2),
        "namedtuple other": s.OtherPair(1, 2),
        "enum": s.Color.RED,
        "enum other": s.Color.BLUE,
        "enum other class": s.Shade.RED,
        "flag": s.Rights.READ,
        "flags": s.Rights.READ | s.Rights.WRITE,
        "no flags": s.Rights(0),
        "int enum": s.Level.LOW,
        "pydantic": s.Model(n=1),
        "pydantic value": s.Model(n=2),
        "pydantic nested": s.Model(n=1, tags={"a", "b", "c"}, inner=s.Model(n=3)),
        "my int": s.MyInt(1),
        "my str": s.MyStr("1"),
        "my list": s.MyList([1]),
        "my dict": s.MyDict(a=1),
        "my set": s.MySet({"alpha", "beta", "gamma"}),
        "my tuple": s.MyTuple((1,)),
        "my ordered": s.MyOrdered(a=1),
        "function": s.double,
        "other function": s.triple,
        "closure 1": s.adder(1),
        "closure 2": s.adder(2),
        "closure 1.0": s.adder(1.0),
        "lambda": lambda value: value + 1,
        "other lambda": lambda value: value + 2,
        "partial": functools.partial(s.double, 1),
        "partial keywords": functools.partial(s.double, value=1),
        "method": s.Scale(2.0).apply,
        "method other self": s.Scale(3.0).apply,
        "class method": s.Scale.unit,
        "callable": s.Scale(2.0),
        "class": s.Scale,
        "other class": s.Plain,
        "builtin": len,
        "other builtin": max,
        "stdlib function": json.dumps,
        "bound builtin": "a".join,
        "bound builtin other": "b".join,
        "module": json,
        "own module": s,
        "third party function": np.mean,
        "third party ufunc": np.add,
        "third party class": np.ndarray,
        "cycle": cycle,
        "longer cycle": longer,
        "tree": tree,
        "ring": ring,
        "set in cycle": members,
        "file": DataFile(__file__),
    }


def arrays() -> dict[str, Any]:
    """Arrays and matrices."""
    fields = np.dtype([("a", "i1"), ("b", "f8")])
    loop = np.empty(1, dtype=object)
    loop[0] = [loop]
    return {
        "vector": np.arange(6),
        "matrix": np.arange(6).reshape(2, 3),
        "reshaped": np.arange(6).reshape(3, 2),
        "int32": np.arange(6, dtype=np.int32),
        "uint64": np.arange(6, dtype=np.uint64),
        "float": np.arange(6.0),
        "float32": np.arange(6, dtype=np.float32),
        "complex": np.arange(6) + 0j,
        "bool": np.array([True, False]),
        "uint8": np.array([1, 0], dtype=np.uint8),
        "zero dimensions": np.array(5),
        "scalar": np.int64(5),
        "scalar int32": np.int32(5),
        "float scalar": np.float64(5),
        "bool scalar": np.bool_(True),
        "text scalar": np.str_("a"),
        "longdouble": np.longdouble(1) / 3,
        "longdoubles": np.arange(3, dtype=np.longdouble) / 3,
        "empty 0x3": np.zeros((0, 3)),
        "empty 3x0": np.zeros((3, 0)),
        "negative zero": np.array([-0.0]),
        "zero": np.array([0.0]),
        "nan": np.array([np.nan]),
        "text": np.array(["a", "bb"]),
        "text wider": np.array(["a", "bb"], dtype="U5"),
        "bytes": np.array([b"a", b"bb"]),
        "objects": np.array([1, "x", None, (1, 2)], dtype=object),
        "objects matrix": np.array([[1, "x"], [None, "y"]], dtype=object),
        "objects text": np.array(["a", "bb"], dtype=object),
        "objects sets": np.array([{"alpha", "beta", "gamma"}, None], dtype=object),
        "objects cycle": loop,
        "structured": np.array([(1, 2.0)], dtype=fields),
        "structured aligned": np.array([(1, 2.0)], dtype=np.dtype(fields.descr, align=True)),
        "structured names": np.array([(1, 2.0)], dtype=[("a", "i1"), ("c", "f8")]),
        "structured scalar": np.array([(1, 2.0)], dtype=fields)[0],
        "structured objects": np.array([(1, "x")], dtype=[("a", "i1"), ("b", "O")]),
        "sub-array": np.zeros(2, dtype=[("a", "f8", (2, 2))]),
        "recarray": np.rec.array([(1, 2.0)], dtype=fields),
        "matrix class": np.matrix([[1, 2]]),
        "masked": np.ma.array([1, 2, 3], mask=[False, True, False]),
        "masked other": np.ma.array([1, 2, 3], mask=[False, False, True]),
        "masked nothing": np.ma.array([1, 2, 3]),
        "masked fill": np.ma.array([1, 2, 3], fill_value=7),
        "days": np.array(["2020-01-01"], dtype="M8[D]"),
        "nanoseconds": np.array(["2020-01-01"], dtype="M8[ns]"),
        "not a time": np.array(["NaT"], dtype="M8[D]"),
        "timedelta": np.array([1], dtype="m8[s]"),
        "datetime scalar": np.datetime64("2020-01-01"),
        "void": np.array([b"ab"], dtype="V2"),
        "dtype": np.dtype("f8"),
        "dtype structured": fields,
        "generator": np.random.default_rng(3),
        "generator other seed": np.random.default_rng(4),
        "random state": np.random.RandomState(3),
        "csr matrix": sp.csr_matrix(np.eye(3)),
        "csr array": sp.csr_array(np.eye(3)),
        "csc": sp.csc_array(np.eye(3)),
        "coo": sp.coo_array(np.eye(3)),
        "bsr": sp.bsr_array(np.eye(4)),
        "dia": sp.dia_array(np.eye(3)),
        "lil": sp.lil_array(np.eye(3)),
        "dok": sp.dok_array(np.eye(3)),
    }


def frames() -> dict[str, Any]:
    """Frames, series, indexes and columns of pandas, polars and Arrow."""
    base = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "c": [1.5, 2.0, float("nan")]})
    noted = base.copy()
    noted.attrs["unit"] = "m"
    middle = base.copy()
    middle.loc[1, "c"] = 2.5
    letters = pd.Categorical(["u", "v", "u"])
    polar = pl.DataFrame({"a": [1, 2, None], "b": ["x", "y", None], "c": [[1], [2, 3], None]})
    table = pa.table({"a": [1, 2, None], "b": ["x", "y", None]})
    return {
        "frame": base,
        "frame middle": middle,
        "frame renamed": base.rename(columns={"a": "z"}),
        "frame reordered": base[["b", "a", "c"]],
        "frame int32": base.astype({"a": "int32"}),
        "frame nullable": base.astype({"a": "Int64"}),
        "frame arrow": base.astype({"a": "int64[pyarrow]"}),
        "frame object": base.astype({"a": object}),
        "frame index": base.set_axis([3, 4, 5]),
        "frame range index": base.set_axis(range(1, 4)),
        "frame index name": base.rename_axis("k"),
        "frame multi-index": base.set_index(["a", "b"]),
        "frame attrs": noted,
        "frame flags": base.set_flags(allows_duplicate_labels=False),
        "frame head": base.head(2),
        "frame empty": pd.DataFrame(),
        "frame no rows": base.head(0),
        "frame duplicate names": pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "frame mixed names": pd.DataFrame([[1, 2]], columns=["a", 1]),
        "frame objects": pd.DataFrame({"a": [[1], {"k": {"x", "y"}}, None]}),
        "frame category": pd.DataFrame({"a": letters}),
        "frame multi columns": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("b", 2)])),
        "series": base["a"],
        "series renamed": base["a"].rename("z"),
        "categorical": letters,
        "categorical more": letters.add_categories(["w"]),
        "categorical order": letters.reorder_categories(["v", "u"]),
        "categorical ordered": letters.as_ordered(),
        "sparse": pd.Series(pd.arrays.SparseArray([0, 0, 1.0])),
        "interval": pd.interval_range(0, 3),
        "interval left": pd.interval_range(0, 3, closed="left"),
        "period": pd.period_range("2020", periods=3, freq="M"),
        "dates": pd.date_range("2020", periods=3),
        "dates without frequency": pd.DatetimeIndex(pd.date_range("2020", periods=3), freq=None),
        "dates utc": pd.date_range("2020", periods=3, tz="UTC"),
        "dates berlin": pd.date_range("2020", periods=3, tz="Europe/Berlin"),
        "timedeltas": pd.timedelta_range("1D", periods=3),
        "timestamp": pd.Timestamp("2020", tz="UTC"),
        "timedelta": pd.Timedelta("1D"),
        "nat": pd.NaT,
        "na": pd.NA,
        "arrow lists": pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "string python": pd.Series(["a", None], dtype=pd.StringDtype("python")),
        "string pyarrow": pd.Series(["a", None], dtype=pd.StringDtype("pyarrow")),
        "boolean": pd.Series([True, None], dtype="boolean"),
        "nullable float": pd.Series([1.0, None], dtype="Float64"),
        "offset": pd.offsets.MonthEnd(),
        "polars": polar,
        "polars renamed": polar.rename({"a": "z"}),
        "polars cast": polar.with_columns(pl.col("a").cast(pl.Int32)),
        "polars series": polar["a"],
        "polars categorical": pl.Series(["u", "v"], dtype=pl.Categorical),
        "polars enum": pl.Series(["u", "v"], dtype=pl.Enum(["u", "v"])),
        "arrow table": table,
        "arrow renamed": table.rename_columns(["z", "b"]),
        "arrow metadata": table.replace_schema_metadata({"k": "v"}),
        "arrow array": pa.array([1, 2, None]),
        "arrow int32": pa.array([1, 2, None], pa.int32()),
        "arrow text": pa.array(["a", None, ""]),
        "arrow empty text": pa.array(["a", "", ""]),
        "arrow dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
        "arrow struct": pa.array([{"a": 1, "b": "x"}, None]),
        "arrow struct of nulls": pa.array([{"a": 1, "b": "x"}, {"a": None, "b": None}]),
        "arrow map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        "arrow scalar": pa.scalar(1),
        "arrow type": pa.int64(),
        "arrow schema": table.schema,
    }


GROUPS: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": plain,
    "objects": objects,
    "arrays": arrays,
    "frames": frames,
}


def everything() -> dict[str, Any]:
    """All values, by group and name."""
    return {f"{group}: {name}": value for group, make in GROUPS.items() for name, value in make().items()}


if __name__ == "__main__":
    json.dump({name: fingerprint(value) for name, value in everything().items()}, sys.stdout)
