"""Arrays, frames, Arrow, sparse matrices and models: what must differ and what must not."""

from __future__ import annotations

import copy
import datetime as dt
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from expops_prefect.fingerprint import files
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.files import DataFile, data_digest, file_digest
from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint.packages import python
from tests.values.rows_sql import mapped

BASE = np.arange(6, dtype=np.float64)
NAN_BITS = np.array([0x7FF8000000000001, 0x7FF8000000000000], dtype=np.uint64).view(np.float64)


def changed_middle(values: np.ndarray[Any, Any]) -> Any:
    changed = values.copy()
    changed[len(changed) // 2] += 1
    return changed


def frame(**changes: Any) -> pd.DataFrame:
    data = {"a": [1, 2, 3], "b": [1.0, None, 3.0], "c": ["x", "y", None], **changes}
    return pd.DataFrame(data)


def with_attributes(value: Any, **attributes: Any) -> Any:
    copied = value.copy()
    copied.attrs.update(attributes)
    return copied


def nan_at(payload: int) -> Any:
    return NAN_BITS[payload : payload + 1]


BIG = np.arange(100_000.0)
DAYS = pd.date_range("2024-01-01", periods=3)

DISTINCT: dict[str, Callable[[], list[Any]]] = {
    "shapes": lambda: [
        BASE,
        BASE.reshape(2, 3),
        BASE.reshape(3, 2),
        BASE.reshape(1, 6),
        BASE.reshape(6, 1),
        BASE.tolist(),
    ],
    "empty shapes": lambda: [
        np.zeros((0,)),
        np.zeros((0, 3)),
        np.zeros((3, 0)),
        np.zeros(0, np.int8),
        np.array(None),
        np.zeros((0, 0)),
    ],
    "dtypes": lambda: [
        np.zeros(2, d)
        for d in (
            "i1",
            "u1",
            "i8",
            "u8",
            "f4",
            "f8",
            "c8",
            "?",
            "S1",
            "U1",
            "O",
            "M8[s]",
            "M8[ms]",
            "m8[s]",
            "V1",
            ">i8",
            ">f8",
            "f2",
            "S8",
        )
    ],
    "elements": lambda: [BIG, changed_middle(BIG), BIG[:-1], -BIG, np.append(BIG[:-1], np.nan), BIG[::-1]],
    "zeros": lambda: [np.array([0.0]), np.array([-0.0]), nan_at(0), nan_at(1), np.array([0])],
    "scalars": lambda: [
        np.float64(1),
        np.array(1.0),
        np.array([1.0]),
        1.0,
        np.float32(1),
        np.int64(1),
        np.bool_(True),
        np.str_("1"),
        np.bytes_(b"1"),
        np.longlong(1),
    ][:9],
    "text": lambda: [
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype="U5"),
        np.array(["a", "b"], dtype=object),
        np.array([b"a", b"b"]),
        np.array(["a", "c"]),
        np.array(["a", "b"], dtype=np.dtypes.StringDType()),
    ],
    "objects": lambda: [
        np.array([1, "1", None], dtype=object),
        np.array([1, 1, None], dtype=object),
        np.array([1.0, "1", None], dtype=object),
        np.array([True, "1", None], dtype=object),
    ],
    "structured": lambda: [
        np.array([(1, 2)], dtype=d)
        for d in (
            [("a", "i4"), ("b", "i4")],
            [("b", "i4"), ("a", "i4")],
            [("a", "i4"), ("b", "i8")],
            [("a", "i4"), ("c", "i4")],
            np.dtype([("a", "i1"), ("b", "i4")], align=True),
            np.dtype([("a", "i1"), ("b", "i4")]),
        )
    ],
    "masks": lambda: [
        np.ma.array([1, 2], mask=[False, True]),
        np.ma.array([1, 2], mask=[True, False]),
        np.ma.array([1, 2]),
        np.ma.array([1, 2], fill_value=7),
        np.array([1, 2]),
        np.ma.masked,
    ],
    "kinds of arrays": lambda: [
        np.array([[1, 2]]),
        np.matrix([[1, 2]]),
        [[1, 2]],
        np.array([(1, 2)], dtype="i8,i8"),
        np.rec.array([(1, 2)], dtype="i8,i8"),
    ],
    "dates": lambda: [
        np.datetime64("2024-01-01"),
        np.datetime64("2024-01-01", "s"),
        np.datetime64("NaT"),
        np.timedelta64("NaT", "s"),
        np.timedelta64(1, "s"),
        dt.date(2024, 1, 1),
    ],
    "generators": lambda: [
        np.random.default_rng(1),
        np.random.default_rng(2),
        np.random.RandomState(1),
        _advanced(1),
        np.random.PCG64(1),
        np.random.Generator(np.random.MT19937(1)),
    ],
    "dtypes as values": lambda: [
        np.dtype("f8"),
        np.dtype("f4"),
        np.float64,
        float,
        "f8",
        np.dtype("f8,f8"),
        np.dtype(">f8"),
    ],
    "functions of numpy": lambda: [np.sin, np.cos, np.mean, np.median, np.add, np.add.reduce, np.linalg.norm],
    "frame values": lambda: [
        frame(),
        frame(a=[1, 9, 3]),
        frame(b=[1.0, 2.0, 3.0]),
        frame(c=["x", "z", None]),
        frame(c=["x", "y", ""]),
        frame().iloc[:2],
        frame().iloc[::-1],
    ],
    "frame in the middle": lambda: [
        pd.DataFrame({"a": BIG, "t": "x"}),
        pd.DataFrame({"a": changed_middle(BIG), "t": "x"}),
    ],
    "columns": lambda: [
        frame(),
        frame()[["b", "a", "c"]],
        frame().rename(columns={"a": "z"}),
        frame().rename(columns={"a": "b", "b": "a"}),
        frame().rename_axis(columns="n"),
        frame().drop(columns="c"),
        frame().set_axis([0, 1, 2], axis=1),
        frame().set_axis(["0", "1", "2"], axis=1),
        frame().set_axis(["a", "a", "b"], axis=1),
        frame().set_axis(["a", "b", "b"], axis=1),
    ],
    "indexes": lambda: [
        frame(),
        frame().set_index("a"),
        frame().set_axis([0, 1, 3]),
        frame().set_axis([0.0, 1.0, 2.0]),
        frame().set_axis(["0", "1", "2"]),
        frame().rename_axis("n"),
        frame().set_axis(DAYS),
        frame().set_axis(DAYS.tz_localize("UTC")),
        frame().set_index(["a", "c"]),
        frame().set_index(["c", "a"]),
    ],
    "frequency": lambda: [
        pd.Series([1, 2, 3], DAYS),
        pd.Series([1, 2, 3], pd.DatetimeIndex(DAYS.values)),
        pd.Series([1, 2, 3], DAYS.as_unit("ns")),
        pd.Series([1, 2, 3], DAYS.as_unit("s")),
    ],
    "attributes": lambda: [frame(), with_attributes(frame(), unit="m"), with_attributes(frame(), unit="k")],
    "series": lambda: [
        pd.Series([1, 2]),
        pd.Series([1, 2], name="x"),
        pd.Series([1, 2], name="y"),
        pd.Series([1, 2], name=0),
        pd.Series([1.0, 2.0]),
        pd.Index([1, 2]),
        pd.DataFrame({0: [1, 2]}),
        np.array([1, 2]),
        pd.array([1, 2]),
        [1, 2],
    ],
    "extension types": lambda: [
        pd.Series([1, 2, 3], dtype=d)
        for d in (
            "int64",
            "Int64",
            "int64[pyarrow]",
            "Int32",
            "float64",
            "Float64",
            "object",
            "category",
            "int8",
            "uint8",
            "Sparse[int]",
        )
    ],
    "text types": lambda: [
        pd.Series(["a", "b"], dtype=d)
        for d in (
            "object",
            "str",
            "string[python]",
            "string[pyarrow]",
            "category",
            pd.ArrowDtype(pa.large_string()),
            pd.ArrowDtype(pa.string()),
        )
    ],
    "missing": lambda: [
        pd.Series([None, "a"], dtype=object),
        pd.Series([np.nan, "a"], dtype=object),
        pd.Series([pd.NA, "a"], dtype=object),
        pd.Series([pd.NaT, "a"], dtype=object),
        pd.Series(["", "a"], dtype=object),
    ],
    "masked integers": lambda: [
        pd.Series([1, None], dtype="Int64"),
        pd.Series([1, 1], dtype="Int64"),
        pd.Series([1, 0], dtype="Int64"),
        pd.Series([None, 1], dtype="Int64"),
    ],
    "categories": lambda: [
        pd.Categorical(["a", "b"]),
        pd.Categorical(["a", "b"], ["b", "a"]),
        pd.Categorical(["a", "b"], ["a", "b", "c"]),
        pd.Categorical(["a", "b"], ordered=True),
        pd.Categorical(["a", None], ["a", "b"]),
        pd.Categorical([1, 2]),
    ],
    "multi indexes": lambda: [
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "c")]),
        pd.MultiIndex.from_tuples([(1, "a"), (2, "b")], names=["x", "y"]),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]),
    ],
    "times of pandas": lambda: [
        pd.Timestamp("2024-01-01"),
        pd.Timestamp("2024-01-01", tz="UTC"),
        pd.Timestamp("2024-01-01").as_unit("ns"),
        dt.datetime(2024, 1, 1),
        pd.Timedelta("1D"),
        pd.Period("2024-01", "M"),
        pd.NaT,
        pd.NA,
        pd.Interval(0, 1),
        pd.Interval(0, 1, closed="left"),
    ],
    "arrow": lambda: [
        pa.table({"a": [1, 2]}),
        pa.table({"a": [1, 3]}),
        pa.table({"b": [1, 2]}),
        pa.table({"a": [1.0, 2.0]}),
        pa.table({"a": pa.array([1, 2], pa.int32())}),
        pa.table({"a": [1, None]}),
        pa.table({"a": [1, 0]}),
        pa.table({"a": [1, 2]}).replace_schema_metadata({"k": "v"}),
        pa.array([1, 2]),
        pa.chunked_array([[1, 2]]),
        pa.record_batch({"a": [1, 2]}),
    ],
    "arrow types": lambda: [
        pa.array(v, t)
        for v, t in (
            ([["a"], []], pa.list_(pa.string())),
            ([["a", ""]], pa.list_(pa.string())),
            ([["a"], None], pa.list_(pa.string())),
            (["a", "b"], pa.string()),
            (["a", "b"], pa.large_string()),
            ([b"a", b"b"], pa.binary()),
            ([{"x": 1}], pa.struct([("x", pa.int64())])),
            ([{"x": 1}], pa.struct([("x", pa.int32())])),
            ([None, None], pa.null()),
            ([True, None], pa.bool_()),
            ([True, False], pa.bool_()),
            (["a", "b"], pa.dictionary(pa.int8(), pa.string())),
            ([dt.datetime(2024, 1, 1)], pa.timestamp("us")),
            ([dt.datetime(2024, 1, 1)], pa.timestamp("us", "UTC")),
        )
    ],
    "polars": lambda: [
        pl.DataFrame({"a": [1, 2]}),
        pl.DataFrame({"a": [1, 3]}),
        pl.DataFrame({"b": [1, 2]}),
        pl.DataFrame({"a": [1.0, 2.0]}),
        pl.DataFrame({"a": [1, None]}),
        pl.Series("a", [1, 2]),
        pl.Series("b", [1, 2]),
        pl.DataFrame({"a": ["1", "2"]}),
        pl.DataFrame({"a": [1, 2], "b": [3, 4]}),
        pl.DataFrame({"b": [3, 4], "a": [1, 2]}),
        pl.DataFrame({"a": pl.Series(["x", "y"], dtype=pl.Categorical)}),
        pl.DataFrame({"a": [[1], [2]]}),
        pl.DataFrame({"a": [{"k": 1}, {"k": 2}]}),
    ],
    "sparse": lambda: [
        sparse.csr_array(np.eye(3)),
        sparse.csc_array(np.eye(3)),
        sparse.coo_array(np.eye(3)),
        sparse.csr_matrix(np.eye(3)),
        sparse.csr_array(np.eye(3) * 2),
        sparse.csr_array(np.eye(3, 4)),
        sparse.csr_array(np.eye(3, dtype=int)),
        sparse.dok_array(np.eye(3)),
        sparse.lil_array(np.eye(3)),
        sparse.dia_array(np.eye(3)),
        np.eye(3),
    ],
    "models": lambda: [
        LinearRegression(),
        LinearRegression(fit_intercept=False),
        _fitted(0),
        _fitted(1),
        LogisticRegression(),
        _forest(0),
        _forest(1),
        make_pipeline(StandardScaler(), LinearRegression()),
        make_pipeline(LinearRegression()),
    ],
}


def _advanced(seed: int) -> np.random.Generator:
    generator = np.random.default_rng(seed)
    generator.random()
    return generator


def _fitted(shift: float) -> LinearRegression:
    return LinearRegression().fit(np.arange(6).reshape(3, 2), np.arange(3) ** 2 + shift * np.arange(3))


def _forest(seed: int) -> RandomForestRegressor:
    data = np.random.default_rng(0).random((20, 3))
    return RandomForestRegressor(3, random_state=seed).fit(data, data.sum(1))


@pytest.mark.parametrize("group", DISTINCT)
def test_values_of_a_group_all_differ_and_survive_copies(group: str) -> None:
    digests: dict[str, Any] = {}
    for value in DISTINCT[group]():
        digest = fingerprint(value)
        assert digest not in digests, f"{value!r} collides with {digests.get(digest)!r}"
        digests[digest] = value
        assert fingerprint(copy.deepcopy(value)) == digest
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, 5, buffer_callback=buffers.append)
        assert fingerprint(pickle.loads(data, buffers=buffers)) == digest
        assert fingerprint(pickle.loads(pickle.dumps(value, 5))) == digest


def _alike() -> Iterator[tuple[str, Any, Any]]:
    square = np.arange(12.0).reshape(3, 4)
    yield "stride", square[:, ::2], np.ascontiguousarray(square[:, ::2])
    yield "reversed view", square[::-1], square[::-1].copy()
    yield "broadcast", np.broadcast_to(np.float64(1), (3, 4)), np.ones((3, 4))
    yield "padding", _padded(0), _padded(255)
    big = np.random.default_rng(0).random((3000, 1500))
    yield "large stride", big[:, ::2], big[:, ::2].copy()
    parts = frame()
    yield "concat of columns", parts, pd.concat([parts[["a"]], parts[["b"]], parts[["c"]]], axis=1)
    yield "concat of rows", parts, pd.concat([parts.iloc[:1], parts.iloc[1:]])
    floats = pd.DataFrame(np.arange(6.0).reshape(3, 2), columns=["x", "y"])
    yield "blocks", floats, pd.DataFrame({"x": floats["x"].to_numpy().copy(), "y": floats["y"].to_numpy().copy()})
    yield "inserted", floats, _inserted(floats)
    yield "range and its values", pd.RangeIndex(3), pd.RangeIndex(0, 3)
    cached = frame()
    _ = cached.index.is_unique, cached["a"].index.get_loc(1), cached.columns.is_unique, cached["c"].hasnans
    yield "looked up before", cached, frame()
    yield (
        "masked garbage",
        pd.array([1, None], "Int64"),
        pd.array([1, 2], "Int64").where(np.array([True, False]), pd.NA)
        if hasattr(pd.array([1], "Int64"), "where")
        else _hidden(),
    )
    yield "hidden integers", _hidden(), pd.array([1, None], "Int64")
    yield (
        "arrow text slices",
        pd.Series(["q", "a", None, "b"], dtype="string[pyarrow]").iloc[1:].reset_index(drop=True),
        pd.Series(["a", None, "b"], dtype="string[pyarrow]"),
    )
    yield "categorical slices", pd.Categorical(["a", "b", "a"])[:2], pd.Categorical(["a", "b"])
    yield "frame slices", frame(a=[1, 2, 3]).iloc[1:].reset_index(drop=True), frame().drop(0).reset_index(drop=True)
    yield "chunks", pa.chunked_array([[1, 2], [3]]), pa.chunked_array([[1], [2, 3]])
    yield "empty chunks", pa.chunked_array([[1, 2], []], pa.int64()), pa.chunked_array([[1, 2]])
    yield "text chunks", pa.chunked_array([["a", None], ["bc"]]), pa.chunked_array([["a"], [None, "bc"]])
    yield "nested chunks", pa.chunked_array([[[1], None], [[2, 3], []]]), pa.chunked_array([[[1]], [None, [2, 3], []]])
    yield (
        "struct chunks",
        pa.chunked_array([[{"x": 1}, None], [{"x": None}]]),
        pa.chunked_array([[{"x": 1}], [None, {"x": None}]]),
    )
    yield "arrow offsets", pa.array([0, 1, 2, None, 4])[1:], pa.array([1, 2, None, 4])
    yield "bool offsets", pa.array([True, False, None, True])[1:], pa.array([False, None, True])
    yield "text offsets", pa.array(["zz", "a", "bc"])[1:], pa.array(["a", "bc"])
    yield "list offsets", pa.array([[9], [1, 2], []])[1:], pa.array([[1, 2], []])
    yield "struct offsets", pa.array([{"x": 9}, {"x": 1}])[1:], pa.array([{"x": 1}])
    yield "validity", pa.array([1, 2], mask=np.array([False, False])), pa.array([1, 2])
    yield "under nulls", pa.array(np.array([1, 77]), mask=np.array([False, True])), pa.array([1, None], pa.int64())
    yield "dictionary chunks", _dictionary(["a", "b"], [[0, 1], [0]]), _dictionary(["a", "b"], [[0], [1, 0]])
    table = pa.table({"a": [1, 2, 3], "b": ["x", "y", None]})
    yield "table slices", table.slice(1), pa.table({"a": [2, 3], "b": ["y", None]})
    yield "table concat", pa.concat_tables([table.slice(0, 1), table.slice(1)]), table
    yield (
        "polars chunks",
        pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [2]})], rechunk=False),
        pl.DataFrame({"a": [1, 2]}),
    )
    yield (
        "polars slices",
        pl.DataFrame({"a": [0, 1, 2], "b": ["", "x", "y"]}).slice(1),
        pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    )
    matrix = sparse.csr_array(np.eye(3))
    _ = matrix.has_sorted_indices, matrix.has_canonical_format
    yield "sparse flags", matrix, sparse.csr_array(np.eye(3))
    yield "refitted", _fitted(0), _fitted(0)
    yield "forests", _forest(0), _forest(0)
    yield "generator state", _advanced(5), _advanced(5)


def _padded(fill: int) -> Any:
    kind = np.dtype([("a", "i1"), ("b", "i8")], align=True)
    raw: np.ndarray[Any, Any] = np.full(2 * kind.itemsize, fill, np.uint8).view(kind)
    raw["a"], raw["b"] = 1, 2
    return raw


def _inserted(values: pd.DataFrame) -> pd.DataFrame:
    built = values[["y"]].copy()
    built.insert(0, "x", values["x"])
    return built


def _hidden() -> Any:
    values = pd.array([1, 2], "Int64")
    values[1] = pd.NA
    return values


def _dictionary(words: list[str], chunks: list[list[int]]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.DictionaryArray.from_arrays(pa.array(chunk, pa.int8()), words) for chunk in chunks])


@pytest.mark.parametrize(("left", "right"), [pytest.param(left, right, id=name) for name, left, right in _alike()])
def test_layout_in_memory_does_not_count(left: Any, right: Any) -> None:
    assert fingerprint(left) == fingerprint(right)
    assert fingerprint([left, 1]) == fingerprint([right, 1])


def test_hashing_leaves_values_as_they_were() -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    data = frame()
    for value in (array, masked, data):
        before = pickle.dumps(value)
        fingerprint(value)
        assert pickle.dumps(value) == before


def test_libraries_are_not_imported_for_plain_values() -> None:
    out = python(
        "-c",
        "import sys, dataclasses, datetime, pathlib\n"
        "from expops_prefect.fingerprint.values import fingerprint\n"
        "fingerprint([1, 'a', {'b': (2.0, None)}, datetime.date(2024, 1, 1), pathlib.Path('x')])\n"
        "print(sorted({'numpy', 'pandas', 'pyarrow', 'polars', 'sklearn', 'scipy', 'prefect'} & set(sys.modules)))\n",
    )
    assert out == "[]\n"


def test_files_count_by_content(tmp_path: Path) -> None:
    one, two, three = tmp_path / "one.csv", tmp_path / "two.csv", tmp_path / "three.csv"
    one.write_bytes(b"a,b\n1,2\n")
    two.write_bytes(b"a,b\n1,2\n")
    three.write_bytes(b"a,b\n1,3\n")
    assert file_digest(one) == file_digest(str(two)) != file_digest(three)
    assert fingerprint(DataFile(one)) == fingerprint(DataFile(two)) != fingerprint(DataFile(three))
    assert fingerprint(DataFile(one)) != fingerprint(file_digest(one))
    assert fingerprint(DataFile(one)) == fingerprint(pickle.loads(pickle.dumps(DataFile(one))))
    with open(DataFile(one)) as file:  # noqa: PTH123 - what is tested
        assert file.readline() == "a,b\n"
    assert str(DataFile(one)) == os.fspath(DataFile(one)) == str(one)


def test_a_file_written_again_within_its_clock_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_bytes(b"one")
    first = file_digest(file)
    times = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file_digest(file) != first
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    assert file_digest(link) == file_digest(file)
    link.unlink()
    other = tmp_path / "other.csv"
    other.write_bytes(b"one")
    link.symlink_to(other)
    assert file_digest(link) == first


def test_an_old_file_is_read_once_and_again_when_replaced(tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"x" * 1000)
    os.utime(file, (1_000_000, 1_000_000))
    first = file_digest(file)
    assert file_digest(file) == first
    replacement = tmp_path / "new.bin"
    replacement.write_bytes(b"y" * 1000)
    os.utime(replacement, (1_000_000, 1_000_000))
    replacement.replace(file)
    assert file_digest(file) != first


def test_only_the_files_of_a_folder_that_changed_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while its newest file may be written again without its times showing it."""
    for number in range(5):
        (tmp_path / f"{number}.csv").write_text("1")
        os.utime(tmp_path / f"{number}.csv", (1e9, 1e9))
    read: list[str] = []
    real = files.file_digest

    def counted(path: str) -> str:
        read.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(files, "file_digest", counted)
    monkeypatch.setattr(files, "_UNSETTLED_NS", 0)
    before = files.data_digest(tmp_path)
    assert len(read) == 5
    monkeypatch.setattr(files, "_UNSETTLED_NS", 10**12)
    (tmp_path / "2.csv").write_text("2")
    after = files.data_digest(tmp_path)
    assert (files.data_digest(tmp_path), read[5:]) == (after, ["2.csv"] * 2)
    assert after != before


def test_a_folder_of_data_counts_by_all_that_is_in_it(tmp_path: Path) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    (data / "deep").mkdir(parents=True)
    elsewhere.mkdir()
    (data / "a.csv").write_text("1")
    (data / "deep" / "b.csv").write_text("2")
    (elsewhere / "c.csv").write_text("3")
    (data / "link").symlink_to(elsewhere)
    (data / "deep" / "up").symlink_to(data)
    (data / "nowhere").symlink_to(tmp_path / "none")
    os.mkfifo(data / "pipe")
    seen = [data_digest(data)]
    assert data_digest(data) == seen[0]

    def changed(what: str) -> None:
        assert data_digest(data) not in seen, what
        seen.append(data_digest(data))

    (data / "a.csv").write_text("4")
    changed("a file")
    (data / "deep" / "b.csv").write_text("5")
    changed("a file further down")
    (elsewhere / "c.csv").write_text("6")
    changed("a file behind a link")
    (data / "a.csv").rename(data / "d.csv")
    changed("a name")
    (data / "empty").mkdir()
    changed("an empty folder")
    assert data_digest(data / "d.csv") == file_digest(data / "d.csv")


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file_digest(tmp_path / "none")
    with pytest.raises((FileNotFoundError, TypeError)):
        fingerprint(DataFile(tmp_path / "none"))


def zoned(hours: int) -> Any:
    """A moment in a zone of the user's own."""
    zone = dt.timezone(dt.timedelta(hours=hours), "LOCAL")
    return pd.DatetimeIndex(["2020-01-01"], tz="UTC").tz_convert(zone)


def business(day: int) -> Any:
    """Two business days of which another one is a holiday."""
    return pd.date_range("2020-01-01", periods=2, freq=pd.offsets.CustomBusinessDay(holidays=[f"2020-01-{day:02}"]))


@pytest.mark.parametrize(
    "make", [zoned, business, lambda hours: pd.Series(zoned(hours)), lambda hours: zoned(hours).dtype]
)
def test_zones_and_frequencies_of_one_name(make: Callable[[int], Any]) -> None:
    assert fingerprint(make(6)) == fingerprint(make(6))
    assert fingerprint(make(6)) != fingerprint(make(7))


def test_mapped_classes_differ_by_what_is_mapped_and_who_listens() -> None:
    def listens(_target: Any, value: Any, *_: Any) -> None:
        str(value)

    makes = (mapped, lambda: mapped(31), lambda: mapped(30, listens), lambda: mapped(30, lambda *_: None))
    for part in range(3):
        forms = [constant_form(make()[part]) for make in makes]
        assert len(set(forms)) == len(forms)
