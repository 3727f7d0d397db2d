"""The building blocks of canonical forms: tagged, length-prefixed, self-delimiting bytes.

A form of more than 64 bytes is *sealed*: replaced by its BLAKE3 digest.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from expops_prefect.fingerprint import buffers

FORMAT: Final = 1
"""Version of the canonical form. It is part of every digest: changing it invalidates all keys."""

INLINE: Final = 64
_SIZES: Final = tuple(bytes((n,)) for n in range(255))


def size(count: int) -> bytes:
    """A length, in one byte up to 254, else in nine."""
    return _SIZES[count] if count < 255 else b"\xff" + count.to_bytes(8, "little")


def seal(form: bytes) -> bytes:
    """The form itself up to 64 bytes, else its digest."""
    return form if len(form) <= INLINE else b"#" + blake3(form).digest()


def text(value: str) -> bytes:
    """A string as part of a form: its length and its UTF-8 bytes; lone surrogates are allowed."""
    data = value.encode("utf-8", "surrogatepass")
    return size(len(data)) + data


def buffer(tag: bytes, data: bytes | bytearray | memoryview) -> bytes:
    """The form of contiguous bytes; large ones are hashed in place."""
    nbytes = data.nbytes if isinstance(data, memoryview) else len(data)
    if nbytes <= INLINE:
        return tag + size(nbytes) + bytes(data)
    return b"B" + tag + size(nbytes) + buffers.digest(data)


def named(name: str, *parts: bytes) -> bytes:
    """The form of a value whose type has no tag: the type's name, and parts that are forms."""
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


@lru_cache(maxsize=256)
def roots_of(root: Path | None) -> tuple[str, ...]:
    """The prefixes of paths below a project's folder: its path as given, and with links resolved."""
    if root is None:
        return ()
    found = dict.fromkeys((str(root.absolute()), str(root.resolve())))
    return tuple(name for name in found if name != os.sep)


def below_root(value: str, roots: tuple[str, ...]) -> str | None:
    """The rest of a path after the root, with the separator; ``None`` for a string that is not such a path.

    The rest is not normalised, so that different strings stay different.
    """
    for root in roots:
        if value.startswith(root) and value[len(root) : len(root) + 1] in ("", os.sep):
            below = value[len(root) :]
            if os.pardir in below:
                real = os.path.normpath(value)
                if real != root and not real.startswith(root + os.sep):
                    return None  # it leads out of the root again
            return below
    return None


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
    # Lengths in characters plus the joined text are unambiguous, and fast for millions of strings.
    lengths = array("q", map(len, items))
    if sys.byteorder == "big":
        lengths.byteswap()
    joined = "".join(items).encode("utf-8", "surrogatepass")
    return size(len(items)) + buffer(b"p", memoryview(lengths).cast("B")) + buffer(b"p", joined)


def _pack_flags(items: Sequence[bool]) -> bytes | None:
    return size(len(items)) + buffer(b"p", bytes(items))


# Sequences of one plain type are packed, which makes long ones an order of magnitude faster.
PACKED: Final[dict[type, tuple[bytes, Callable[[Sequence[Any]], bytes | None]]]] = {
    int: (b"q", _pack_integers),
    float: (b"e", _packed("d")),
    str: (b"u", _pack_strings),
    bool: (b"o", _pack_flags),
}
