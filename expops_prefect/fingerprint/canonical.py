"""The canonical form of a value: type-tagged, length-prefixed, self-delimiting bytes.

Encoders return the form of one value. A form of more than 64 bytes is *sealed*: replaced by its
BLAKE3 digest. So the form of a value is small and does not depend on its surroundings, and a value
that occurs again is not walked again. In a cycle, a part that is still open is encoded as its distance
on the stack of open values (as in Tarjan's algorithm, so only for members of the same cycle). Forms do
not show that two parts are the same mutable object: the walk notes it, and
:mod:`expops_prefect.fingerprint.sharing` computes another form of the whole value.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from blake3 import blake3

from expops_prefect.fingerprint.encoding_primitives import (
    PACKED,
    below_root,
    buffer,
    integer,
    named,
    seal,
    size,
    string,
    text,
)
from expops_prefect.fingerprint.foreign import said

_CHUNK: Final = 4096
_MAX_REWALKS: Final = 20_000
_NO_CYCLE: Final = sys.maxsize
# The reference count of an object in `enter` if only one container and its encoder hold it.
_SOLE_REFERENCES: Final = 6
_TEXTS: Final = {str}

Encoder: TypeAlias = Callable[["Walk", Any], bytes]
Note: TypeAlias = tuple[Callable[[int], str] | str | None, int, bytes, int, Any]
"""A part of a value: its step, or a function that gives the step for the index that follows; its form; where its own
parts begin in the list of notes, in which they precede it; and the part. With the index :data:`GROUP`, the parts are
the items of a sequence, whose forms are unknown."""
GROUP: Final = -2
MOST_PARTS: Final = 64
"""Parts that are noted of a value at most; a value with more parts is noted as a whole."""


class Refusal(Exception):  # noqa: N818 - internal: it becomes a FingerprintError once its path is known
    """A part of a value cannot be fingerprinted; containers add their piece of its path."""

    def __init__(self, reason: str, kind: type) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.trail: list[str] = []

    @property
    def path(self) -> str:
        """The path of the part below the value, for example ``['lock'][2].handle``."""
        return "".join(reversed(self.trail))


ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Exact types whose values contain no other values, so that they cannot be part of a cycle."""


class Walk:
    """One walk over one value.

    Args:
        resolve: returns the encoder of a type.
        lenient: encode a part that cannot be fingerprinted by its type instead of refusing it.
        classes: collects the classes of the objects in the value.
        on_callable: encodes functions, classes and modules; ``None`` for the default.
        notes: collects the parts, see :mod:`expops_prefect.fingerprint.value_summary`.
        roots: the project's folder, see :func:`~expops_prefect.fingerprint.encoding_primitives.roots_of`.

    Attributes:
        seen: the mutable parts so far that may occur again, by id; ``None`` if sharing is ignored.
        shared: the ids of the parts that occurred again.
        rooted: whether the value contains a path below the root.
    """

    __slots__ = (
        "_left_open",
        "_low",
        "_memo",
        "_outer",
        "_place",
        "_rewalks",
        "_stack",
        "classes",
        "lenient",
        "notes",
        "on_callable",
        "resolver",
        "rooted",
        "roots",
        "seen",
        "shared",
    )

    def __init__(
        self,
        resolve: Callable[[type], Encoder],
        *,
        lenient: bool = False,
        classes: set[type] | None = None,
        on_callable: Callable[[Any], bytes] | None = None,
        notes: list[Note] | None = None,
        roots: tuple[str, ...] = (),
    ) -> None:
        self.resolver = resolve
        self.roots = roots
        self.rooted = False
        self.lenient = lenient
        self.classes = classes
        self.on_callable = on_callable
        self.notes = notes
        # Not for values that code refers to: they are looked up again for each call.
        self.seen: dict[int, object] | None = None if lenient else {}
        self.shared: set[int] = set()
        self._stack: list[object] = []
        self._place: dict[int, int] = {}
        self._outer: list[int] = []
        # Stored with its object, so that the id is not reused while the entry exists.
        self._memo: dict[int, tuple[object, bytes]] = {}
        self._low = _NO_CYCLE
        # Members of a cycle through a set, which are walked again wherever they occur again.
        self._left_open: set[int] = set()
        self._rewalks = 0

    def encode(self, value: object) -> bytes:
        """The form of any value."""
        kind = type(value)
        encoder = ENCODERS.get(kind) or self.resolver(kind)
        return encoder(self, value)

    def at(self, step: str, value: object) -> bytes:
        """The form of a part; ``step`` is its piece of the path, for example ``.name``."""
        notes = self.notes
        begin = 0 if notes is None else len(notes)
        try:
            form = self.encode(value)
        except Refusal as refusal:
            refusal.trail.append(step)
            raise
        if notes is not None:
            _note(notes, (step, 0, form, begin, value))
        return form

    def path(self, kind: str, value: str) -> bytes | None:
        """The form of a path below the project's root, relative to it; ``None`` for any other string."""
        if not value.startswith(self.roots):
            return None
        below = below_root(value, self.roots)
        if below is None:
            return None
        self.rooted = True
        return named("below root", text(kind), string(below))

    def _holds_path(self, items: Sequence[str]) -> bool:
        # Searching the joined text is fast and enough for nearly all values.
        joined = "".join(items)
        return any(root in joined for root in self.roots) and any(
            below_root(item, self.roots) is not None for item in items
        )

    def refuse(self, value: object, reason: str, cause: BaseException | None = None) -> bytes:
        """Raise :class:`Refusal`; in a lenient walk, return the form of the part's type instead."""
        if not self.lenient:
            raise Refusal(reason, type(value)) from cause
        from expops_prefect.fingerprint.identity import class_name

        if self.on_callable is None or not callable(value):
            return named("opaque", text(class_name(type(value))))
        from expops_prefect.fingerprint.third_party import hidden_functions

        hidden = sorted(self.encode(function) for function in hidden_functions(value))
        return named("opaque", text(class_name(type(value))), *hidden)

    @property
    def mark(self) -> tuple[int, int, int]:
        """The position of the walk, for :meth:`failed`."""
        return len(self._stack), len(self._outer), self._low

    def failed(self, value: object, mark: tuple[int, int, int], error: BaseException) -> bytes:
        """Rewind to before a part whose own code raised an exception, and refuse the part."""
        stack, outer, self._low = mark
        del self._outer[outer:]
        for member in self._stack[stack:]:
            self._place.pop(id(member), None)
        del self._stack[stack:]
        return self.refuse(value, f"it cannot be read ({said(error)})", error)

    def meet(self, value: object) -> None:
        """Note a mutable part with several references: it may be the same object as an earlier one."""
        seen = self.seen
        if seen is not None:
            key = id(value)
            if key not in seen:
                seen[key] = value
            elif key not in self._place:  # else it contains itself, which its form shows
                self.shared.add(key)

    def meet_again(self, value: object) -> None:
        """Note an immutable part, such as a tuple, that occurs again: its mutable parts are then shared."""
        key = id(value)
        if key not in self.shared:
            from expops_prefect.fingerprint.sharing import holds_mutable

            if holds_mutable(self, value):
                self.shared.add(key)
            elif self.seen is not None:
                self.seen[key] = value

    def enter(self, value: object) -> bytes | None:
        """Begin a value that may contain others; return its form if it is known or still being walked."""
        key = id(value)
        place = self._place.get(key)
        if place is not None:
            self._low = min(self._low, place)
            return b"^" + size(len(self._stack) - place)
        known = self._memo.get(key)
        if known is not None:
            if self.seen is not None and key not in self.seen:
                self.meet_again(value)
            return known[1]
        if key in self._left_open:
            self._rewalks += 1
            if self._rewalks > _MAX_REWALKS:
                raise Refusal("its parts refer to one another through sets in too many ways", type(value))
        self._place[key] = len(self._stack)
        self._stack.append(value)
        self._outer.append(self._low)
        self._low = _NO_CYCLE
        return None

    def leave(self, value: object, form: bytes) -> bytes:
        """End what :meth:`enter` began and seal its form."""
        key = id(value)
        place = self._place[key]
        low, outer = self._low, self._outer.pop()
        form = seal(form)
        if low < place:
            # Part of a cycle that began further out: it stays open until the cycle ends.
            self._low = min(outer, low)
            return form
        self._low = outer
        members = self._stack[place:]
        del self._stack[place:]
        for member in members:
            del self._place[id(member)]
        for index, member in enumerate(members[1:], 1):
            self._memo[id(member)] = member, seal(b"@" + size(index) + form)
        # An object without other references cannot occur again. The first of a cycle is always kept:
        # walked again, it would find the others known and get another form.
        if len(members) > 1 or sys.getrefcount(value) > _SOLE_REFERENCES:
            self._memo[key] = value, form
        return form

    def alone(self, value: object) -> bytes:
        """The form of an element without an order among its siblings, as in a set."""
        place = len(self._stack)
        form = self.encode(value)
        for member in self._stack[place:]:
            del self._place[id(member)]
            self._left_open.add(id(member))
        del self._stack[place:]
        return form

    def sequence(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        """The form of items in their order.

        Args:
            kinds: the exact types of the items, if the caller knows them.
            step: returns the piece of the path for an index; by default ``[index]``.
        """
        kinds = set(map(type, items)) if kinds is None else kinds
        if self.notes is not None:
            if len(items) <= MOST_PARTS and not kinds <= ATOMS:
                return self._noted(self.notes, items, step)
            if 0 < len(items) <= MOST_PARTS:
                self.notes.append((step, GROUP, b"", 0, items))
            return self.unnoted(items, kinds=kinds, step=step)
        if len(kinds) == 1:
            tag, pack = PACKED.get(next(iter(kinds)), (b"", None))
            if self.roots and kinds == _TEXTS and self._holds_path(items):
                pack = None
            if pack is not None and (packed := pack(items)) is not None:
                return tag + packed
        forms: list[bytes] = []
        done = 0
        hasher = None
        encoders, resolve = ENCODERS, self.resolver
        try:
            for item in items:
                kind = type(item)
                forms.append((encoders.get(kind) or resolve(kind))(self, item))
                if len(forms) == _CHUNK:
                    hasher = hasher or blake3()
                    hasher.update(b"".join(forms))
                    forms.clear()
                    done += _CHUNK
        except Refusal as refusal:
            index = done + len(forms)
            refusal.trail.append(step(index) if step else f"[{index}]")
            raise
        head = b"m" + size(len(items))
        if hasher is None:
            return head + b"".join(forms)
        hasher.update(b"".join(forms))
        return head + b"#" + hasher.digest()

    def _noted(self, notes: list[Note], items: Sequence[Any], step: Callable[[int], str] | None) -> bytes:
        """The form of a few items, some of which contain others; each is noted."""
        forms: list[bytes] = []
        try:
            for index, item in enumerate(items):
                begin = len(notes)
                form = self.encode(item)
                forms.append(form)
                _note(notes, (step, index, form, begin, item))
        except Refusal as refusal:
            refusal.trail.append(step(len(forms)) if step else f"[{len(forms)}]")
            raise
        return b"m" + size(len(items)) + b"".join(forms)

    def unnoted(
        self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None
    ) -> bytes:
        """Like :meth:`sequence`, without notes: for many items, or for names."""
        notes, self.notes = self.notes, None
        try:
            return self.sequence(items, kinds=kinds, step=step)
        finally:
            self.notes = notes

    def unordered(self, items: Iterable[Any]) -> bytes:
        """The form of unordered elements: plain ones sorted by value, others by their form."""
        elements = list(items)
        kinds = set(map(type, elements))
        notes, self.notes = self.notes, None  # elements of a set have no names
        seen, self.seen = self.seen, None  # nor an order in which to number shared ones
        try:
            apart = self.roots and kinds == _TEXTS and self._holds_path(elements)
            if len(kinds) == 1 and next(iter(kinds)) in (int, str, bytes) and not apart:
                return self.sequence(sorted(elements), kinds=kinds)
            forms = sorted(map(self.alone, elements))
        except Refusal as refusal:
            refusal.trail.append("{…}")
            raise
        finally:
            self.notes, self.seen = notes, seen
        return b"m" + size(len(forms)) + b"".join(forms)

    def pairs(self, keys: Sequence[Any], values: Sequence[Any], kinds: set[type] | None = None) -> bytes:
        """The form of a mapping's items in their order."""
        return self.unnoted(keys, step=lambda i: f".keys()[{i}]") + self.sequence(
            values, kinds=kinds, step=lambda i: f"[{_shown(keys[i])}]"
        )


def _note(notes: list[Note], note: Note) -> None:
    begin = note[3]
    if len(notes) - begin > MOST_PARTS:
        del notes[begin:]
    notes.append(note)


def _shown(key: object) -> str:
    return repr(key) if type(key) in ATOMS and len(repr(key)) <= 80 else f"<{type(key).__name__}>"


def _none(_walk: Walk, _value: None) -> bytes:
    return b"n"


def _bool(_walk: Walk, value: bool) -> bytes:
    return b"T" if value else b"F"


def _int(_walk: Walk, value: int) -> bytes:
    return integer(value)


def _float(_walk: Walk, value: float) -> bytes:
    return b"f" + struct.pack("<d", value)


def _complex(_walk: Walk, value: complex) -> bytes:
    return b"c" + struct.pack("<dd", value.real, value.imag)


def _str(walk: Walk, value: str) -> bytes:
    return (walk.path("str", value) if walk.roots else None) or string(value)


def _bytes(_walk: Walk, value: bytes) -> bytes:
    return buffer(b"b", value)


def _list(walk: Walk, value: list[Any]) -> bytes:
    if sys.getrefcount(value) > SOLE:
        walk.meet(value)
    kinds = set(map(type, value))
    if kinds <= ATOMS:
        return seal(b"l" + walk.sequence(value, kinds=kinds))
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, b"l" + walk.sequence(value, kinds=kinds))


def _tuple(walk: Walk, value: tuple[Any, ...]) -> bytes:
    kinds = set(map(type, value))
    if kinds <= ATOMS:
        return seal(b"t" + walk.sequence(value, kinds=kinds))
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, b"t" + walk.sequence(value, kinds=kinds))


def _dict(walk: Walk, value: dict[Any, Any]) -> bytes:
    if sys.getrefcount(value) > SOLE:
        walk.meet(value)
    keys, values = list(value), list(value.values())
    kinds = set(map(type, values))
    if kinds <= ATOMS and ATOMS.issuperset(map(type, keys)):
        return seal(b"d" + walk.pairs(keys, values, kinds))
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, b"d" + walk.pairs(keys, values, kinds))


def _set(tag: bytes) -> Encoder:
    def encode(walk: Walk, value: set[Any] | frozenset[Any]) -> bytes:
        if tag == b"S" and sys.getrefcount(value) > SOLE:
            walk.meet(value)
        if ATOMS.issuperset(map(type, value)):
            return seal(tag + walk.unordered(value))
        known = walk.enter(value)
        if known is not None:
            return known
        return walk.leave(value, tag + walk.unordered(value))

    return encode


ENCODERS: Final[dict[type, Encoder]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: _bytes,
    list: _list,
    tuple: _tuple,
    dict: _dict,
    set: _set(b"S"),
    frozenset: _set(b"Z"),
}
"""Encoders by exact type. Others are added when a type first occurs, see ``registry``."""


def _references_of_one() -> int:
    """The reference count that an encoder sees of an object in one container; it depends on the Python version."""
    found: list[int] = []

    def look(_walk: Walk, value: Any) -> bytes:
        found.append(sys.getrefcount(value))
        return b""

    Walk(lambda _kind: look).sequence([Walk.__new__(Walk)])
    return found[0]


SOLE: Final = _references_of_one()
"""An object with no more references than this cannot occur again and need not be noted."""
