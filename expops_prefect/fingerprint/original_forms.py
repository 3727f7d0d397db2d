"""Gives loaded values the fingerprint of the original, if storing them has changed it.

Some libraries lose a part of their objects when they are pickled. Without this, what was computed from the original
would be computed again from the loaded value. So the loaded value has the original's fingerprint, as long as it is not
changed.
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
"""Values without weak references that are kept alive at most."""


@dataclass(frozen=True, slots=True)
class Forms:
    """Two forms of a value: as a part of another value, and as a whole, which shows its shared parts."""

    inner: bytes
    whole: bytes

    def dump(self) -> str:
        """The text form."""
        return f"{self.inner.hex()}.{self.whole.hex()}"

    @classmethod
    def load(cls, text: str) -> Forms:
        """Read the text form.

        Raises:
            ValueError: it is damaged.
        """
        inner, _, whole = text.partition(".")
        return cls(bytes.fromhex(inner), bytes.fromhex(whole))


@dataclass(frozen=True, slots=True)
class _Restored:
    value: Callable[[], Any]
    loaded: Forms
    stored: Forms


class _Table:
    """The loaded values of this process that have another value's fingerprint, by identity.

    Attributes:
        known: the values.
        held: those of them that cannot be weakly referenced.
        unstable: values whose fingerprint differs each time that they are loaded.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.known: OrderedDict[int, _Restored] = OrderedDict()
        self.held: OrderedDict[int, object] = OrderedDict()
        self.unstable: dict[int, weakref.ref[Any]] = {}


_table: Final = of_process(_Table)
"""Kept in a module variable, because it is read for each object of a walk."""


def forms_of(value: object, roots: tuple[str, ...] = (), classes: set[type] | None = None) -> Forms | None:
    """The forms of a value; ``None`` if it cannot be fingerprinted."""
    walk = Walk(resolve, classes=classes, roots=roots)
    try:
        inner = walk.encode(value)
        return Forms(inner, SharedWalk(walk).encode(value) if walk.shared else inner)
    except Refusal:
        return None
    except BaseException as error:  # other packages' classes may raise anything
        if is_for_the_flow(error):
            raise
        return None


def remember(value: object, loaded: Forms, stored: Forms) -> None:
    """Give a loaded value the fingerprint of the one that was stored.

    Args:
        value: the loaded value.
        loaded: its forms.
        stored: the forms of the stored value.
    """
    key = id(value)
    try:
        reference: Callable[[], Any] = weakref.ref(value)
    except TypeError:
        reference = lambda: value  # noqa: E731
    with _table.lock:
        _table.known[key] = _Restored(reference, loaded, stored)
        _table.known.move_to_end(key)
        if not isinstance(reference, weakref.ref):
            _table.held[key] = value
            if len(_table.held) > _MOST_HELD:
                _table.known.pop(_table.held.popitem(last=False)[0], None)
        if len(_table.known) > _MOST:
            _table.held.pop(_table.known.popitem(last=False)[0], None)


def mark_unstable(value: object) -> None:
    """Note that a value's fingerprint differs each time that it is loaded."""
    key = id(value)
    with suppress(TypeError):  # without a weak reference, nothing tells when it is freed
        _table.unstable[key] = weakref.ref(value, lambda _: _forget(key))


def _forget(key: int) -> None:
    _table.unstable.pop(key, None)


def is_unstable(value: object) -> bool:
    """Whether a value was marked as unstable."""
    found = _table.unstable.get(id(value))
    return found is not None and found() is value


def any_known() -> bool:
    """Whether any value of this process has another value's fingerprint."""
    return bool(_table.known)


def _of(value: object) -> _Restored | None:
    found = _table.known.get(id(value))
    return found if found is not None and found.value() is value else None


def whole_form(value: object, form: bytes) -> bytes:
    """The form of a whole value, or of the stored one that it replaces."""
    found = _of(value)
    return found.stored.whole if found is not None and form == found.loaded.whole else form


class OriginalFormsWalk(Walk):
    """A walk in which loaded values have the forms of the stored ones."""

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
