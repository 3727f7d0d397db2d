"""Equal after copy and pickle, and in another process under another hash seed."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import pathlib
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from hypothesis.extra import pandas as st_pandas

from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint.packages import python
from tests.fingerprint.test_collisions import DISTINCT, Frozen, Plain, Point, Slotted


def _leaves(dtype: np.dtype[Any]) -> list[np.dtype[Any]]:
    if dtype.subdtype is not None:
        return _leaves(dtype.subdtype[0])
    if dtype.fields is not None:
        return [leaf for field in dtype.fields.values() for leaf in _leaves(field[0])]
    return [dtype]


ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
    st.decimals(),
    st.fractions(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.builds(pathlib.Path, st.sampled_from(["a", "b/c", "/d"])),
    st.binary().map(bytearray),
)
HASHABLE = st.one_of(
    st.integers(), st.text(), st.booleans(), st.floats(allow_nan=False), st.tuples(st.integers(), st.text())
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=5),
        st.sets(HASHABLE, max_size=5),
        st.frozensets(HASHABLE, max_size=5),
        st.builds(Point, inner, inner),
        st.builds(Frozen, inner, inner),
        st.builds(Slotted, inner),
        st.dictionaries(st.sampled_from("abc"), inner).map(lambda attributes: Plain(**attributes)),
        inner.map(lambda part: [part, part, (part,)]),
    ),
    max_leaves=12,
)
# NumPy pickles dates of the other byte order as native ones, so those do not come back as they were.
DTYPES = st.one_of(st_numpy.scalar_dtypes(), st_numpy.array_dtypes(max_size=3)).filter(
    lambda dtype: not any(part.kind in "mM" and not part.isnative for part in _leaves(dtype))
)
ARRAYS = st_numpy.arrays(
    dtype=DTYPES,
    shape=st_numpy.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
FRAMES = st_pandas.data_frames(
    columns=[
        st_pandas.column("a", dtype=np.int64),
        st_pandas.column("b", dtype=np.float64),
        st_pandas.column("c", dtype=bool),
        st_pandas.column("d", elements=st.text(max_size=5) | st.none(), dtype=object),
        st_pandas.column("e", dtype="datetime64[ns]"),
    ],
    index=st_pandas.range_indexes(max_size=6),
)
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def assert_stable(value: Any) -> str:
    digest = fingerprint(value)
    assert fingerprint(value) == digest
    # Not below: there NumPy gives up the byte order, and datetimes lose their fold.
    assert fingerprint(pickle.loads(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))) == digest
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(value, 5, buffer_callback=buffers.append)
    assert fingerprint(pickle.loads(data, buffers=buffers)) == digest
    assert fingerprint(cloudpickle.loads(cloudpickle.dumps(value))) == digest
    assert fingerprint(copy.deepcopy(value)) == digest
    assert fingerprint(copy.copy(value)) == digest
    return digest


@QUICK
@given(VALUES)
def test_values_survive_copies(value: Any) -> None:
    assert_stable(value)


@QUICK
@given(ARRAYS)
def test_arrays_survive_copies_and_layouts(array: np.ndarray[Any, Any]) -> None:
    digest = assert_stable(array)
    assert_stable(np.asfortranarray(array))
    if array.ndim:
        padded = np.empty((*array.shape[:-1], array.shape[-1] * 2), array.dtype)
        padded[..., ::2] = array
        assert fingerprint(padded[..., ::2]) == digest


@settings(QUICK, max_examples=60)
@given(FRAMES)
def test_frames_survive_copies_and_concat(frame: pd.DataFrame) -> None:
    digest = assert_stable(frame)
    pieces = [frame[[column]] for column in frame.columns]
    assert fingerprint(pd.concat(pieces, axis=1)) == digest
    assert fingerprint(frame.copy(deep=True)) == digest


@QUICK
@given(VALUES, VALUES)
def test_different_values_differ(left: Any, right: Any) -> None:
    # Equal text of the pickles means that they are the same; the converse need not hold.
    if fingerprint(left) == fingerprint(right):
        assert type(left) is type(right)
        assert repr_of(left) == repr_of(right)


def repr_of(value: Any) -> str:
    if isinstance(value, (set, frozenset)):
        return type(value).__name__ + repr(sorted(map(repr_of, value)))
    if isinstance(value, (list, tuple)):
        return type(value).__name__ + repr([repr_of(part) for part in value])
    if type(value) is dict:
        return repr([(repr_of(key), repr_of(part)) for key, part in value.items()])
    if isinstance(value, Plain):
        return "Plain" + repr(sorted((key, repr_of(part)) for key, part in vars(value).items()))
    if isinstance(value, Slotted):
        return "Slotted" + repr_of(value.a)
    if isinstance(value, (Point, Frozen)):
        return type(value).__name__ + repr_of([value.x, value.y])
    return repr(value)


CHILD = """
import base64, pickle, sys
from expops_prefect.fingerprint.values import fingerprint
values = pickle.loads(base64.b64decode(sys.stdin.read()))
print("\\n".join(fingerprint(value) for value in values))
"""


def seeded() -> list[Any]:
    groups = [
        value
        for name, group in DISTINCT.items()
        if name not in {"functions", "partials", "bytes", "modules", "scalars"}
        for value in group
    ]
    hashy = [
        {"b", "a", "c", "a long one " * 20},
        {("a", 1), ("b", 2), None, 3.5, b"x"},
        Plain(names={"x", "y", "z"}, more={frozenset({"p", "q"}), frozenset({"r"})}),
        {"outer": {"in", "ner"}, "list": [{"u", "v"}]},
        Decimal("1.5"),
        Fraction(1, 3),
        dt.datetime(2024, 3, 1, tzinfo=dt.timezone.utc),
        np.arange(10),
        pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["u", "v"])}),
        pd.Series([{"s", "t"}, {"u"}]),
        np.array([{"s", "t", "u"}, None], dtype=object),
    ]
    picklable = []
    for value in [*groups, *hashy]:
        try:
            pickle.dumps(value)
        except (TypeError, AttributeError, pickle.PicklingError):
            continue
        picklable.append(value)
    return picklable


def test_other_processes_and_hash_seeds_agree() -> None:
    values = seeded()
    assert len(values) > 150
    expected = [fingerprint(value) for value in values]
    data = base64.b64encode(pickle.dumps(values, 5)).decode()
    for seed in (0, 1, 4242):
        got = python("-c", CHILD, seed=seed, text=data).split()
        different = [values[index] for index, digest in enumerate(got) if digest != expected[index]]
        assert len(got) == len(expected)
        assert not different, different


SCRIPT = """
import dataclasses, enum, sys
from expops_prefect.fingerprint.values import fingerprint

@dataclasses.dataclass
class Settings:
    rate: float

class Mode(enum.Enum):
    FAST = 1

class Thing:
    def __init__(self):
        self.names = {"a", "b"}

def digests():
    return [fingerprint(value) for value in (Settings(0.1), Mode.FAST, Thing(), [Settings(1.0)])]

if __name__ == "__main__":
    print(*digests())
"""


def test_classes_of_a_script_count_alike_run_or_imported(tmp_path: pathlib.Path) -> None:
    script = tmp_path / "my_script.py"
    script.write_text(SCRIPT)
    starts = ([str(script)], [str(script)], ["-c", "import my_script; print(*my_script.digests())"])
    runs = [python(*arguments, seed=seed, paths=(tmp_path,)) for seed, arguments in enumerate(starts)]
    assert len(runs[0].split()) == 4
    assert runs[0] == runs[1] == runs[2]
