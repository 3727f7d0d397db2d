from __future__ import annotations

import datetime as dt
import decimal
import io
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import pandas as hpd

from expops_prefect.errors import FormatError, IntegrityError, ResultNotStorableError
from expops_prefect.serialization import frames, pickling
from expops_prefect.serialization.manifest import pack, unpack
from expops_prefect.serialization.payloads import Mapping
from tests.serialization.exact import assert_same
from tests.serialization.readers import FromFiles, FromMemory, round_trip, suffixes

ROWS = 600
RANDOM = np.random.default_rng(0)
NUMBERS = pd.DataFrame({"x": RANDOM.random(ROWS), "n": np.arange(ROWS), "b": np.arange(ROWS) % 3 == 0})
TEXT = [f"täxt {n % 7}" for n in range(ROWS)]
TIMES = pd.date_range("2020-01-01", periods=ROWS, freq="h")

NOT_THERE = np.arange(ROWS) % 5 == 0
MASKED_DTYPES = [f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
MASKED_DTYPES += ["Float32", "Float64", "boolean"]


class OwnFrame(pd.DataFrame):  # type: ignore[misc]
    pass


class Word(str):
    __slots__ = ()


def objects(values: list[Any]) -> pd.Series:
    return pd.Series(values, dtype=object)


def changed(frame: pd.DataFrame, **attributes: Any) -> pd.DataFrame:
    frame = frame.copy()
    for name, value in attributes.items():
        setattr(frame, name, value)
    return frame


ARROW = {
    "numbers": NUMBERS,
    "small types": NUMBERS.astype({"x": "f4", "n": "u2", "b": "i1"}),
    "half floats": NUMBERS[["x"]].astype("f2"),
    "bits of NaN": pd.DataFrame({"x": np.array([0x7FF8000000000001, 0xFFF0000000000001] * 300, "u8").view("f8")}),
    "strided": NUMBERS[["x"]].iloc[::2],
    "from a matrix": pd.DataFrame(RANDOM.random((ROWS, 4)), columns=list("abcd")),
    "default text": pd.DataFrame({"t": TEXT}),
    "string": pd.DataFrame({"t": pd.array([*TEXT, pd.NA], dtype="string")}),
    "string[python]": pd.DataFrame({"t": pd.array([*TEXT, pd.NA], dtype="string[python]")}),
    "objects of text": pd.DataFrame({"t": objects(TEXT)}),
    "objects of text and None": pd.DataFrame({"t": objects([*TEXT, None])}),
    "categories": pd.DataFrame({"c": pd.Categorical([*TEXT, None])}),
    "ordered categories": pd.DataFrame({"c": pd.Categorical([3, 1, 2] * 200, categories=[3, 2, 1, 0], ordered=True)}),
    "times": pd.DataFrame({"d": TIMES}),
    "times with NaT": pd.DataFrame({"d": [*TIMES, pd.NaT]}).astype("M8[ns]"),
    "durations": pd.DataFrame({"d": np.arange(ROWS).astype("m8[s]")}),
    "masked": pd.DataFrame({"x": pd.array([1, None] * 300, dtype="Int64")}),
    "masked, of all kinds": pd.DataFrame(
        {kind: pd.array([1, None, 0] * 200, dtype=kind) for kind in MASKED_DTYPES}, index=pd.Index(TEXT, name="key")
    ),
    "masked NaN beside NA": pd.DataFrame({"x": pd.arrays.FloatingArray(np.array([1.0, np.nan] * 300), NOT_THERE)}),
    "masked, among others": NUMBERS.assign(x=pd.array([3, None] * 300, dtype="UInt8"), t=TEXT).iloc[::2],
    "masked series": pd.Series([True, None] * 300, dtype="boolean", name="flag"),
    "arrow integers": pd.DataFrame({"x": pd.array([1, None] * 300, dtype=pd.ArrowDtype(pa.int64()))}),
    "arrow lists": pd.DataFrame({"x": pd.array([[1], None] * 300, dtype=pd.ArrowDtype(pa.list_(pa.int64())))}),
    "index of numbers": NUMBERS.set_index("n"),
    "index after a filter": NUMBERS[NUMBERS.b],
    "index of text": NUMBERS.set_index(pd.Index(TEXT, name="key")),
    "index of times": NUMBERS.set_index(pd.DatetimeIndex(np.array(TIMES))),
    "index with a name": NUMBERS.rename_axis("row"),
    "range with a step": NUMBERS.set_axis(pd.RangeIndex(5, 5 + 3 * ROWS, 3)),
    "name of the columns": NUMBERS.rename_axis(columns="kind"),
    "numbered columns": NUMBERS.set_axis([2, 1, 0], axis=1),
    "mixed column labels": NUMBERS.set_axis(["a", 1, None], axis=1),
    "duplicate column labels": NUMBERS.set_axis(["a", "a", "b"], axis=1),
    "several column levels": NUMBERS.set_axis(pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)]), axis=1),
    "duplicate index": NUMBERS.set_axis([0] * ROWS),
    "series": NUMBERS["x"],
    "series of text": pd.Series(TEXT, name=("a", 1)),
    "series without a name": pd.Series(RANDOM.random(ROWS)),
}
GAPS = pd.DataFrame({"t": [*TEXT, None, np.nan]})
if GAPS["t"].dtype != object:  # pandas before 3 keeps None and NaN apart
    ARROW["default text with gaps"] = GAPS
PICKLED = {
    "index with a frequency": NUMBERS.set_axis(TIMES),
    "several index levels": NUMBERS.set_index(["n", "b"]),
    "index of categories": NUMBERS.set_axis(pd.CategoricalIndex(TEXT)),
    "time zone": pd.DataFrame({"d": TIMES.tz_localize("Europe/Berlin")}),
    "objects of text and NaN": pd.DataFrame({"t": objects([*TEXT, np.nan])}),
    "mixed objects": pd.DataFrame({"t": objects([1, "1", 1.0, None, np.nan, pd.NaT] * 100)}),
    "objects that are almost text": pd.DataFrame({"t": objects([*TEXT, Word("x")])}),
    "lists in cells": pd.DataFrame({"t": objects([[1], (1,)] * 300)}),
    "arrays in cells": pd.DataFrame({"t": objects([np.arange(2)] * 300)}),
    "decimals": pd.DataFrame({"t": objects([decimal.Decimal("1.10")] * 300)}),
    "dates": pd.DataFrame({"t": objects([dt.date(2020, 1, 1)] * 300)}),
    "big integers": pd.DataFrame({"t": objects([1 << 70] * 300)}),
    "complex": pd.DataFrame({"z": RANDOM.random(ROWS) + 1j}),
    "sparse": pd.DataFrame({"s": pd.arrays.SparseArray(np.arange(ROWS) % 2)}),
    "masked index": NUMBERS.set_axis(pd.Index(pd.array(range(ROWS), dtype="Int64"))),
    "periods": pd.DataFrame({"x": pd.period_range("2020", periods=ROWS, freq="D")}),
    "intervals": pd.DataFrame({"x": pd.interval_range(0, ROWS)}),
    "surrogates": pd.DataFrame({"t": objects(["\ud800"] * 300)}),
    "many categories": pd.DataFrame({"c": pd.Categorical([str(n) for n in range(ROWS)])}),
    "attrs": changed(NUMBERS, attrs={"unit": "m"}),
    "flags": NUMBERS.set_flags(allows_duplicate_labels=False),
    "many columns": pd.DataFrame(RANDOM.random((20, 120))),
    "subclass": OwnFrame(NUMBERS),
}


@pytest.mark.parametrize("name", ARROW)
@pytest.mark.parametrize("mmap", ["copy-on-write", "off"])
def test_exact_pandas_frames_become_arrow_files(name: str, mmap: Mapping, tmp_path: Path) -> None:
    value = ARROW[name]
    packed = pack(value, spill_bytes=512)
    assert suffixes(packed) == [".arrow"]
    assert_same(value, unpack(packed.manifest, FromMemory(packed, mmap)))
    reader = FromFiles(tmp_path, mmap)
    assert_same(value, unpack(reader.store(packed), reader))
    assert reader.read_whole == []


@pytest.mark.parametrize("name", PICKLED)
def test_other_pandas_frames_are_exact_too(name: str) -> None:
    packed = pack(PICKLED[name], spill_bytes=512)
    assert ".arrow" not in suffixes(packed)
    assert_same(PICKLED[name], unpack(packed.manifest, FromMemory(packed)))


def test_numbers_are_not_copied_and_others_can_read_the_file() -> None:
    values = RANDOM.random(ROWS)
    packed = pack(pd.DataFrame({"x": values, "t": TEXT}, copy=False), spill_bytes=512)
    (payload,) = packed.payloads
    assert any(np.shares_memory(np.frombuffer(part, np.uint8), values) for part in payload.parts)
    table = pa.ipc.open_file(io.BytesIO(b"".join(payload.parts))).read_all()
    assert table.column(1).to_pylist() == TEXT


@pytest.mark.parametrize("mmap", ["copy-on-write", "readonly", "off"])
def test_loaded_frames_can_be_used_and_changed(mmap: Mapping, tmp_path: Path) -> None:
    size = 300_000  # large enough to be mapped
    frame = pd.DataFrame({"x": np.arange(size) * 0.5, "t": ["a", "b", "c"] * (size // 3)})
    frame["c"] = frame["t"].astype("category")
    frame["m"] = pd.array([1, None, 3] * (size // 3), dtype="Int32")
    reader = FromFiles(tmp_path, mmap)
    manifest = reader.store(pack(frame))
    (file,) = tmp_path.rglob("*.arrow")
    before = file.read_bytes()
    loaded: Any = unpack(manifest, reader)
    expected = frame.copy()
    for each in (expected, loaded):
        each.loc[1, "t"] = "new"
        each["more"] = each["x"] * 2
        if mmap != "readonly":
            each.loc[each["c"] == "b", "c"] = "a"
            each.loc[0, "x"] = -1.0
            each["x"] += 1
            each.loc[0, "m"] = None
        each.sort_values("t", inplace=True)
    assert_same(expected, loaded)
    assert_same(expected.groupby("c", observed=True)["x"].sum(), loaded.groupby("c", observed=True)["x"].sum())
    assert_same(expected.groupby("c", observed=True)["m"].sum(), loaded.groupby("c", observed=True)["m"].sum())
    assert_same(expected["m"].cumsum(), loaded["m"].cumsum())
    assert file.read_bytes() == before
    assert_same(frame, unpack(manifest, reader))


def test_columns_of_mapped_frames_are_writable(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(300_000.0)})
    reader = FromFiles(tmp_path)
    loaded: Any = unpack(reader.store(pack(frame)), reader)
    block = loaded._mgr.blocks[0].values
    assert block.flags.writeable
    assert not block.flags.owndata


POLARS_ARROW = {
    "frame": pl.DataFrame({"x": RANDOM.random(ROWS), "t": TEXT, "b": [True, None, False] * 200}),
    "times": pl.DataFrame({"d": TIMES.to_numpy()}).with_columns(z=pl.col("d").dt.replace_time_zone("Europe/Berlin")),
    "days": pl.DataFrame({"d": [dt.date(2020, 1, 1), None] * 300, "t": [dt.time(1, 2, 3), None] * 300}),
    "durations": pl.DataFrame({"d": [dt.timedelta(seconds=1), None] * 300}),
    "nested": pl.DataFrame({"l": [[1, None], None] * 300, "s": [{"a": 1, "b": "x"}] * ROWS}),
    "fixed": pl.DataFrame({"a": pl.Series([[1, 2]] * ROWS, dtype=pl.Array(pl.Int16, 2))}),
    "bytes": pl.DataFrame({"b": [b"\0\xff", None] * 300}),
    "sliced": pl.DataFrame({"x": RANDOM.random(3 * ROWS)})[5:-7],
    "chunks": pl.concat([pl.DataFrame({"x": [1.0] * ROWS})] * 3, rechunk=False),
    "series": pl.Series("named", RANDOM.random(ROWS)),
    "series of text": pl.Series("", TEXT * 3),
}
POLARS_PICKLED = {
    "categories": pl.DataFrame({"c": TEXT}, schema={"c": pl.Categorical}),
    "enum": pl.DataFrame({"c": ["a", "b"] * 300}, schema={"c": pl.Enum(["b", "a", "z"])}),
    "decimals": pl.DataFrame({"d": [decimal.Decimal("1.10")] * ROWS}),
    "wide integers": pl.DataFrame({"i": pl.Series([1 << 100] * ROWS, dtype=pl.Int128)}),
    "nothing": pl.DataFrame({"n": [None] * 9000}),
}
TABLE = pa.table({"x": RANDOM.random(ROWS), "t": TEXT, "d": pa.array(TEXT).dictionary_encode()})
TABLES = {
    "table": TABLE,
    "metadata": TABLE.replace_schema_metadata({"k": "v"}),
    "sliced": TABLE.slice(7, 500),
    "chunks": pa.concat_tables([TABLE, TABLE.slice(3)]).unify_dictionaries(),
    "batch": TABLE.to_batches()[0],
    "not null": TABLE.select(["x"]).cast(pa.schema([pa.field("x", pa.float64(), nullable=False, metadata={"a": "b"})])),
    "same names": pa.table([pa.array(TEXT), pa.array(range(ROWS))], names=["a", "a"]),
}


@pytest.mark.parametrize("value", [*POLARS_ARROW.values(), *TABLES.values()], ids=[*POLARS_ARROW, *TABLES])
@pytest.mark.parametrize("mmap", ["copy-on-write", "off"])
def test_polars_and_arrow(value: Any, mmap: Mapping, tmp_path: Path) -> None:
    packed = pack(value, spill_bytes=512)
    assert suffixes(packed) == [".arrow"]
    reader = FromFiles(tmp_path, mmap)
    assert_same(value, unpack(reader.store(packed), reader))
    assert reader.read_whole == []


class LabelType(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(pa.int64(), "expops_prefect.tests.label")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: Any, serialized: bytes) -> LabelType:
        return cls()


ARROW_PICKLED = {
    "different dictionaries": pa.table(
        {"d": pa.chunked_array([pa.array(["a", "b"] * 300).dictionary_encode(), pa.array(["c"]).dictionary_encode()])}
    ),
    "extension": pa.table({"e": pa.ExtensionArray.from_storage(LabelType(), pa.array(range(ROWS)))}),
    "array": pa.array(RANDOM.random(ROWS)),
}


@pytest.mark.parametrize(
    "value", [*POLARS_PICKLED.values(), *ARROW_PICKLED.values()], ids=[*POLARS_PICKLED, *ARROW_PICKLED]
)
def test_other_polars_and_arrow_values_are_exact_too(value: Any) -> None:
    packed = pack(value, spill_bytes=512)
    assert ".arrow" not in suffixes(packed)
    assert_same(value, unpack(packed.manifest, FromMemory(packed)))


@pytest.mark.parametrize("value", [NUMBERS, NUMBERS["x"], POLARS_ARROW["frame"], TABLE])
def test_small_values_stay_in_the_manifest(value: Any) -> None:
    packed = pack({"v": value})
    assert packed.payloads == ()
    assert_same(value, round_trip(value, 1 << 18))


def test_unknown_formats_and_damaged_files() -> None:
    encoded = frames.encode(TABLE, 1)
    assert encoded is not None
    content = b"".join(encoded.parts)
    with pytest.raises(FormatError, match="newer release"):
        frames.decode({"format": "parquet-9"}, memoryview(content))
    packed = pack(TABLE, spill_bytes=512)
    reader = FromMemory(packed)
    reader.data = lambda ref: bytes(ref.size)  # type: ignore[method-assign]
    with pytest.raises(IntegrityError):
        unpack(packed.manifest, reader)


@settings(deadline=None, max_examples=60)
@given(
    frame=hpd.data_frames(
        [
            hpd.column("f", dtype=float),
            hpd.column("i", dtype=np.int16),
            hpd.column("t", elements=st.text(st.characters(), max_size=4), dtype=object),
            hpd.column("d", dtype="M8[ns]"),
        ],
        index=st.one_of(hpd.range_indexes(min_size=1), hpd.indexes(dtype=np.int64, min_size=1)),
    )
)
def test_any_frame(frame: pd.DataFrame) -> None:
    packed = pack(frame, spill_bytes=1)
    assert_same(frame, unpack(packed.manifest, FromMemory(packed)))


class Unknown:
    """Polars keeps it as an object of Python's."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_objects_in_polars(tmp_path: Path) -> None:
    objects = pl.Series("o", [Unknown(1), None, Unknown(2)], dtype=pl.Object)
    frame = pl.DataFrame({"a": [1, 2, 3]}).with_columns(objects)
    for value in (frame, objects, {"deep": [frame]}):
        stream = pickling.dumps(value)
        for loaded in (pickling.loads(stream), pickle.loads(stream)):
            found: Any = loaded["deep"][0] if isinstance(loaded, dict) else loaded
            assert type(found) is type(value if not isinstance(value, dict) else frame)
            series = found if isinstance(found, pl.Series) else found["o"]
            assert (series.name, series.dtype) == ("o", pl.Object)
            assert [None if item is None else item.number for item in series.to_list()] == [1, None, 2]
            if isinstance(found, pl.DataFrame):
                assert found.drop("o").equals(frame.drop("o"))
    locked = pl.DataFrame({"a": [1]}).with_columns(pl.Series("o", [threading.Lock()], dtype=pl.Object))
    with pytest.raises(ResultNotStorableError, match="return plain data"):
        pickling.dumps(locked)
