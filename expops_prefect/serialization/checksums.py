"""Computes the checksum of ZIP files over large buffers on all cores."""

from __future__ import annotations

import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_POLYNOMIAL: Final = 0xEDB88320  # CRC-32's, with the lowest power in the highest bit
_ONE: Final = 1 << 31
_PART: Final = 16 << 20


def crc32(data: memoryview, before: int = 0) -> int:
    """``zlib.crc32(data, before)``, with parts computed in parallel and then combined.

    Args:
        data: contiguous bytes.
        before: the checksum of the bytes before them.
    """
    workers = min(os.cpu_count() or 1, data.nbytes // _PART)
    if workers < 2:
        return zlib.crc32(data, before)
    size = -(-data.nbytes // workers)
    parts = [data[start : start + size] for start in range(0, data.nbytes, size)]
    with ThreadPoolExecutor(len(parts)) as pool:
        checksums = list(pool.map(zlib.crc32, parts))
    total = before
    for part, checksum in zip(parts, checksums, strict=True):
        total = combined(total, checksum, part.nbytes)
    return total


def combined(first: int, second: int, length: int) -> int:
    """The checksum of two concatenated byte strings, from their checksums and the ``length`` of the second.

    Appending a byte multiplies the first checksum, a polynomial over the field of two elements, by
    x to the eighth, modulo CRC-32's polynomial.
    """
    power, square, exponent = _ONE, _ONE >> 8, length
    while exponent:
        if exponent & 1:
            power = _product(power, square)
        square = _product(square, square)
        exponent >>= 1
    return _product(first, power) ^ second


def _product(one: int, other: int) -> int:
    """The product of two polynomials, modulo CRC-32's."""
    result = 0
    for place in range(31, -1, -1):
        if one >> place & 1:
            result ^= other
        other = other >> 1 ^ _POLYNOMIAL if other & 1 else other >> 1
    return result
