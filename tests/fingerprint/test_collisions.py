"""Values that a task can tell apart must differ; values that it cannot must not."""

from __future__ import annotations

import collections
import contextvars
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import itertools
import math
import operator
import pathlib
import re
import socket
import ssl
import struct
import threading
import uuid
import zoneinfo
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pydantic
import pytest

from expops_prefect.errors import FingerprintError
from expops_prefect.fingerprint.values import fingerprint, register_fingerprint

UTC = dt.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NAN_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000001))[0]


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    RED = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: Any
    y: Any = 0


class Pair(NamedTuple):
    x: Any
    y: Any


class Couple(NamedTuple):
    x: Any
    y: Any


class Model(pydantic.BaseModel):
    x: int | str
    y: int = 0


class OtherModel(pydantic.BaseModel):
    x: int | str
    y: int = 0


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class OtherPlain(Plain):
    pass


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any = None) -> None:
        self.a = a
        if b is not None:
            self.b = b


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Items(list[Any]):
    pass


class Table(dict[Any, Any]):
    pass


class Bag(set[Any]):
    pass


class Stateful:
    def __init__(self, value: Any, cache: Any) -> None:
        self.value = value
        self.cache = cache

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value}


def double(value: float) -> float:
    return value * 2


def treble(value: float) -> float:
    return value * 3


def adder(amount: int) -> Callable[[int], int]:
    return lambda value: value + amount


def cycle(length: int) -> list[Any]:
    first: list[Any] = []
    last = first
    for _ in range(length - 1):
        last.append([])
        last = last[0]
    last.append(first)
    return first


def looped(label: str) -> Plain:
    value = Plain(label=label)
    value.me = value  # type: ignore[attr-defined]
    return value


# Every value of one group differs from every other of the same group.
DISTINCT: dict[str, list[Any]] = {
    "scalars": [
        1,
        "1",
        1.0,
        True,
        b"1",
        1 + 0j,
        decimal.Decimal(1),
        fractions.Fraction(1),
        Number(1),
        Text("1"),
        None,
        "None",
        (),
        "",
        b"",
        0,
        False,
        0.0,
        -0.0,
        complex(0, -0.0),
        complex(-0.0, 0),
        ...,
        "Ellipsis",
        NotImplemented,
    ],
    "one as enum": [1, Colour.RED, Shade.RED, Level.RED, Bits.A, Colour.BLUE, Bits.A | Bits.B, Bits.B],
    "nan": [math.nan, -math.nan, NAN_PAYLOAD, math.inf, -math.inf],
    "integers": [
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        2**64,
        -(2**64),
        2**4096,
        2**4096 + 1,
        float(2**63),
        255,
        256,
        -1,
        128,
        -128,
    ],
    "bytes": [b"a", "a", bytearray(b"a"), memoryview(b"a"), [97], (97,), b"a\0", b"\0a"],
    "text": ["a", "a\0", "\0a", "é", "e\u0301", "\ud800", "\ud801", "aa", "A", "x" * 64, "x" * 65, "x" * 63],
    "nesting": [[], [[]], [[], []], [[[]]], (), ((),), ([],), {}, [{}], set(), frozenset(), [set()]],
    "grouping": [[1, [2, 3]], [[1, 2], 3], [1, 2, 3], [[1], 2, 3], [[1, 2, 3]], (1, 2, 3), [1, (2, 3)], [(1, 2), 3]],
    "text grouping": [["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""], ["", "abc"], ["a", "b", "c"], [b"ab", b"c"]],
    "keys": [{1: "x"}, {"1": "x"}, {1.0: "x"}, {True: "x"}, {(1,): "x"}, {b"1": "x"}, {"x": 1}, [(1, "x")], [[1, "x"]]],
    "dict order": [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2, "b": 1}, {"a": 1}, {"a": 1, "b": 2, "c": None}],
    "dict classes": [
        {"a": 1},
        collections.OrderedDict(a=1),
        collections.defaultdict(int, a=1),
        collections.defaultdict(list, a=1),
        collections.defaultdict(None, a=1),
        collections.Counter(a=1),
        Table(a=1),
        collections.ChainMap({"a": 1}),
    ],
    "sequence classes": [
        [1, 2],
        (1, 2),
        collections.deque([1, 2]),
        collections.deque([1, 2], 2),
        collections.deque([1, 2], 3),
        Items([1, 2]),
        Pair(1, 2),
        Couple(1, 2),
        range(1, 3),
        {1, 2},
        frozenset({1, 2}),
        Bag({1, 2}),
        slice(1, 2),
    ],
    "homogeneous lists": [[1, 2], [1.0, 2.0], [True, False], [1, 0], ["1", "2"], [True, 2], [1, 2.0], [b"1", b"2"]],
    "long lists": [
        [0] * 5000,
        [0] * 4999 + [1],
        [0] * 2500 + [1] + [0] * 2499,
        [0] * 5001,
        [False] * 5000,
        [0.0] * 5000,
        [*[0] * 4999, None],
        [*[0] * 4999, "0"],
        [None, *[0] * 4999],
    ],
    "sets": [
        {1, 2},
        {1, 2, 3},
        {1, "2"},
        {1.0, 2.0},
        {True, 2},
        {(1, 2)},
        frozenset({1, 2}),
        {frozenset({1}), frozenset({2})},
        {frozenset({1, 2})},
    ],
    "ranges": [range(10), range(0, 10, 2), range(10), range(11), range(1, 10), list(range(10))][1:],
    "slices": [slice(1), slice(None, None, 1), slice(0, 1), slice("1"), slice(1.0), slice((1,))],
    "decimals": [
        decimal.Decimal("1.0"),
        decimal.Decimal("1.00"),
        decimal.Decimal("-0"),
        decimal.Decimal("0"),
        decimal.Decimal("NaN"),
        decimal.Decimal("sNaN"),
        decimal.Decimal("Infinity"),
        decimal.Decimal("1E+2"),
        decimal.Decimal(100),
    ],
    "datetimes": [
        dt.datetime(2024, 1, 1),
        dt.datetime(2024, 1, 1, tzinfo=UTC),
        dt.datetime(2024, 1, 1, tzinfo=BERLIN),
        dt.datetime(2024, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.datetime(2024, 1, 1, fold=1),
        dt.date(2024, 1, 1),
        dt.datetime(2024, 1, 1, microsecond=1),
        "2024-01-01",
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(0), "Z")),
    ],
    "times": [
        dt.time(1),
        dt.time(1, fold=1),
        dt.time(1, tzinfo=UTC),
        dt.timedelta(hours=1),
        dt.timedelta(seconds=1),
        dt.timedelta(microseconds=1),
        dt.timedelta(days=1),
        dt.timedelta(days=-1),
    ],
    "paths": [
        pathlib.Path("a"),
        "a",
        pathlib.Path("a/b"),
        pathlib.PurePosixPath("a"),
        pathlib.PureWindowsPath("a"),
        pathlib.Path("/a"),
        pathlib.Path("A"),
    ],
    "identifiers": [
        *(uuid.UUID(int=1), uuid.UUID(int=2), str(uuid.UUID(int=1)), 1),
        *(uuid.UUID(int=1, is_safe=safe) for safe in (uuid.SafeUUID.safe, uuid.SafeUUID.unsafe)),
    ],
    "binary formats": [struct.Struct("<i"), struct.Struct("<q"), "<i"],
    "patterns": [re.compile("a"), re.compile(b"a"), re.compile("a", re.IGNORECASE), re.compile("b"), "a"],
    "dataclasses": [
        Point(1),
        Point(1, 1),
        Point("1"),
        Frozen(1),
        Frozen(1, 1),
        Pair(1, 0),
        (1, 0),
        {"x": 1, "y": 0},
        Model(x=1),
        OtherModel(x=1),
        Model(x="1"),
        Model(x=1, y=1),
    ],
    "objects": [
        Plain(),
        Plain(a=1),
        Plain(a="1"),
        Plain(b=1),
        Plain(a=1, b=2),
        Plain(a=2, b=1),
        OtherPlain(a=1),
        Slotted(1),
        Slotted(1, 2),
        Slotted(2, 1),
        {"a": 1},
        Plain(a=Plain(a=1)),
        Stateful(1, 0),
        Stateful(2, 0),
    ],
    "functions": [
        double,
        treble,
        lambda value: value * 2 + 0,
        lambda value: value * 3 + 0,
        adder(1),
        adder(2),
        math.sin,
        math.cos,
        len,
        operator.itemgetter(1),
        operator.itemgetter(2),
        operator.attrgetter("a"),
    ],
    "partials": [
        functools.partial(double, 1),
        functools.partial(double, 2),
        functools.partial(treble, 1),
        functools.partial(double, value=1),
        functools.partial(double),
        double,
    ],
    "methods": [
        "a".upper,
        "b".upper,
        "a".lower,
        [1].count,
        [2].count,
        Pair(1, 2).count,
        str.upper,
        Stateful(1, 0).__getstate__,
        Stateful(2, 0).__getstate__,
        Model.model_validate,
        OtherModel.model_validate,
    ],
    "types": [
        int,
        str,
        list,
        list[int],
        list[str],
        dict[str, int],
        dict[int, str],
        tuple[int, ...],
        tuple[int],
        int | str,
        int | None,
        Plain,
        OtherPlain,
        Colour,
        Point,
        type(None),
        type,
        "int",
        Callable[[int], str],
        Callable[[str], int],
    ],
    "modules": [math, operator, "math", re],
    "cycles": [cycle(1), [[]], looped("a"), looped("b"), [[1]], [cycle(1), 1], [1, cycle(1)]],
    "errors": [ValueError("a"), ValueError("b"), TypeError("a"), ValueError("a", 1), KeyError("a")],
    "itertools-free counts": [
        collections.Counter("ab"),
        collections.Counter("ba"),
        collections.Counter("aab"),
        collections.Counter(),
    ],
}


@pytest.mark.parametrize("group", DISTINCT)
def test_values_of_a_group_all_differ(group: str) -> None:
    digests: dict[str, Any] = {}
    for value in DISTINCT[group]:
        digest = fingerprint(value)
        assert len(digest) == 64
        assert digest not in digests, f"{value!r} collides with {digests.get(digest)!r}"
        digests[digest] = value


@pytest.mark.parametrize("group", DISTINCT)
def test_parts_differ_where_the_wholes_do(group: str) -> None:
    wrapped = [fingerprint({"k": [value]}) for value in DISTINCT[group]]
    assert len(set(wrapped)) == len(wrapped)
    assert not set(wrapped) & {fingerprint(value) for value in DISTINCT[group]}


def _built_differently() -> Iterator[tuple[str, Any, Any]]:
    shared = ["s" * 100, "t" * 100]
    yield "sharing", [shared, shared], [shared, shared]
    yield "sharing in objects", Plain(a=shared, b=shared), Plain(b=shared, a=shared)
    yield "shared tuples", (("a", 1),) * 3, tuple(("a", int("1")) for _ in range(3))
    yield "interned text", {"key": "va" + "lue" * 30}, {"".join(["k", "ey"]): "".join(["va", *["lue"] * 30])}
    yield "set order", set(range(1000)), set(range(999, -1, -1))
    yield "mixed set", {1, "a", None, (1, 2), 2.5}, {2.5, (1, 2), None, "a", 1}
    yield "frozensets in sets", {frozenset("abc"), frozenset("de")}, {frozenset("ed"), frozenset("cba")}
    yield "attribute order", Plain(a=1, b=2), Plain(b=2, a=1)
    yield "getstate hides", Stateful(1, 2), Stateful(1, object())
    yield "cycle entered alike", cycle(1), cycle(1)
    yield "two equal cycles", [cycle(2), cycle(2)], [cycle(2), cycle(2)]
    yield "looped object", looped("x"), looped("x")
    yield "equal closures", adder(3), adder(3)
    yield "memoryviews", memoryview(b"abcdef")[::2], memoryview(b"ace")
    yield "nan by bits", [math.nan], [float("nan")]
    yield "range", range(0, 10, 3), range(0, 10, 3)
    yield "model copies", Model(x=1), Model(x=1).model_copy()
    yield "counters built otherwise", collections.Counter("ab"), collections.Counter({"a": 1, "b": 1})
    cached = Plain(a=1)
    hash(cached)
    yield "hashed before", cached, Plain(a=1)


@pytest.mark.parametrize(
    ("left", "right"), [pytest.param(left, right, id=name) for name, left, right in _built_differently()]
)
def test_what_a_task_cannot_tell_apart_is_equal(left: Any, right: Any) -> None:
    assert fingerprint(left) == fingerprint(right)


def test_unequal_sharing_inside_a_cycle_still_ends() -> None:
    left: list[Any] = [1]
    right: list[Any] = [left, left]
    left.append(right)
    again: list[Any] = [1]
    again.append([again, again])
    assert fingerprint(left) == fingerprint(again)
    assert fingerprint(left) != fingerprint(right)


def test_wide_sharing_is_not_walked_exponentially() -> None:
    value: list[Any] = []
    for _ in range(200):
        value = [value, value]
    other: list[Any] = [1]
    for _ in range(200):
        other = [other, other]
    assert fingerprint(value) != fingerprint(other)


def _closed(file: io.BytesIO) -> io.BytesIO:
    file.close()
    return file


REFUSED: dict[str, Callable[[], Any]] = {
    "generator": lambda: (number for number in [1, 2]),
    "list iterator": lambda: iter([1, 2]),
    "map": lambda: map(str, [1]),
    "zip": lambda: zip([1], [2], strict=True),
    "dict items iterator": lambda: iter({1: 2}.items()),
    "itertools": lambda: itertools.count(),
    "chain": lambda: itertools.chain([1], [2]),
    "lock": threading.Lock,
    "rlock": threading.RLock,
    "event": threading.Event,
    "context variable": lambda: contextvars.ContextVar("a", default=1),
    "thread": lambda: threading.Thread(target=print),
    "ssl context": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    "file in memory that is closed": lambda: _closed(io.BytesIO(b"abc")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_value_is_refused_with_its_path(name: str) -> None:
    value = REFUSED[name]()
    with pytest.raises(FingerprintError, match="ignore=") as caught:
        fingerprint({"deep": [0, Plain(part=value)]}, name="config")
    assert caught.value.path.startswith("config['deep'][1].part")
    assert caught.value.type_name


def test_an_iterator_is_not_consumed() -> None:
    numbers = iter([1, 2, 3])
    lines = (line for line in "ab")
    for value in (numbers, lines):
        with pytest.raises(FingerprintError):
            fingerprint(value)
    assert list(numbers) == [1, 2, 3]
    assert list(lines) == ["a", "b"]


def test_open_files_and_sockets_are_refused(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "data.txt"
    file.write_text("abc")
    with file.open() as text, file.open("rb") as raw, socket.socket() as connection:
        for value in (text, raw):
            with pytest.raises(FingerprintError, match="open file"):
                fingerprint(value)
        with pytest.raises(FingerprintError, match="socket"):
            fingerprint(connection)
        assert text.read() == "abc"
        assert raw.read() == b"abc"


def test_an_object_that_pickles_by_identity_is_not_hashed_by_it() -> None:
    class Handle:
        def __reduce__(self) -> tuple[Any, ...]:
            return Handle, ()

        def __repr__(self) -> str:
            return f"<Handle at {id(self):#x}>"

    assert fingerprint(Handle()) == fingerprint(Handle())


class Connection:
    def __init__(self, url: str) -> None:
        self.url = url
        self.lock = threading.Lock()


class Versioned:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.noise = object()

    def __expops_fingerprint__(self) -> object:
        return {"value": self.value}


class VersionedToo(Versioned):
    pass


def test_a_class_can_say_what_stands_for_it() -> None:
    assert fingerprint(Versioned(1)) == fingerprint(Versioned(1))
    assert fingerprint(Versioned(1)) != fingerprint(Versioned(2))
    assert fingerprint(Versioned(1)) != fingerprint(VersionedToo(1))
    assert fingerprint(Versioned(1)) != fingerprint({"value": 1})


def test_a_registered_class_and_its_subclasses() -> None:
    class Sub(Connection):
        pass

    with pytest.raises(FingerprintError) as caught:
        fingerprint(Connection("a"))
    assert caught.value.path == "value.lock"
    register_fingerprint(Connection, lambda connection: connection.url)
    assert fingerprint(Connection("a")) == fingerprint(Connection("a"))
    assert fingerprint(Connection("a")) != fingerprint(Connection("b"))
    assert fingerprint(Connection("a")) != fingerprint(Sub("a"))
    assert fingerprint(Connection("a")) != fingerprint("a")


def test_nesting_too_deep_for_the_stack_is_refused_not_fatal() -> None:
    value: list[Any] = []
    for _ in range(1_000_000):
        value = [value]
    with pytest.raises(FingerprintError, match="deep"):
        fingerprint(value)
    assert fingerprint([1]) == fingerprint([1])
