"""The canonical form of a value: type-tagged, length-prefixed, self-delimiting bytes.

Encoders return the form of one value. A form of more than 64 bytes is *sealed*: replaced by its
BLAKE3 digest. So the form of a value is small, does not depend on what surrounds it, and one that
is met again is not walked again. Whether two parts are one object or equal copies makes no
difference, except in cycles, where a part that was met before is named by its distance on the
stack of what is still open (Tarjan's, so only members of the same cycle are named that way).
"""

from __future__ import annotations

import pickle
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from blake3 import blake3

from expops_prefect.fingerprint import buffers

FORMAT: Final = 1
"""Version of the canonical form. It is part of every digest: a change of it invalidates all keys."""

INLINE: Final = 64
_CHUNK: Final = 4096
_MAX_REWALKS: Final = 100_000
_NO_CYCLE: Final = sys.maxsize
_SIZES: Final = tuple(bytes((n,)) for n in range(255))
# How many references an object has in `enter` when only one container and its encoder hold it.
_SOLE_REFERENCES: Final = 6

# What the pickling methods of other people's classes raise for "cannot".
REDUCE_ERRORS: Final = (
    pickle.PickleError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    NotImplementedError,
    ArithmeticError,
    OSError,
)
Encoder: TypeAlias = Callable[["Walk", Any], bytes]


class Refusal(Exception):  # noqa: N818 - internal: it becomes a FingerprintError once its path is known
    """A part of a value that cannot be fingerprinted; containers add their piece of the path."""

    def __init__(self, reason: str, kind: type) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind
        self.trail: list[str] = []

    @property
    def path(self) -> str:
        """Where the part sits below the value, for example ``['lock'][2].handle``."""
        return "".join(reversed(self.trail))


def size(count: int) -> bytes:
    """A length, in one byte up to 254, else in nine."""
    return _SIZES[count] if count < 255 else b"\xff" + count.to_bytes(8, "little")


def seal(form: bytes) -> bytes:
    """The form itself up to 64 bytes, else its digest."""
    return form if len(form) <= INLINE else b"#" + blake3(form).digest()


def text(value: str) -> bytes:
    """A text as part of a form: its length and its UTF-8; lone surrogates allowed."""
    data = value.encode("utf-8", "surrogatepass")
    return size(len(data)) + data


def buffer(tag: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """The form of contiguous bytes; large ones are hashed in place."""
    nbytes = data.nbytes if isinstance(data, memoryview) else len(data)
    if nbytes <= INLINE:
        return tag + size(nbytes) + bytes(data)
    return b"B" + tag + size(nbytes) + buffers.digest(data)


def named(name: str, *parts: bytes) -> bytes:
    """The form of a value of a type without a tag of its own: the type's name and parts that are forms."""
    return seal(b"N" + text(name) + size(len(parts)) + b"".join(parts))


def integer(value: int) -> bytes:
    """The form of an ``int`` of any size."""
    try:
        return b"i" + value.to_bytes(8, "little", signed=True)
    except OverflowError:
        data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return buffer(b"I", data)


def string(value: str) -> bytes:
    """The form of a ``str``."""
    return buffer(b"s", value.encode("utf-8", "surrogatepass"))


def _packed(code: str) -> Callable[[Sequence[Any]], bytes | None]:
    def pack(items: Sequence[Any]) -> bytes | None:
        try:
            numbers = array(code, items)
        except OverflowError:
            return None
        if sys.byteorder == "big":
            numbers.byteswap()
        return size(len(items)) + buffer(b"p", memoryview(numbers).cast("B") if items else b"")

    return pack


_pack_integers = _packed("q")


def _pack_strings(items: Sequence[str]) -> bytes | None:
    # Lengths in characters and the joined text together are unambiguous, and quick for millions.
    lengths = array("q", map(len, items))
    if sys.byteorder == "big":
        lengths.byteswap()
    joined = "".join(items).encode("utf-8", "surrogatepass")
    return size(len(items)) + buffer(b"p", memoryview(lengths).cast("B")) + buffer(b"p", joined)


def _pack_flags(items: Sequence[bool]) -> bytes | None:
    return size(len(items)) + buffer(b"p", bytes(items))


# Sequences of one plain type are packed, which makes long ones an order of magnitude faster.
_PACKED: Final[dict[type, tuple[bytes, Callable[[Sequence[Any]], bytes | None]]]] = {
    int: (b"q", _pack_integers),
    float: (b"e", _packed("d")),
    str: (b"u", _pack_strings),
    bool: (b"o", _pack_flags),
}

ATOMS: Final = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Exact types whose values hold no other values, so that they are in no cycle."""


class Walk:
    """One walk over one value.

    Args:
        resolve: gives the encoder of a type.
        lenient: a part that cannot be fingerprinted counts by its type instead of being refused.
        classes: collects the classes of the objects that are met.
        on_callable: encodes functions, classes and modules; ``None`` for the default.
    """

    __slots__ = ("_low", "_memo", "_outer", "_place", "_resolve", "_rewalks", "_stack", "classes", "lenient", "on_callable")

    def __init__(
        self,
        resolve: Callable[[type], Encoder],
        *,
        lenient: bool = False,
        classes: set[type] | None = None,
        on_callable: Callable[[Any], bytes] | None = None,
    ) -> None:
        self._resolve = resolve
        self.lenient = lenient
        self.classes = classes
        self.on_callable = on_callable
        self._stack: list[object] = []
        self._place: dict[int, int] = {}
        self._outer: list[int] = []
        # Kept with its object, so that the id stays taken for as long as the entry is there.
        self._memo: dict[int, tuple[object, bytes]] = {}
        self._low = _NO_CYCLE
        self._rewalks = 0

    def encode(self, value: object) -> bytes:
        """The form of any value."""
        kind = type(value)
        encoder = ENCODERS.get(kind) or self._resolve(kind)
        return encoder(self, value)

    def at(self, step: str, value: object) -> bytes:
        """The form of a part; ``step`` is its piece of the path, for example ``.name``."""
        try:
            return self.encode(value)
        except Refusal as refusal:
            refusal.trail.append(step)
            raise

    def refuse(self, value: object, reason: str) -> bytes:
        """Raise :class:`Refusal`, or give the form that stands for the part in a lenient walk."""
        if not self.lenient:
            raise Refusal(reason, type(value))
        from expops_prefect.fingerprint.identity import class_name

        return named("opaque", text(class_name(type(value))))

    def enter(self, value: object) -> bytes | None:
        """Begin a value that may hold others. Its form if it is known already, or is being walked."""
        key = id(value)
        place = self._place.get(key)
        if place is not None:
            self._low = min(self._low, place)
            return b"^" + size(len(self._stack) - place)
        known = self._memo.get(key)
        if known is not None:
            return known[1]
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
            # Part of a cycle that began further out: it stays open until that has ended.
            self._low = min(outer, low)
            return form
        self._low = outer
        members = self._stack[place:]
        del self._stack[place:]
        for member in members:
            del self._place[id(member)]
        for index, member in enumerate(members[1:], 1):
            self._memo[id(member)] = member, seal(b"@" + size(index) + form)
        # An object that nothing else refers to cannot be met again.
        if len(form) > INLINE // 2 and sys.getrefcount(value) > _SOLE_REFERENCES:
            self._memo[key] = value, form
        return form

    def alone(self, value: object) -> bytes:
        """The form of an element whose place among its siblings means nothing, as in a set."""
        place = len(self._stack)
        form = self.encode(value)
        for member in self._stack[place:]:
            del self._place[id(member)]
            self._rewalks += 1
        del self._stack[place:]
        if self._rewalks > _MAX_REWALKS:
            raise Refusal("its parts refer to one another through sets in too many ways", type(value))
        return form

    def sequence(self, items: Sequence[Any], *, kinds: set[type] | None = None, step: Callable[[int], str] | None = None) -> bytes:
        """The form of items in their order.

        Args:
            kinds: the exact types of the items, if the caller knows them.
            step: the piece of the path of the item at an index; by default ``[index]``.
        """
        kinds = set(map(type, items)) if kinds is None else kinds
        if len(kinds) == 1:
            tag, pack = _PACKED.get(next(iter(kinds)), (b"", None))
            if pack is not None and (packed := pack(items)) is not None:
                return tag + packed
        forms: list[bytes] = []
        done = 0
        hasher = None
        encoders, resolve = ENCODERS, self._resolve
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

    def unordered(self, items: Iterable[Any]) -> bytes:
        """The form of elements in no order: plain ones sorted by value, others by their form."""
        elements = list(items)
        kinds = set(map(type, elements))
        if len(kinds) == 1 and next(iter(kinds)) in (int, str, bytes):
            return self.sequence(sorted(elements), kinds=kinds)
        try:
            forms = sorted(map(self.alone, elements))
        except Refusal as refusal:
            refusal.trail.append("{…}")
            raise
        return b"m" + size(len(forms)) + b"".join(forms)

    def pairs(self, keys: Sequence[Any], values: Sequence[Any], kinds: set[type] | None = None) -> bytes:
        """The form of a mapping's items in their order."""
        return self.sequence(keys, step=lambda i: f".keys()[{i}]") + self.sequence(
            values, kinds=kinds, step=lambda i: f"[{_shown(keys[i])}]"
        )


def _shown(key: object) -> str:
    return repr(key) if type(key) in ATOMS and len(repr(key)) <= 80 else f"<{type(key).__name__}>"


def encode_none(_walk: Walk, _value: None) -> bytes:
    return b"n"


def encode_bool(_walk: Walk, value: bool) -> bytes:  # noqa: FBT001
    return b"T" if value else b"F"


def encode_int(_walk: Walk, value: int) -> bytes:
    return integer(value)


def encode_float(_walk: Walk, value: float) -> bytes:
    return b"f" + struct.pack("<d", value)


def encode_complex(_walk: Walk, value: complex) -> bytes:
    return b"c" + struct.pack("<dd", value.real, value.imag)


def encode_str(_walk: Walk, value: str) -> bytes:
    return string(value)


def encode_bytes(_walk: Walk, value: bytes) -> bytes:
    return buffer(b"b", value)


def _encode_sequence(tag: bytes) -> Encoder:
    def encode(walk: Walk, value: list[Any] | tuple[Any, ...]) -> bytes:
        kinds = set(map(type, value))
        if kinds <= ATOMS:
            return seal(tag + walk.sequence(value, kinds=kinds))
        known = walk.enter(value)
        if known is not None:
            return known
        return walk.leave(value, tag + walk.sequence(value, kinds=kinds))

    return encode


def encode_dict(walk: Walk, value: dict[Any, Any]) -> bytes:
    keys, values = list(value), list(value.values())
    kinds = set(map(type, values))
    if kinds <= ATOMS and ATOMS.issuperset(map(type, keys)):
        return seal(b"d" + walk.pairs(keys, values, kinds))
    known = walk.enter(value)
    if known is not None:
        return known
    return walk.leave(value, b"d" + walk.pairs(keys, values, kinds))


def _encode_set(tag: bytes) -> Encoder:
    def encode(walk: Walk, value: set[Any] | frozenset[Any]) -> bytes:
        if ATOMS.issuperset(map(type, value)):
            return seal(tag + walk.unordered(value))
        known = walk.enter(value)
        if known is not None:
            return known
        return walk.leave(value, tag + walk.unordered(value))

    return encode


ENCODERS: Final[dict[type, Encoder]] = {
    type(None): encode_none,
    bool: encode_bool,
    int: encode_int,
    float: encode_float,
    complex: encode_complex,
    str: encode_str,
    bytes: encode_bytes,
    list: _encode_sequence(b"l"),
    tuple: _encode_sequence(b"t"),
    dict: encode_dict,
    set: _encode_set(b"S"),
    frozenset: _encode_set(b"Z"),
}
"""Encoders by exact type. Others are added when a type is first met, see ``registry``."""
