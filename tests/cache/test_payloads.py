"""How the payloads of a hit come into memory."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from expops_prefect.config import load_settings
from expops_prefect.project import Project
from tests.support.result_stores import own_key, record, result_store

SIZE = 8 << 20


@pytest.fixture
def unmapped(tmp_path: Path) -> Project:
    """A project whose arrays are not mapped on a hit."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "project_config.yaml").write_text("prefect: {project_id: shop, cache: {mmap: false}}\n")
    return Project(load_settings(tmp_path, environ={}))


def test_an_unmapped_array_is_read_once_to_where_it_lives(unmapped: Project) -> None:
    store, key = result_store(unmapped), own_key("array")
    made = np.random.default_rng(1).random(SIZE // 8)
    store.write(made, key=key)
    tracemalloc.start()
    try:
        loaded = store.read(key).result
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(loaded) is np.ndarray
    assert (loaded == made).all()
    assert peak < 1.5 * SIZE, "a second copy was made on the way"


def test_an_unmapped_array_is_its_holders_own(unmapped: Project) -> None:
    store, key = result_store(unmapped), own_key("array")
    made = np.arange(SIZE // 8, dtype=float)
    store.write(made, key=key)
    (payload,) = record(unmapped, key).payloads
    path = unmapped.objects.path(payload.key)
    assert path is not None
    loaded, before = store.read(key).result, path.read_bytes()
    loaded += 1
    path.chmod(0o644)
    path.write_bytes(bytes(payload.size))
    assert (loaded == made + 1).all(), "it changed with its file"
    path.write_bytes(before)
    assert (store.read(key).result == made).all(), "the file changed with it"


def test_a_changed_file_is_not_read_unmapped_either(unmapped: Project) -> None:
    store, key = result_store(unmapped), own_key("array")
    store.write(np.arange(SIZE // 8, dtype=float), key=key)
    assert store.exists(key)
    (payload,) = record(unmapped, key).payloads
    path = unmapped.objects.path(payload.key)
    assert path is not None
    status = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"\xff")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not store.exists(key)
