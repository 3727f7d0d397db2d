"""Mutable parts that are one object: a task that changes one of them in place changes the other.

A walk notes which mutable parts it meets more than once. Only of a value that has some another form is
made, in a second walk that names each of them by its number. All others keep the form that they have.
"""

from __future__ import annotations

import functools
import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import MappingProxyType, MethodType
from typing import Any, Final

from expops_prefect.fingerprint.canonical import ATOMS, ENCODERS, Refusal, Walk
from expops_prefect.fingerprint.encoding_primitives import named, size
from expops_prefect.fingerprint.ownership import Owner, owner_of_module

_CONTAINERS: Final = (list, dict, set, bytearray, deque)
_HOLDERS: Final = frozenset({tuple, frozenset, functools.partial, MethodType, MappingProxyType})
_ARRAYS: Final = frozenset({"numpy.ndarray", "torch.Tensor", "pandas.core.generic.NDFrame"})


class SharedWalk(Walk):
    """A walk in which parts that are one object are named by numbers, in the order in which they are met.

    Args:
        first: the walk that has met them.
    """

    __slots__ = ("_numbers", "_wanted")

    def __init__(self, first: Walk) -> None:
        super().__init__(first.resolver, on_callable=first.on_callable, roots=first.roots)
        self._wanted = first.shared
        self._numbers: dict[int, int] = {}

    def encode(self, value: object) -> bytes:
        """The form of a value, or its number."""
        # Few calls deep: what is nested is walked by recursion.
        kind, key = type(value), id(value)
        encoder = ENCODERS.get(kind) or self.resolver(kind)
        if self.seen is None or key not in self._wanted:
            return encoder(self, value)
        number = self._numbers.get(key)
        if number is not None:
            return named("shared", size(number))
        self._numbers[key] = len(self._numbers)
        return named("shared", encoder(self, value))

    def meet(self, value: object) -> None:
        """What is met more than once is known by now."""

    def meet_again(self, value: object) -> None:
        """Likewise."""

    def sequence(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        """The form of items in their order, each through :meth:`encode`."""
        kinds = set(map(type, items)) if kinds is None else kinds
        if kinds <= ATOMS:
            return super().sequence(items, kinds=kinds, step=step)
        forms: list[bytes] = []
        for item in items:
            forms.append(self.encode(item))  # noqa: PERF401 - a comprehension is one more call deep
        return b"m" + size(len(items)) + b"".join(forms)


class _Found(Exception):  # noqa: N818 - it says that something was found
    """A mutable part."""


class _Search(Walk):
    """A walk that ends at the first mutable part."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        kind: Any = type(value)
        if _is_mutable_part(kind):
            raise _Found
        return super().encode(value)

    def meet_again(self, value: object) -> None:
        pass

    def sequence(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        kinds = set(map(type, items)) if kinds is None else kinds
        if any(map(_is_mutable_part, kinds)):
            raise _Found
        return super().sequence(items, kinds=kinds, step=step)


def holds_mutable(walk: Walk, value: object) -> bool:
    """Whether a part that cannot be changed itself holds others that can be.

    What libraries make is left out: they share what cannot be told, such as time zones.
    """
    cls = type(value)
    if cls not in _HOLDERS and owner_of_module(cls.__module__) is not Owner.PROJECT:
        return False
    try:
        encoder = ENCODERS.get(cls) or walk.resolver(cls)
        encoder(_Search(walk.resolver, on_callable=_nothing_of), value)
    except _Found:
        return True
    except Refusal:  # of a part that only a lenient walk takes
        return False
    return False


def _nothing_of(_callable: Any) -> bytes:
    return b"n"


@lru_cache(maxsize=4096)
def _is_mutable_part(cls: type) -> bool:
    return is_mutable(cls) or any(f"{base.__module__}.{base.__name__}" in _ARRAYS for base in cls.__mro__)


class Arguments:
    """The mutable parts of a call's arguments: whether two arguments hold the same.

    Attributes:
        together: two arguments hold one mutable part.
        same: the parameters that were given one array or frame, beside the parameter that was given it first.
    """

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}
        self._arrays: dict[int, str] = {}
        self.together = False
        self.same: list[tuple[str, str]] = []

    def add(self, name: str, value: object, walk: Walk) -> None:
        """Take in one more argument.

        Args:
            name: its parameter.
            value: the argument.
            walk: the walk over it.
        """
        kind: Any = type(value)
        if not is_mutable(kind) and _is_mutable_part(kind):
            first = self._arrays.setdefault(id(value), name)
            if first != name:
                self.same.append((first, name))
        seen = walk.seen or {}
        self.together = self.together or not self._seen.keys().isdisjoint(seen)
        # Kept, so that their ids stay taken.
        self._seen.update(seen)


@lru_cache(maxsize=4096)
def is_mutable(cls: type) -> bool:
    """Whether objects of a class may be changed in place, so that it matters whether two are one.

    Of installed libraries only containers and random generators: others share what they keep for
    themselves, such as registries and settings.
    """
    if issubclass(cls, _CONTAINERS):
        return True
    if cls.__module__.startswith("numpy.random") or issubclass(cls, random.Random):
        return True
    if issubclass(cls, BaseException) or owner_of_module(cls.__module__) is not Owner.PROJECT:
        return False
    if getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        return False
    return cls.__hash__ in (None, object.__hash__)  # others are hashed by what they hold
