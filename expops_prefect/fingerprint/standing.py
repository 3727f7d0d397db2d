"""Values that come back from a store with another fingerprint: they stand for what was stored.

Some libraries lose a part of their objects when they are pickled. What was computed of the value itself would be
computed once more of the one that was loaded. So the loaded one counts as the other did, for as long as nothing of
it has changed.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.fingerprint.canonical import ATOMS, ENCODERS, Refusal, Walk
from expops_prefect.fingerprint.foreign import is_for_the_flow
from expops_prefect.fingerprint.registry import resolve
from expops_prefect.fingerprint.sharing import SharedWalk

_MOST: Final = 1000
_MOST_HELD: Final = 64
"""Of those that no weak reference can be made to; they are kept alive."""


@dataclass(frozen=True, slots=True)
class Forms:
    """The form of a value as it enters that of another, and its own, which says what in it is one object."""

    inner: bytes
    whole: bytes

    def dump(self) -> str:
        """As text."""
        return f"{self.inner.hex()}.{self.whole.hex()}"

    @classmethod
    def load(cls, text: str) -> Forms:
        """Read that text back.

        Raises:
            ValueError: it is damaged.
        """
        inner, _, whole = text.partition(".")
        return cls(bytes.fromhex(inner), bytes.fromhex(whole))


@dataclass(frozen=True, slots=True)
class _Standing:
    value: Callable[[], Any]
    loaded: Forms
    stored: Forms


class _Table:
    """The values of this process that stand for others, by identity.

    Attributes:
        known: the values.
        held: those of them that no weak reference can be made to.
        unstable: values that count as another one each time that they are loaded.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.known: OrderedDict[int, _Standing] = OrderedDict()
        self.held: OrderedDict[int, object] = OrderedDict()
        self.unstable: dict[int, weakref.ref[Any]] = {}


_table: Final = of_process(_Table)
"""Held here, because it is looked into for each object that is walked."""


def forms_of(value: object, roots: tuple[str, ...] = (), classes: set[type] | None = None) -> Forms | None:
    """The forms of a value; ``None`` if it cannot be fingerprinted."""
    walk = Walk(resolve, classes=classes, roots=roots)
    try:
        inner = walk.encode(value)
        return Forms(inner, SharedWalk(walk).encode(value) if walk.shared else inner)
    except Refusal:
        return None
    except BaseException as error:  # the edge to other people's classes
        if is_for_the_flow(error):
            raise
        return None


def remember(value: object, loaded: Forms, stored: Forms) -> None:
    """A value was loaded that stands for the one that was stored.

    Args:
        value: as it was loaded.
        loaded: its forms.
        stored: those of the other one.
    """
    key = id(value)
    try:
        reference: Callable[[], Any] = weakref.ref(value)
    except TypeError:
        reference = lambda: value  # noqa: E731
    with _table.lock:
        _table.known[key] = _Standing(reference, loaded, stored)
        _table.known.move_to_end(key)
        if not isinstance(reference, weakref.ref):
            _table.held[key] = value
            if len(_table.held) > _MOST_HELD:
                _table.known.pop(_table.held.popitem(last=False)[0], None)
        if len(_table.known) > _MOST:
            _table.held.pop(_table.known.popitem(last=False)[0], None)


def mark_unstable(value: object) -> None:
    """A value counts as another one each time that it is loaded."""
    key = id(value)
    with suppress(TypeError):  # nothing would say when it is gone
        _table.unstable[key] = weakref.ref(value, lambda _: _forget(key))


def _forget(key: int) -> None:
    _table.unstable.pop(key, None)


def is_unstable(value: object) -> bool:
    """Whether that was said of it."""
    found = _table.unstable.get(id(value))
    return found is not None and found() is value


def any_known() -> bool:
    """Whether some value of this process stands for another one."""
    return bool(_table.known)


def _of(value: object) -> _Standing | None:
    found = _table.known.get(id(value))
    return found if found is not None and found.value() is value else None


def whole_form(value: object, form: bytes) -> bytes:
    """The form of a whole value, or of the one that it stands for."""
    found = _of(value)
    return found.stored.whole if found is not None and form == found.loaded.whole else form


class StandingWalk(Walk):
    """A walk in which values that stand for others have their forms."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """The form of any value."""
        kind = type(value)
        form = (ENCODERS.get(kind) or self.resolver(kind))(self, value)
        found = _of(value)
        return found.stored.inner if found is not None and form == found.loaded.inner else form

    def sequence(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        """The form of items in their order, each through :meth:`encode`."""
        kinds = set(map(type, items)) if kinds is None else kinds
        if self.notes is not None or kinds <= ATOMS or all(_of(item) is None for item in items):
            return super().sequence(items, kinds=kinds, step=step)
        return self._noted([], items, step)
