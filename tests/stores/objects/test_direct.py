"""Large files are written past the page cache where the file system can do that, and otherwise as others are."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.local import direct
from expops_prefect.stores.objects.local.store import LocalObjects
from tests.support.server import wait_until

CHUNK = 64 << 10


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalObjects:
    monkeypatch.setattr(direct, "FROM", CHUNK)
    monkeypatch.setattr(direct, "_CHUNK", CHUNK)
    return LocalObjects(tmp_path / "objects")


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Place and length of the writes past the page cache."""
    made: list[tuple[int, int]] = []
    pwrite = os.pwrite

    def noted(descriptor: int, data: bytes, place: int) -> int:
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
        made.append((place, len(data)))
        return pwrite(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", noted)
    return made


def parts_of(size: int, seed: int) -> list[bytes]:
    source = random.Random(seed)
    whole = source.randbytes(size)
    cuts = sorted(source.sample(range(size + 1), 5))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True)]


@pytest.mark.parametrize("size", [CHUNK, CHUNK + 1, 2 * CHUNK - 1, 3 * CHUNK, 3 * CHUNK + 4096, 3 * CHUNK + 5000])
def test_what_is_written_is_read(store: LocalObjects, writes: list[tuple[int, int]], size: int, tmp_path: Path) -> None:
    parts = parts_of(size, size)
    info = store.create("payloads/a.npz", parts, read_only=True)
    assert store.get("payloads/a.npz") == b"".join(parts)
    assert info is not None
    assert info == store.stat("payloads/a.npz")
    assert info.size == size
    assert sum(length for _, length in writes) == (size + -size % 4096 if _takes_them(tmp_path) else 0)


def _takes_them(folder: Path) -> bool:
    try:
        os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


def test_small_files_are_written_as_ever(store: LocalObjects, writes: list[tuple[int, int]]) -> None:
    store.put("a", [b"x" * (CHUNK - 1)])
    assert writes == []


def _refuse_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    set_flags = fcntl.fcntl

    def refuse(descriptor: int, command: int, argument: int = 0) -> int:
        if command == fcntl.F_SETFL and argument & os.O_DIRECT:
            raise OSError(errno.EINVAL, "not here")
        return set_flags(descriptor, command, argument)

    monkeypatch.setattr(fcntl, "fcntl", refuse)


def _refuse_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite

    def refuse(descriptor: int, data: bytes, place: int) -> int:
        if place:
            raise OSError(errno.EINVAL, "not so")
        return pwrite(descriptor, data, place)

    monkeypatch.setattr(os, "pwrite", refuse)


def _stop_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: 100)


def _no_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "_FLAG", 0)


@pytest.mark.parametrize("refuse", [_refuse_flag, _refuse_later, _stop_short, _no_flag])
def test_where_it_cannot_be(
    store: LocalObjects, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[pytest.MonkeyPatch], None]
) -> None:
    refuse(monkeypatch)
    parts = parts_of(3 * CHUNK + 100, 1)
    store.put("a", parts)
    assert store.get("a") == b"".join(parts)


def test_a_write_that_takes_a_part_goes_on(store: LocalObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: pwrite(descriptor, data[:12288], place) - 512)
    parts = parts_of(3 * CHUNK + 100, 2)
    store.put("a", parts)
    assert store.get("a") == b"".join(parts)


def test_a_full_disk_is_said(store: LocalObjects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(descriptor: int, data: bytes, place: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", fail)
    with pytest.raises(ObjectStoreError, match="cache gc"):
        store.put("folder/a", parts_of(2 * CHUNK, 3))
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_it_is_read_back_beside_the_flow(store: LocalObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda descriptor, place, size, advice: asked.append((place, size)))
    store.put("a", parts_of(5 * CHUNK, 4))
    wait_until(lambda: len(asked) == 3, 20, "the file is read back")
    assert asked == [(0, 128 << 10), (128 << 10, 128 << 10), (256 << 10, 128 << 10)]


def test_what_cannot_be_read_back_is_stored(
    store: LocalObjects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading, "Thread", refuse)
    parts = parts_of(2 * CHUNK, 5)
    store.put("a", parts)
    assert store.get("a") == b"".join(parts)
    opened = [path.resolve() for path in list(Path("/proc/self/fd").iterdir())]
    assert not [path for path in opened if path.is_relative_to(tmp_path)]
