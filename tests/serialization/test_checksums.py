"""Checksums of ZIP files by parts are those of the whole."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expops_prefect.serialization import checksums


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_put_together(first: bytes, second: bytes) -> None:
    whole = zlib.crc32(first + second)
    assert checksums.combined(zlib.crc32(first), zlib.crc32(second), len(second)) == whole


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1999, 2000, 2001, 10_007])
@pytest.mark.parametrize("cores", [1, 2, 3, 7])
def test_by_parts(monkeypatch: pytest.MonkeyPatch, size: int, cores: int) -> None:
    monkeypatch.setattr(checksums, "_PART", 1000)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    data = bytes(number * 7 % 251 for number in range(size))
    assert checksums.crc32(memoryview(data), 12345) == zlib.crc32(data, 12345)
