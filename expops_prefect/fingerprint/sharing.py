"""Handles mutable parts that are the same object: a task that changes one of them in place changes the other.

A walk notes which mutable parts occur more than once. A value with such parts gets another form, from a
second walk that numbers them. All other values keep their form.
"""

from __future__ import annotations

import functools
import random
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import MappingProxyType, MethodType, SimpleNamespace
from typing import Any, Final

from expops_prefect.fingerprint.canonical import ATOMS, ENCODERS, Refusal, Walk
from expops_prefect.fingerprint.encoding_primitives import named, size
from expops_prefect.fingerprint.ownership import Owner, owner_of_module

_CONTAINERS: Final = (list, dict, set, bytearray, deque, array, SimpleNamespace)
_OTHERS: Final = frozenset({("xml.etree.ElementTree", "Element"), ("_ctypes", "_CData")})
_HOLDERS: Final = frozenset({tuple, frozenset, functools.partial, MethodType, MappingProxyType})
_ARRAYS: Final = frozenset({"numpy.ndarray", "torch.Tensor", "pandas.core.generic.NDFrame"})


class SharedWalk(Walk):
    """A walk in which parts that are the same object are numbered in the order in which they occur.

    Args:
        first: the walk that found them.
    """

    __slots__ = ("_numbers", "_wanted")

    def __init__(self, first: Walk) -> None:
        super().__init__(first.resolver, on_callable=first.on_callable, roots=first.roots)
        self._wanted = first.shared
        self._numbers: dict[int, int] = {}

    def encode(self, value: object) -> bytes:
        """The form of a value, or its number."""
        # Keep the call depth small, because nested values are walked recursively.
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
        """Do nothing: the shared parts are already known."""

    def meet_again(self, value: object) -> None:
        """Do nothing, as in :meth:`meet`."""

    def sequence(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        """The form of items in their order, each through :meth:`encode`."""
        kinds = set(map(type, items)) if kinds is None else kinds
        if kinds <= ATOMS:
            return super().sequence(items, kinds=kinds, step=step)
        forms: list[bytes] = []
        for item in items:
            forms.append(self.encode(item))  # noqa: PERF401 - a comprehension adds a call to the depth
        return b"m" + size(len(items)) + b"".join(forms)


class _Found(Exception):  # noqa: N818 - not an error
    """A mutable part was found."""


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
    """Whether an immutable part contains mutable ones.

    Objects of libraries are left out: they share parts that cannot be told apart, such as time zones.
    """
    cls = type(value)
    if cls not in _HOLDERS and owner_of_module(cls.__module__) is not Owner.PROJECT:
        return False
    try:
        encoder = ENCODERS.get(cls) or walk.resolver(cls)
        encoder(_Search(walk.resolver, on_callable=_nothing_of), value)
    except _Found:
        return True
    except Refusal:  # a part that only a lenient walk accepts
        return False
    return False


def _nothing_of(_callable: Any) -> bytes:
    return b"n"


@lru_cache(maxsize=4096)
def _is_mutable_part(cls: type) -> bool:
    return is_mutable(cls) or any(f"{base.__module__}.{base.__name__}" in _ARRAYS for base in cls.__mro__)


class Arguments:
    """Finds mutable parts that two arguments of a call share.

    Attributes:
        together: whether two arguments share a mutable part.
        same: pairs of parameters that received the same array or frame; the first one to receive it comes first.
    """

    def __init__(self) -> None:
        self._seen: dict[int, object] = {}
        self._arrays: dict[int, str] = {}
        self.together = False
        self.same: list[tuple[str, str]] = []

    def add(self, name: str, value: object, walk: Walk) -> None:
        """Add an argument.

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
        # Kept alive, so that their ids are not reused.
        self._seen.update(seen)


@lru_cache(maxsize=4096)
def is_mutable(cls: type) -> bool:
    """Whether objects of a class may be changed in place, so that it matters whether two are the same.

    Of installed libraries' classes, only containers and random generators: other objects share internal
    state, such as registries and settings.
    """
    if issubclass(cls, _CONTAINERS):
        return True
    if cls.__module__.startswith("numpy.random") or issubclass(cls, random.Random):
        return True
    if any((base.__module__, base.__name__) in _OTHERS for base in cls.__mro__):
        return True
    if issubclass(cls, BaseException) or owner_of_module(cls.__module__) is not Owner.PROJECT:
        return False
    if getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        return False
    return cls.__hash__ in (None, object.__hash__)  # others are hashed by what they hold
