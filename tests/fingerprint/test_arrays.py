"""Arrays, frames and the like: what is equal although it lies elsewhere or otherwise in memory."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import time
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint import specimens as s

ARRAY_DTYPES = st.one_of(
    hnp.scalar_dtypes(),
    hnp.unicode_string_dtypes(max_len=3),
    hnp.byte_string_dtypes(max_len=3),
    hnp.array_dtypes(max_size=3),
)


@given(hnp.arrays(ARRAY_DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
@settings(max_examples=300, deadline=None)
def test_copies_and_views_agree(array: Any) -> None:
    array = np.asarray(array)
    digest = fingerprint(array)
    pickled = pickle.loads(pickle.dumps(array, protocol=5))
    same = [
        copy.deepcopy(array),
        # NumPy itself turns some foreign byte orders into the native one.
        pickled if pickled.dtype == array.dtype else array,
        np.ascontiguousarray(array).reshape(array.shape),
        array[..., ::-1][..., ::-1] if array.ndim else array,
    ]
    if array.ndim:
        wide = np.zeros((array.shape[0] * 2, *array.shape[1:]), array.dtype)
        wide[::2] = array
        same.append(wide[::2])
    same.append(np.broadcast_to(array, array.shape))  # a view that cannot be written
    frozen = array.copy()
    frozen.setflags(write=False)
    same.append(frozen)
    assert [fingerprint(other) for other in same] == [digest] * len(same)


@pytest.mark.parametrize("dtype", [np.dtype(float), np.dtype(object), np.dtype("U3"), np.dtype([("a", "i4")])])
def test_the_order_of_an_array_in_memory_counts(dtype: np.dtype[Any]) -> None:
    array = np.zeros((2, 3), dtype)
    by_column = np.asfortranarray(array)
    assert by_column.tobytes("A") == by_column.copy("K").tobytes("A")
    assert fingerprint(by_column) == fingerprint(by_column.copy("K")) != fingerprint(array)
    assert fingerprint(array.T) != fingerprint(array.T.copy())


@given(
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=1, max_side=4)),
    hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=1, max_side=4)),
)
@settings(max_examples=200, deadline=None)
def test_equal_exactly_for_equal_dtype_shape_and_bytes(left: Any, right: Any) -> None:
    def tagged(array: Any) -> Any:
        longdouble = array.dtype.kind in "fc" and np.finfo(array.dtype).nmant == 63
        return array.dtype.str, array.shape, repr(array.tolist()) if longdouble else array.tobytes()

    assert (fingerprint(left) == fingerprint(right)) == (tagged(left) == tagged(right))
    changed = left.copy()
    flat = changed.reshape(-1).view(np.uint8)
    flat[0] ^= 1
    if not (left.dtype.kind in "fc" and np.finfo(left.dtype).nmant == 63):
        assert fingerprint(changed) != fingerprint(left)


@pytest.mark.parametrize("shape", [(3_000_000,), (1500, 2000), (2, 1_500_000), (1_500_000, 2), (3, 1000, 1000)])
def test_large_arrays_in_any_layout(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).random(shape)
    digest = fingerprint(array)
    wide = np.zeros((*shape[:-1], shape[-1] * 2))
    wide[..., ::2] = array
    assert fingerprint(wide[..., ::2]) == digest
    by_column = np.asfortranarray(array)
    assert (fingerprint(by_column) == digest) == (array.ndim == 1)
    assert fingerprint(by_column) == fingerprint(by_column.copy("K"))
    changed = array.copy()
    changed[tuple(side // 2 for side in shape)] += 1
    assert fingerprint(changed) != digest


def test_the_byte_order_of_the_dtype_counts() -> None:
    little = np.array([1.0, 2.0], "<f8")
    big = little.astype(">f8")
    assert fingerprint(little) != fingerprint(big)
    for copied in (big.copy(), copy.deepcopy(big), pickle.loads(pickle.dumps(big, protocol=5))):
        assert fingerprint(copied) == fingerprint(big)


def test_bytes_between_fields_mean_nothing() -> None:
    dtype = np.dtype([("a", "i1"), ("b", "f8")], align=True)
    clean, dirty = np.zeros(3, dtype), np.full(3 * dtype.itemsize, 0xFF, np.uint8).view(dtype)
    for array in (clean, dirty):
        array["a"], array["b"] = 1, 2.0
    assert clean.tobytes() != dirty.tobytes()
    assert fingerprint(clean) == fingerprint(dirty)


def test_extended_precision_without_its_padding() -> None:
    clean = np.array([1, 2], np.longdouble)
    dirty = clean.copy()
    if np.finfo(np.longdouble).nmant == 63:
        dirty.view(np.uint8).reshape(2, -1)[:, 10:] = 0xFF
        clean.view(np.uint8).reshape(2, -1)[:, 10:] = 0
        assert clean.tobytes() != dirty.tobytes()
    assert fingerprint(clean) == fingerprint(dirty)


def test_masked_arrays_before_and_after_they_are_asked() -> None:
    array = np.ma.array([1, 2, 3], mask=[False, True, False])
    digest = fingerprint(array)
    assert vars(array)["_fill_value"] is None
    assert array.fill_value == 999999
    assert fingerprint(array) == digest
    assert fingerprint(pickle.loads(pickle.dumps(array))) == digest


def test_sparse_matrices_before_and_after_they_are_asked() -> None:
    matrix = sp.csr_array(np.eye(4))
    digest = fingerprint(matrix)
    assert matrix.has_sorted_indices
    assert matrix.has_canonical_format
    assert fingerprint(matrix) == digest


def test_a_generator_that_has_drawn_is_another() -> None:
    generator = np.random.default_rng(1)
    digest = fingerprint(generator)
    assert fingerprint(np.random.default_rng(1)) == digest
    generator.random()
    assert fingerprint(generator) != digest


class Tagged(np.ndarray):
    """Carries a unit, as subclasses do."""

    unit: str


def test_subclasses_with_attributes() -> None:
    meters, feet = (np.arange(3.0).view(Tagged) for _ in range(2))
    meters.unit, feet.unit = "m", "ft"
    assert fingerprint(meters) != fingerprint(feet)
    assert fingerprint(meters) != fingerprint(np.arange(3.0))
    assert fingerprint(copy.deepcopy(np.matrix([[1]]))) == fingerprint(np.matrix([[1]]))


def test_a_mapped_file_by_its_content(tmp_path: Any) -> None:
    arrays = []
    for name in ("a", "b"):
        mapped = np.memmap(tmp_path / name, np.float64, "w+", shape=(4,))
        mapped[:] = 1.5
        arrays.append(mapped)
    assert fingerprint(arrays[0]) == fingerprint(arrays[1])
    arrays[1][2] = 0
    assert fingerprint(arrays[0]) != fingerprint(arrays[1])


FRAME = pd.DataFrame(
    {
        "i": range(6),
        "f": [0.5, 1, float("nan"), 2, 3, 4],
        "t": ["a", "b", None, "d", "e", "f"],
        "c": pd.Categorical(["u", "v", "u", None, "v", "u"]),
        "n": pd.array([1, None, 3, 4, 5, 6], dtype="Int64"),
        "b": pd.array([True, None, False, True, True, True], dtype="boolean"),
        "s": pd.array(["a", None, "c", "d", "e", "f"], dtype="string"),
        "d": pd.date_range("2020", periods=6, tz="UTC"),
        "o": [[1], {"k": {"x"}}, None, (1,), "text", 2**80],
        "g": np.arange(6.0),
        "h": np.arange(6),
    }
)


def _consolidated() -> pd.DataFrame:
    frame = pd.DataFrame(np.arange(12.0).reshape(6, 2), columns=["x", "y"])
    return pd.concat([FRAME, frame], axis=1)


def _by_column() -> pd.DataFrame:
    frame = FRAME.copy()
    frame["x"] = np.arange(0, 12, 2.0)
    frame["y"] = np.arange(1, 13, 2.0)
    return frame


@pytest.mark.parametrize(
    ("left", "right"),
    [
        pytest.param(FRAME, pd.concat([FRAME.iloc[:2], FRAME.iloc[2:]]), id="concat"),
        pytest.param(FRAME, pd.DataFrame({name: FRAME[name] for name in FRAME}), id="column by column"),
        pytest.param(FRAME, FRAME.assign(z=1).drop(columns="z"), id="dropped"),
        pytest.param(FRAME, FRAME.iloc[::-1].iloc[::-1], id="reversed twice"),
        pytest.param(_consolidated(), _by_column(), id="blocks"),
        pytest.param(FRAME.set_index(["i", "t"]), FRAME.copy().set_index(["i", "t"]), id="multi-index"),
    ],
)
def test_equal_frames(left: Any, right: Any) -> None:
    pd.testing.assert_frame_equal(left, right)
    assert fingerprint(left) == fingerprint(right)


def test_unused_levels_of_an_index_count() -> None:
    left, right = FRAME.set_index(["i", "t"]).iloc[:3], FRAME.iloc[:3].set_index(["i", "t"])
    pd.testing.assert_frame_equal(left, right)
    # A task can ask for them: left.index.levels.
    assert fingerprint(left) != fingerprint(right)


def test_every_cell_and_label_of_a_frame_counts() -> None:
    seen = {fingerprint(FRAME)}
    changes: list[pd.DataFrame] = []
    for name, value in [("i", 9), ("f", 9.0), ("t", "z"), ("c", "v"), ("n", 9), ("b", True), ("s", "z"), ("g", 9.0)]:
        changed = FRAME.copy()
        changed.loc[2, name] = value
        changes.append(changed)
    for name in FRAME:
        changes.append(FRAME.rename(columns={name: "renamed"}))
        changes.append(FRAME.drop(columns=name))
    changes += [FRAME.iloc[::-1], FRAME.iloc[1:], FRAME[list(reversed(FRAME.columns))], FRAME.set_axis(list("abcdef"))]
    changed = FRAME.copy()
    changed["o"] = [[1], {"k": {"y"}}, None, (1,), "text", 2**80]
    changes.append(changed)
    for other in changes:
        digest = fingerprint(other)
        assert digest not in seen
        seen.add(digest)


def test_frames_before_and_after_they_are_asked() -> None:
    frame = FRAME.copy()
    digest = fingerprint(frame)
    assert frame.index.is_unique
    assert frame["n"].dtype.numpy_dtype == "int64"
    assert "a" in frame.set_index("t").index
    frame.attrs  # noqa: B018 - it is made when it is first asked for
    assert fingerprint(frame) == digest


def test_what_lies_under_missing_values_means_nothing() -> None:
    left = pd.arrays.IntegerArray(np.array([1, 7]), np.array([False, True]))
    right = pd.arrays.IntegerArray(np.array([1, 8]), np.array([False, True]))
    assert fingerprint(left) == fingerprint(right)
    not_a_number = pd.arrays.FloatingArray(np.array([1, np.nan]), np.array([False, False]))
    missing = pd.arrays.FloatingArray(np.array([1, np.nan]), np.array([False, True]))
    assert fingerprint(not_a_number) != fingerprint(missing)


def test_frame_subclasses_with_their_attributes() -> None:
    class Measured(pd.DataFrame):  # type: ignore[misc]
        _metadata = ["unit"]  # noqa: RUF012 - as pandas wants it

        @property
        def _constructor(self) -> Any:
            return Measured

    meters, feet = Measured({"a": [1]}), Measured({"a": [1]})
    meters.unit, feet.unit = "m", "ft"
    assert len({fingerprint(meters), fingerprint(feet), fingerprint(pd.DataFrame({"a": [1]}))}) == 3


ARROW = [
    pa.array([1, None, 3, 4, 5, None]),
    pa.array(["a", None, "ccc", "", "e", "f"]),
    pa.array(["a", None, "ccc", "", "e", "f"], pa.large_string()),
    pa.array([b"a", None, b"ccc", b"", b"e", b"f"]),
    pa.array([True, None, False, True, False, True]),
    pa.array([[1], None, [2, 3], [], [None], [4]]),
    pa.array([["x"], None, ["y", "z"], [], [None], ["w"]], pa.large_list(pa.string())),
    pa.array([[1, 2], None, [3, 4], [5, None], [6, 7], [8, 9]], pa.list_(pa.int32(), 2)),
    pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 3, "b": None}, {"a": 4, "b": "z"}, None]),
    pa.array([[("k", 1)], None, [], [("l", None)], [("k", 2)], [("m", 3)]], pa.map_(pa.string(), pa.int64())),
    pa.array([1.5, None, 2.5, 3.5, 4.5, None], pa.float32()),
    pa.array([b"ab", None, b"cd", b"ef", b"gh", b"ij"], pa.binary(2)),
    pa.array(["a", "b", None, "a", "c", "b"]).dictionary_encode(),
    pa.array([0, 1, 2, None, 4, 5], pa.timestamp("us", "UTC")),
    pa.nulls(6),
]


@pytest.mark.parametrize("array", ARROW, ids=[str(array.type) for array in ARROW])
def test_chunks_and_offsets_of_arrow_mean_nothing(array: Any) -> None:
    digest = fingerprint(array)
    thrice = pa.concat_arrays([array, array, array])
    assert fingerprint(thrice.slice(6, 6)) == digest
    whole = fingerprint(pa.chunked_array([array]))
    for cut in range(7):
        chunks = [array.slice(0, cut), array.slice(cut)]
        assert fingerprint(pa.chunked_array(chunks)) == whole
    assert fingerprint(pa.concat_arrays([array.slice(3), array.slice(0, 3)])) != digest or pa.types.is_null(array.type)
    assert fingerprint(array.slice(0, 5)) != digest


def test_what_lies_under_nulls_of_arrow_means_nothing() -> None:
    valid = pa.py_buffer(b"\x05")
    left, right = (
        pa.Array.from_buffers(pa.int64(), 3, [valid, pa.py_buffer(np.array(numbers).tobytes())])
        for numbers in ([1, 7, 3], [1, 8, 3])
    )
    assert left.equals(right)
    assert fingerprint(left) == fingerprint(right)
    assert fingerprint(left) != fingerprint(pa.array([1, 7, 3]))
    everything = pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\xff"), left.buffers()[1]])
    assert fingerprint(everything) == fingerprint(pa.array([1, 7, 3]))


def test_polars_chunks_mean_nothing() -> None:
    frame = pl.DataFrame({"a": [1, 2, None, 4], "b": ["x", None, "y", "z"], "c": [[1], [], None, [2, 3]]})
    parts = pl.concat([frame[:1], frame[1:]], rechunk=False)
    assert parts.n_chunks() == 2
    assert fingerprint(parts) == fingerprint(frame)
    assert fingerprint(frame.lazy()) == fingerprint(copy.deepcopy(frame.lazy()))


def test_estimators() -> None:
    from sklearn.datasets import make_classification
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = make_classification(60, random_state=0)

    def fitted(seed: int) -> list[Any]:
        return [
            RandomForestClassifier(5, random_state=seed).fit(features, labels),
            make_pipeline(StandardScaler(), LogisticRegression(C=seed + 1)).fit(features, labels),
        ]

    first, second = fitted(0), fitted(0)
    assert fingerprint(first) == fingerprint(second)
    assert fingerprint(pickle.loads(pickle.dumps(first))) == fingerprint(first)
    first[0].predict(features)
    assert fingerprint(first) == fingerprint(second)
    for one, other in zip(first, fitted(1), strict=True):
        assert fingerprint(one) != fingerprint(other)


def test_large_buffers_after_a_fork() -> None:
    """BLAKE3's thread pool does not survive a fork, so a forked worker once hung here."""
    array = np.arange(3_000_000.0)
    expected = fingerprint(array)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, fingerprint(array).encode())
        os._exit(0)
    os.close(writer)
    deadline = time.monotonic() + 30
    done = 0
    while not done and time.monotonic() < deadline:
        done, _ = os.waitpid(child, os.WNOHANG)
    if not done:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        assert answer.read() == expected


def test_buffers_of_out_of_band_pickling() -> None:
    assert fingerprint(pickle.PickleBuffer(b"abc")) == fingerprint(pickle.PickleBuffer(bytearray(b"abc")))
    assert fingerprint(pickle.PickleBuffer(b"abc")) != fingerprint(b"abc")
    assert fingerprint(s.Plain(a=np.arange(3))) == fingerprint(s.Plain(a=np.arange(3)))


class Fitted:
    def __init__(self, seen: Any) -> None:
        self.seen = seen


def test_arrays_that_two_parts_share_are_not_told_apart() -> None:
    """What two tasks got in one run, and models that were fitted on it, share it until one comes from the cache."""
    array = np.zeros(2)
    together = [Fitted(array), Fitted(array), array, {"squared": array}]
    apart = [Fitted(array.copy()), Fitted(array.copy()), array, {"squared": array.copy()}]
    assert fingerprint(together) == fingerprint(apart)
