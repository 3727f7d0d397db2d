from __future__ import annotations

import collections
import datetime as dt
import decimal
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from expops_prefect.serialization.manifest import pack, relative_uri, unpack
from expops_prefect.serialization.references import ARRAY_MARKER, MARKERS, OWN_MARKER
from tests.serialization.exact import assert_same
from tests.serialization.readers import FromFiles, FromMemory, round_trip, suffixes

LARGE = np.arange(3000.0)


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass
class Data:
    values: Any
    label: str = "data"


class Names(dict[str, Any]):
    pass


VALUES: dict[str, Any] = {
    "none": None,
    "numbers": [0, -1, 1 << 80, 1.5, -0.0, float("nan"), float("inf"), 1j, True],
    "text": ["", "ünï", "\ud800", "x" * 5000],
    "bytes": [b"", b"\0" * 5000, bytearray(b"\1" * 5000), bytearray()],
    "containers": {"a": [1, (2, [3, {}]), ()], 1: {"b": LARGE}, (1, 2): [LARGE * 2], None: ({"c": (LARGE + 1,)},)},
    "order": {"b": LARGE, "a": 1, "c": None},
    "sets": [{1, 2}, frozenset({"x"})],
    "subclasses": [Names(a=LARGE), collections.OrderedDict(b=LARGE), Point(LARGE, [LARGE]), collections.deque([LARGE])],
    "objects": [Data(LARGE), Data([LARGE, "x"]), {"d": Data(pd.DataFrame({"x": LARGE}))}],
    "standard library": [
        dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc),
        decimal.Decimal("1.10"),
        Path("a/b"),
        range(3),
    ],
    "numpy scalars": [np.float64(1.5), np.int8(3), np.datetime64("2020-01-01"), np.bool_(True)],
    "types and functions": [int, np.ndarray, len, Data],
    "many small": [(n, str(n), [n]) for n in range(500)],
}


@pytest.mark.parametrize("name", VALUES)
def test_round_trip(name: str, tmp_path: Path) -> None:
    assert_same(VALUES[name], round_trip(VALUES[name]))
    reader = FromFiles(tmp_path)
    manifest = reader.store(pack(VALUES[name], spill_bytes=1024))
    assert_same(VALUES[name], unpack(manifest, reader))


def test_functions_and_classes_without_a_module() -> None:
    class Local:
        def __init__(self) -> None:
            self.values = LARGE

    loaded = round_trip({"f": lambda x: x + 1, "o": Local()})
    assert loaded["f"](1) == 2
    np.testing.assert_array_equal(loaded["o"].values, LARGE)


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize("spill_bytes", [1, 1 << 20])
def test_dictionaries_with_reserved_keys_come_back(marker: str, spill_bytes: int) -> None:
    plain = {marker: True, "uri": "/etc/passwd", "format": "pickle", "pickle": b"", "buffers": []}
    for value in (plain, {"a": [plain, {marker: {marker: LARGE}}], "b": plain}, {marker: plain}):
        loaded = round_trip(value, spill_bytes)
        assert_same(value, loaded)
    twice = round_trip([plain, plain], spill_bytes)
    assert twice[0] is twice[1]


def test_what_goes_where() -> None:
    value = {
        "array": LARGE,
        "small": LARGE[:3],
        "bytes": b"x" * 2000,
        "object": Data(LARGE),
        "frame": pd.DataFrame({"x": LARGE}),
    }
    packed = pack(value, spill_bytes=1024)
    assert suffixes(packed) == [".npz", ".buf", ".arrow", ".buf"]
    assert len(packed.manifest) < 3000
    for payload in packed.payloads:
        ref = payload.ref
        assert ref.size == sum(memoryview(part).nbytes for part in payload.parts)
        assert ref.key == f"cache/payloads/{ref.digest[:2]}/{ref.digest}{ref.suffix}"


def test_large_buffers_of_objects_are_not_copied() -> None:
    data = Data(LARGE, "x")
    (payload,) = pack([data, 1], spill_bytes=1024).payloads
    assert np.shares_memory(np.frombuffer(payload.parts[0]), LARGE)


def test_equal_parts_are_one_payload() -> None:
    packed = pack([LARGE, LARGE.copy(), {"x": LARGE}], spill_bytes=1024)
    assert len(packed.payloads) == 1
    loaded: Any = unpack(packed.manifest, FromMemory(packed))
    first, second, third = loaded
    assert first is third["x"]
    first[0] = 99
    assert second[0] == 0


def test_identity_within_containers_is_kept() -> None:
    inner = {"a": LARGE}
    row = [1, 2]
    data = Data(LARGE)
    loaded = round_trip({"x": inner, "y": [inner, row, data], "t": (row, LARGE, data)})
    assert loaded["x"] is loaded["y"][0]
    assert loaded["y"][1] is loaded["t"][0]
    assert loaded["y"][2] is loaded["t"][2]
    assert loaded["t"][1] is loaded["x"]["a"]


@pytest.mark.parametrize("spill_bytes", [1024, 1 << 20])
def test_values_that_contain_themselves(spill_bytes: int) -> None:
    cycle: dict[str, Any] = {"a": LARGE, OWN_MARKER: 1}
    cycle["self"] = [cycle]
    loaded = round_trip(cycle, spill_bytes)
    assert loaded["self"][0] is loaded
    np.testing.assert_array_equal(loaded["a"], LARGE)
    data = Data(LARGE)
    data.label = [data]  # type: ignore[assignment]
    loaded = round_trip({"d": data, "a": LARGE}, spill_bytes)
    assert loaded["d"].label[0] is loaded["d"]


def test_very_deep_values() -> None:
    value: Any = LARGE
    for _ in range(150):
        value = [value]
    packed = pack(value, spill_bytes=1024)
    assert suffixes(packed) == [".buf"]
    assert_same(value, unpack(packed.manifest, FromMemory(packed)))


def test_uris() -> None:
    packed = pack({"a": LARGE}, spill_bytes=1024)
    (payload,) = packed.payloads
    reference = pickle.loads(packed.manifest)["a"]
    assert reference[ARRAY_MARKER] is True
    assert reference["uri"] == f"payloads/{payload.ref.digest[:2]}/{payload.ref.digest}.npz"
    assert reference["meta"]["origin_type"] == "ndarray"
    assert relative_uri("cache/payloads/aa/x") == "payloads/aa/x"
    packed = pack({"a": LARGE}, spill_bytes=1024, uri=lambda key: f"gs://b/p/{key}")
    assert pickle.loads(packed.manifest)["a"]["uri"] == f"gs://b/p/{payload.ref.key}"


def run(code: str, *arguments: str) -> str:
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_manifests_load_without_this_package(tmp_path: Path) -> None:
    value = {
        "a": LARGE,
        "n": 1,
        "d": decimal.Decimal("1.10"),
        "f": pd.DataFrame({"x": LARGE}),
        "o": [b"x" * 5000],
        ARRAY_MARKER: 1,
    }
    (tmp_path / "m.pkl").write_bytes(pack(value, spill_bytes=1024).manifest)
    code = """
import sys
sys.modules["expops_prefect"] = None
import joblib, pickle
with open(sys.argv[1], "rb") as file:
    plain = pickle.load(file)
assert plain == joblib.load(sys.argv[1])
items = dict(plain["items"])
print(sorted(key for key, part in items.items() if isinstance(part, dict)), items["n"], items["d"])
"""
    assert run(code, str(tmp_path / "m.pkl")).strip() == "['a', 'f'] 1 1.10"


def test_classes_of_a_script_load_in_another_process(tmp_path: Path) -> None:
    prelude = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.serialization.readers import FromFiles, pack, unpack
reader = FromFiles(Path(sys.argv[1]))
"""
    run(
        prelude
        + """
import numpy as np
class Mine:
    def __init__(self): self.small, self.large = 1, np.arange(3000.0)
    def total(self): return self.large.sum() + self.small
Path(sys.argv[1], "m").write_bytes(reader.store(pack({"mine": Mine()}, spill_bytes=1024)))
""",
        str(tmp_path),
    )
    loaded = run(prelude + 'print(unpack(Path(sys.argv[1], "m").read_bytes(), reader)["mine"].total())', str(tmp_path))
    assert float(loaded) == LARGE.sum() + 1


KEYS = st.one_of(st.text(max_size=3), st.integers(), st.none(), st.sampled_from(MARKERS), st.tuples(st.integers()))
ARRAYS = st.one_of(
    *(hnp.arrays(kind, hnp.array_shapes(max_dims=2, max_side=5)) for kind in ("f8", "i2", ">i4", "U2", "M8[s]", "?"))
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=20),
    st.binary(max_size=40),
    st.binary(max_size=40).map(bytearray),
    st.dates(),
    ARRAYS,
    ARRAYS.map(Data),
    ARRAYS.map(lambda array: pd.Series(array.ravel())),
)
RESULTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Data, inner),
        inner.map(lambda part: [part, (part,), {"again": part}]),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=200)
@given(value=RESULTS, spill_bytes=st.sampled_from([1, 24, 1 << 18]))
def test_any_result(value: Any, spill_bytes: int) -> None:
    packed = pack(value, spill_bytes=spill_bytes)
    assert_same(value, unpack(packed.manifest, FromMemory(packed)))
    pickle.loads(packed.manifest)
