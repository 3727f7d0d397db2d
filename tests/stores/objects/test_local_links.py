"""Links below the root are refused whenever they appear, whether or not the system names open files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.local import store as local
from expops_prefect.stores.objects.local.store import LocalObjects


@pytest.fixture(params=["named by the system", "not named"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalObjects:
    if request.param == "not named":
        monkeypatch.setattr(local, "name_of", lambda descriptor: None)
    return LocalObjects(tmp_path / "root")


@pytest.mark.parametrize("level", ["a", "a/b"])
def test_a_folder_that_becomes_a_link_after_it_was_used(store: LocalObjects, tmp_path: Path, level: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    store.put("a/b/k", [b"ours"])
    assert store.get("a/b/k") == b"ours"
    shutil.rmtree(root / level)
    (outside / "b").mkdir(parents=True)
    for folder in (outside, outside / "b"):
        (folder / "k").write_bytes(b"theirs")
    (root / level).symlink_to(outside)
    before = sorted(path.name for path in outside.rglob("*"))

    for key in ("a/b/k", "a/b/none", "a/b/c/none"):
        with pytest.raises(ObjectStoreError, match="symbolic link"):
            store.get(key)
    for key, data in (("a/b/k", b"theirs"), ("a/b/k", b"other size"), ("a/b/new", b"v"), ("a/b/c/new", b"v")):
        for write in (store.create, store.put):
            with pytest.raises(ObjectStoreError, match="symbolic link"):
                write(key, [data])
    assert sorted(path.name for path in outside.rglob("*")) == before
    assert (outside / "k").read_bytes() == (outside / "b" / "k").read_bytes() == b"theirs"


def test_an_object_that_becomes_a_link(store: LocalObjects, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store.put("a/k", [b"v"])
    (tmp_path / "root/a/k").unlink()
    (tmp_path / "root/a/k").symlink_to(tmp_path / "secret")
    with pytest.raises(ObjectStoreError, match="symbolic link"):
        store.get("a/k")
    (tmp_path / "root/a/gone").symlink_to(tmp_path / "nothing")
    with pytest.raises(ObjectStoreError, match="symbolic link"):
        store.get("a/gone")


def test_a_root_that_is_a_link_may_lead_elsewhere_later(store: LocalObjects, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "one")
    store.put("a/k", [b"1"])
    assert store.get("a/k") == b"1"
    (tmp_path / "root").unlink()
    (tmp_path / "root").symlink_to(tmp_path / "two")
    assert store.get("a/k") is None
    assert store.create("a/k", [b"2"]) == store.stat("a/k")
    assert store.get("a/k") == b"2"
    assert (tmp_path / "one/a/k").read_bytes() == b"1"
    assert (tmp_path / "two/a/k").read_bytes() == b"2"


def test_a_failed_write_leaves_nothing(store: LocalObjects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/k", [b"v"])
    assert store.create("a/k", [b"w"]) is None
    assert store.create("a/k", [b"other size"]) is not None

    def refuse(*_: object) -> None:
        raise OSError("no")

    for name in ("link", "replace", "fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, refuse)
            for write in (store.create, store.put) if name == "fsync" else (getattr(store, _WITH[name]),):
                with pytest.raises(ObjectStoreError):
                    write("a/new", [b"v"])
    assert [path.name for path in (tmp_path / "root/a").iterdir()] == ["k"]


_WITH = {"link": "create", "replace": "put"}
