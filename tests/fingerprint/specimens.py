"""Classes whose objects the tests fingerprint."""

from __future__ import annotations

import enum
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import BaseModel


class Plain:
    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


class OtherPlain(Plain):
    pass


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, left: Any, right: Any) -> None:
        self.left = left
        self.right = right


class SlottedAndMore(Slotted):
    """Slots of the base and a dictionary of its own."""


class WithGetState:
    def __init__(self, value: Any) -> None:
        self.value = value
        self.cache = object()

    def __getstate__(self) -> tuple[Any, ...]:
        return (self.value,)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        (self.value,) = state
        self.cache = object()


class WithReduce:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return WithReduce, (self.value,)


@dataclass
class Point:
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class FrozenPoint:
    x: Any
    y: Any


@dataclass(frozen=True, slots=True)
class FrozenSize:
    width: Any
    height: Any


@dataclass
class Tree:
    name: str
    parent: Tree | None = None
    children: list[Tree] = field(default_factory=list)

    def add(self, name: str) -> Tree:
        child = Tree(name, self)
        self.children.append(child)
        return child


class Pair(NamedTuple):
    a: Any
    b: Any


class OtherPair(NamedTuple):
    a: Any
    b: Any


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Level(enum.IntEnum):
    LOW = 1


class Model(BaseModel):
    n: int = 1
    tags: set[str] = set()
    inner: Model | None = None


class MyInt(int):
    pass


class MyStr(str):
    __slots__ = ()


class MyList(list):
    pass


class MyDict(dict):
    pass


class MySet(set):
    pass


class MyTuple(tuple):
    __slots__ = ()


class MyOrdered(OrderedDict):
    pass


class Scale:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def apply(self, value: float) -> float:
        return value * self.factor

    @classmethod
    def unit(cls) -> Scale:
        return cls(1.0)

    def __call__(self, value: float) -> float:
        return self.apply(value)


def double(value: float) -> float:
    return value * 2


def triple(value: float) -> float:
    return value * 3


def adder(amount: Any) -> Any:
    def add(value: Any) -> Any:
        return value + amount

    return add
