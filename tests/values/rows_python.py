"""Rows of Python's own types and of classes that derive from them."""

from __future__ import annotations

import array
import collections
import copyreg
import ctypes
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import pathlib
import pickle
import random
import types
import unittest.mock as mock
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import attrs
import pydantic


class Money(decimal.Decimal):
    currency = "EUR"


class Slotted(decimal.Decimal):
    __slots__ = ("currency",)


class Ratio(fractions.Fraction):
    pass


class Place(type(pathlib.Path())):  # type: ignore[misc]
    pass


class Stamp(dt.datetime):
    pass


class Day(dt.date):
    pass


class Clock(dt.time):
    pass


class Span(dt.timedelta):
    pass


class Zone(dt.tzinfo):
    def __init__(self, hours: int = 0) -> None:
        self.hours = hours

    def utcoffset(self, _when: Any) -> dt.timedelta:
        return dt.timedelta(hours=self.hours)

    def dst(self, _when: Any) -> None:
        return None

    def tzname(self, _when: Any) -> None:
        return None


class Number(int):
    pass


class Real(float):
    pass


class Text(str):
    pass


class Row(tuple):
    pass


class Items(list):
    pass


class Table(dict):
    pass


class Bag(set):
    pass


class Frozen(frozenset):
    pass


class SlotBag(set):
    __slots__ = ("tag",)


class Data(bytes):
    pass


class Buffer(bytearray):
    pass


class Numbers(array.array):
    pass


class Tally(collections.Counter):
    pass


class Default(collections.defaultdict):
    pass


class Ordered(collections.OrderedDict):
    pass


class Queue(collections.deque):
    pass


class Id(uuid.UUID):
    pass


class Forgetful:
    """Its reduction says less than a task can ask it for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.value,)


class Heir(Forgetful):
    pass


class Stateful:
    def __init__(self, value: Any, cache: Any = None) -> None:
        self.value = value
        self.cache = cache

    def __getstate__(self) -> dict[str, Any]:
        return {"value": self.value}


class Dice(random.Random):
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int


class Pixel(Point):
    """With a dictionary, of which the fields' ``__getstate__`` does not know."""

    def colour(self, name: str) -> Pixel:
        object.__setattr__(self, "tag", name)
        return self


@attrs.define
class Size:
    x: int

    @functools.cached_property
    def double(self) -> int:
        return self.x * 2


class Box(Size):
    pass


class Registered:
    def __init__(self, value: Any) -> None:
        self.value = value


copyreg.pickle(Registered, lambda one: (Registered, (one.value,)))


class Model(pydantic.BaseModel):
    x: int

    @functools.cached_property
    def double(self) -> int:
        return self.x * 2


class Colour(enum.Enum):
    RED = 1


class Cell(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int)]


def member(tag: str) -> Any:
    made: Any = getattr(enum.Enum("Colour", {"RED": 1}, module=__name__), "RED")  # noqa: B009 - unknown to mypy
    made.tag = tag
    return made


def missed(name: str, of: Any) -> list[Exception]:
    """What Python raises, and the store loses a part of."""
    return [AttributeError("no", name=name, obj=of), NameError("no", name=name)]


class Lazy:
    def __init__(self, value: int) -> None:
        self.value = value

    @functools.cached_property
    def double(self) -> int:
        return self.value * 2


INNER: dict[str, Any] = {}
KEPT: list[Any] = [INNER]
KEPT_TOO = (INNER, KEPT)
"""Holds it once more, as variables do."""


class Plain:
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


def tagged(make: Callable[[], Any], name: str = "tag") -> Callable[[], list[Any]]:
    """The same value with and without an attribute, and with another one."""

    def values() -> list[Any]:
        one, two, three = make(), make(), make()
        setattr(one, name, "a")
        setattr(two, name, "b")
        return [one, two, three]

    return values


def tagged_id(tag: str) -> Id:
    made = Id(int=1)
    object.__setattr__(made, "tag", tag)
    return made


def error(**attributes: Any) -> ValueError:
    made = ValueError("wrong")
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def noted(*notes: str) -> ValueError:
    made = ValueError("wrong")
    if notes:
        made.__notes__ = list(notes)  # type: ignore[attr-defined]
    return made


def raised() -> ValueError:
    try:
        raise ValueError("wrong")
    except ValueError as caught:
        return caught


def at(stream: Any, place: int) -> Any:
    stream.seek(place)
    return stream


def used(value: Any, *use: Callable[[Any], Any]) -> Any:
    for ask in use:
        ask(value)
    return value


def shared_twice() -> list[Any]:
    inner: list[Any] = [1]
    other: list[Any] = [1]
    thing, other_thing = Plain(a=[1]), Plain(a=[1])
    table: dict[str, int] = {"a": 1}
    return [
        [[1], [1], [1]],
        [inner, inner, [1]],
        [inner, [1], inner],
        [[1], inner, inner],
        [inner, inner, inner],
        [inner, other, inner, other],
        [inner, other, other, inner],
        [thing, thing],
        [thing, other_thing],
        [(inner, 1), (inner, 1)],
        [([1], 1), ([1], 1)],
        {"a": table, "b": table},
        {"a": {"a": 1}, "b": {"a": 1}},
        Plain(a=inner, b=inner),
        Plain(a=[1], b=[1]),
        [bytearray(b"a"), bytearray(b"a")],
        [bytearray(b"a")] * 2,
        [{1}, {1}],
        [{1}] * 2,
        [collections.deque([1])] * 2,
        [collections.deque([1]), collections.deque([1])],
        [[[]], [[]]],
        [[[]]] * 2,
        [([1], "in a tuple")] * 2,
        [([1], "in a tuple"), ([1], "in a tuple")],
        [(([1],),)] * 2,
        [(([1],),), (([1],),)],
        [array.array("i", [1])] * 2,
        [array.array("i", [1]), array.array("i", [1])],
        [types.SimpleNamespace(a=1)] * 2,
        [types.SimpleNamespace(a=1), types.SimpleNamespace(a=1)],
        [ET.Element("a")] * 2,
        [ET.Element("a"), ET.Element("a")],
        [Cell(1)] * 2,
        [Cell(1), Cell(1)],
    ]


def mocks() -> list[Any]:
    return [mock.Mock(return_value=1), mock.Mock(return_value=2)]


DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "subclass of Decimal": tagged(lambda: Money("1.5"), "currency"),
    "subclass of Decimal with slots": tagged(lambda: Slotted("1.5"), "currency"),
    "subclass of Fraction": tagged(lambda: Ratio(1, 2)),
    "subclass of Path": tagged(lambda: Place("a/b")),
    "subclass of datetime": tagged(lambda: Stamp(2024, 1, 2)),
    "subclass of date": tagged(lambda: Day(2024, 1, 2)),
    "subclass of time": tagged(lambda: Clock(1, 2)),
    "subclass of timedelta": tagged(lambda: Span(1)),
    "subclass of tzinfo": lambda: [Zone(1), Zone(2)],
    "subclass of int": tagged(lambda: Number(1)),
    "subclass of float": tagged(lambda: Real(1)),
    "subclass of str": tagged(lambda: Text("a")),
    "subclass of tuple": tagged(lambda: Row((1, 2))),
    "subclass of list": tagged(lambda: Items([1])),
    "subclass of dict": tagged(lambda: Table(a=1)),
    "subclass of set": tagged(lambda: Bag({1})),
    "subclass of set with slots": tagged(lambda: SlotBag({1})),
    "subclass of frozenset": tagged(lambda: Frozen({1})),
    "subclass of bytes": tagged(lambda: Data(b"a")),
    "subclass of bytearray": tagged(lambda: Buffer(b"a")),
    "subclass of array": tagged(lambda: Numbers("i", [1])),
    "subclass of Counter": tagged(lambda: Tally("aab")),
    "subclass of defaultdict": tagged(lambda: Default(list, a=1)),
    "subclass of OrderedDict": tagged(lambda: Ordered(a=1)),
    "subclass of deque": tagged(lambda: Queue([1])),
    "subclass of UUID": lambda: [tagged_id("a"), tagged_id("b")],
    "reduction without the dictionary": tagged(lambda: Forgetful(1)),
    "heir of a reduction without the dictionary": tagged(lambda: Heir(1)),
    "attribute of an OrderedDict": tagged(lambda: collections.OrderedDict(a=1)),
    "attribute of a Counter": tagged(lambda: collections.Counter("aab")),
    "attribute of a generator": tagged(lambda: random.Random(0)),
    "subclass of a generator": tagged(lambda: Dice(0)),
    "heir of a frozen dataclass with slots": lambda: [Pixel(1), Pixel(1).colour("a"), Pixel(1).colour("b")],
    "heir of a class of attrs with slots": tagged(lambda: Box(1)),
    "reduction by copyreg": tagged(lambda: Registered(1)),
    "attribute of a member": lambda: [Colour.RED, member("a"), member("b")],
    "what an AttributeError names": lambda: [missed(name, of) for name, of in (("a", 1), ("b", 1), ("a", 2))],
    "cause of an exception": lambda: [error(), error(__cause__=KeyError(1)), error(__cause__=KeyError(2))],
    "context of an exception": lambda: [error(), error(__context__=KeyError(1)), error(__context__=KeyError(2))],
    "notes of an exception": lambda: [noted(), noted("a"), noted("b")],
    "attributes of an exception": lambda: [error(), error(code=1), error(code=2)],
    "BytesIO": lambda: [io.BytesIO(b"abc"), io.BytesIO(b"abd"), at(io.BytesIO(b"abc"), 1), io.StringIO("abc")],
    "StringIO": lambda: [io.StringIO("abc"), io.StringIO("abd"), at(io.StringIO("abc"), 1)],
    "order of a namespace": lambda: [types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)],
    "shared containers": shared_twice,
    "functools.partial": lambda: [functools.partial(max, 1), functools.partial(max, 2)],
}

ALIKE: dict[str, Callable[[], list[Any]]] = {
    "state that a class says itself": lambda: [Stateful(1, "a"), Stateful(1, "b")],
    "cached property": lambda: [Lazy(2), used(Lazy(2), lambda v: v.double)],
    "cached property of attrs": lambda: [Size(2), used(Size(2), lambda v: v.double)],
    "cached property of pydantic": lambda: [Model(x=2), used(Model(x=2), lambda v: v.double)],
    "StringIO": lambda: [io.StringIO("abc"), used(io.StringIO("abc"), pickle.dumps)],
    "traceback of an exception": lambda: [ValueError("wrong"), raised()],
    "BytesIO": lambda: [io.BytesIO(b"abc"), io.BytesIO(b"abc")],
    "path after use": lambda: [pathlib.Path("a/b"), used(pathlib.Path("a/b"), str, hash, lambda v: v.name)],
    "subclass of Path after use": lambda: [Place("a/b"), used(Place("a/b"), str, hash, lambda v: v.name)],
    "shared texts": lambda: [["long text " * 9] * 2, ["long text " * 9, "long text " + "long text " * 8]],
    "shared tuples": lambda: [[(1, "a" * 80)] * 2, [(1, "a" * 80), (1, "a" * 80)]],
    "shared tuples of tuples": lambda: [[(1, (2, "a" * 9))] * 2, [(1, (2, "a" * 9)), (1, (int("2"), "a" * 9))]],
    "what holds it means nothing": lambda: [[KEPT, KEPT], [[{}], [{}]][:1] * 2],
    "shared dates": lambda: [[dt.datetime(2024, 1, 1)] * 2, [dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1)]],
}

REFUSED: dict[str, Callable[[], Any]] = {
    "mock": mock.Mock,
    "mock that returns something": lambda: mock.Mock(return_value=1),
    "generator": lambda: (part for part in [1]),
}
