"""The store that fails on purpose is an object store like any other while it is not to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.testing.faults import Faults, FaultyObjects
from expops_prefect.testing.object_suite import ObjectConformance, RawObjects
from tests.stores.objects.test_local import Files


@pytest.fixture
def store(tmp_path: Path) -> FaultyObjects:
    return FaultyObjects(LocalObjects(tmp_path), Faults())


@pytest.fixture
def raw(tmp_path: Path) -> RawObjects:
    return Files(tmp_path)


class TestConformance(ObjectConformance):
    pass


def test_damage(store: FaultyObjects) -> None:
    store.faults.kind, store.faults.nth = "truncated", 1
    store.put("half", [b"1234"])
    store.faults.kind, store.faults.nth = "corrupted", 2
    written = store.create("changed", [b"1234"])
    assert (store.get("half"), store.get("changed")) == (b"12", b"1224")
    assert store.stat("changed") != written, "the writer was told of what it wrote"
    store.faults.nth = 5
    assert (store.get("half"), store.get("half")) == (b"13", b"12"), "what is stored is as it was"
    assert store.faults.struck == ["put", "create", "get"]


def test_a_full_disk(store: FaultyObjects) -> None:
    store.put("before", [b"1234"])
    store.faults.kind, store.faults.nth = "full disk", 2
    for _ in range(2):
        with pytest.raises(ObjectStoreError) as raised:
            store.put("after", [b"1234"])
        assert isinstance(raised.value.__cause__, OSError)
    assert (store.get("before"), store.get("after")) == (b"1234", None)
