"""The two storage blocks over SQLite and local files."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prefect import flow, task
from prefect.filesystems import LocalFileSystem

from expops_prefect import EXPOPS, ExpOpsResultStorage
from expops_prefect._internal.diagnostics import counts
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.results import record_key
from expops_prefect.project import Project
from expops_prefect.record.cache_records import parse_record_key as _parsed
from expops_prefect.testing.faults import Faults, FaultyObjects
from tests.config.support import open_project
from tests.support.key_storage_conformance import KeyStorageConformance
from tests.support.readonly import ended, read_only
from tests.support.result_storage_conformance import LARGE, ResultStorageConformance, same
from tests.support.result_stores import own_key, read, record, result_store

CONFIG = "prefect: {project_id: shop, cache: {processes: {short: {ttl: 1s}}}}\n"
OWN = own_key("one")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return open_project(tmp_path / "shop", CONFIG)


class TestLocalKeyStorage(KeyStorageConformance):
    """Over SQLite."""


class TestLocalResultStorage(ResultStorageConformance):
    """Over local files."""


@pytest.mark.usefixtures("prefect_server")
def test_two_checkouts_never_take_each_others(tmp_path: Path) -> None:
    # The same project twice, with equal keys: on one machine each has its own stores.
    one, two = open_project(tmp_path / "one" / "shop"), open_project(tmp_path / "two" / "shop")
    stores = []
    for checkout in (one, two):
        results, keys = checkout.part(Blocks).storages
        stores.append(result_store(checkout, result_storage=results, metadata_storage=keys))
    stores[0].write({"checkout": 1, "array": LARGE}, key=OWN)
    assert stores[0].exists(OWN) is True
    assert stores[1].exists(OWN) is False
    stores[1].write({"checkout": 2, "array": LARGE + 1}, key=OWN)
    assert [read(store, OWN)["checkout"] for store in stores] == [1, 2]

    # Nor do their saved blocks fall together, in Prefect's API.
    ids = [checkout.part(Blocks).storages[0]._block_document_id for checkout in (one, two)]
    assert None not in ids
    assert len(set(ids)) == 2
    for checkout, block_id in zip((one, two), ids, strict=True):
        loaded = ExpOpsResultStorage.load_from_ref({"block_document_id": str(block_id)}, _sync=True)  # type: ignore[call-arg]
        assert loaded.project_root == str(checkout.settings.root)  # type: ignore[union-attr]


def test_a_folder_that_was_moved_keeps_its_results(tmp_path: Path) -> None:
    project = open_project(tmp_path / "before")
    result_store(project).write({"array": LARGE}, key=OWN)
    project.kv.close()
    (tmp_path / "before").rename(tmp_path / "after")
    store = result_store(Project.open(tmp_path / "after"))
    assert store.exists(OWN) is True
    assert same(read(store, OWN), {"array": LARGE})


@pytest.mark.parametrize("verify", ["auto", "always"])
def test_how_thoroughly_a_hit_is_checked(tmp_path: Path, verify: str) -> None:
    project = open_project(tmp_path / "shop", f"prefect: {{project_id: shop, cache: {{verify: {verify}}}}}")
    store = result_store(project)
    store.write({"array": np.zeros(100_000)}, key=OWN)
    found = record(project, OWN)
    (payload,) = found.payloads
    path = project.objects.path(payload.key)
    assert path is not None
    # A change that the stamp does not show, as on a file system that loses times: the record's stamp is made to fit.
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-8, os.SEEK_END)
        file.write(b"\x01" * 8)
    info = project.objects.stat(payload.key)
    assert info is not None
    forged = replace(found, payloads=(replace(payload, stamp=info.stamp),))
    project.kv.put(record_key(OWN), forged.dump())
    assert store.exists(OWN) is (verify == "auto")


def test_where_the_project_of_a_block_without_a_root_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = open_project(tmp_path / "shop")
    monkeypatch.chdir(tmp_path / "shop")
    block = ExpOpsResultStorage()
    assert block.project() is project
    block.write_path("fixed-key", b"raw bytes")
    assert block.read_path("fixed-key") == b"raw bytes"
    assert json.loads(block.model_dump_json())["project_root"] is None


@pytest.mark.usefixtures("prefect_server")
def test_metadata_in_a_storage_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What could not be stored must not be found there the next time: that would fail the task.
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    project = open_project(tmp_path / "shop", "prefect: {project_id: shop, cache: {small_bytes: 0}}")
    keys = LocalFileSystem(basepath=str(tmp_path / "keys"))
    ran: list[str] = []
    faults = Faults()

    @task(cache_policy=(EXPOPS - "ran").configure(key_storage=keys), persist_result=True)
    def make(kind: str, ran: list[str]) -> Any:
        ran.append(kind)
        return {"lock": threading.Lock(), "none": None, "plain": [1], "outage": [2]}[kind]

    @flow
    def run() -> list[Any]:
        found = [make(kind, ran) for kind in ("lock", "none", "plain")]
        faults.down = len(ran) <= 3
        return [*found, make("outage", ran)]

    monkeypatch.setattr(project, "objects", FaultyObjects(project.objects, faults))
    for _ in range(2):
        state = run(return_state=True)
        assert state.is_completed(), state.message
        faults.down = False
    assert ran == ["lock", "none", "plain", "outage", "lock", "outage"]
    assert Project.open(tmp_path / "shop") is project


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was executed, in a project that is found from anywhere."""
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    open_project(tmp_path / "shop")
    return []


def own_storage(folder: Path, *, saved: bool) -> Any:
    """A storage of the user's own, which Prefect's server knows or does not."""
    if not saved:
        return folder
    block = LocalFileSystem(basepath=str(folder))
    block.save("expops-of-their-own", overwrite=True, _sync=True)  # type: ignore[call-arg]
    return block


def led_to(project: Project, task_name: str, place: str | None) -> None:
    """Let the metadata of a task's record lead to another storage key: that of another task, or any other."""
    found = {task.task: (kv_key, value) for kv_key, value in project.kv.scan("process:") if (task := _parsed(kv_key))}
    kv_key, value = found[task_name]
    known = json.loads(value["prefect_metadata"])
    others = [json.loads(other["prefect_metadata"]) for name, (_, other) in found.items() if name != task_name]
    known["storage_key"] = others[0]["storage_key"] if place is None else place
    project.kv.put(kv_key, {**value, "prefect_metadata": json.dumps(known)})


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("place", [None, "x", "/etc/hostname"])
@pytest.mark.parametrize("storage", ["ours", "unsaved", "saved"])
def test_metadata_that_lead_to_another_result(tmp_path: Path, ran: list[str], storage: str, place: str | None) -> None:
    theirs = own_storage(tmp_path / "theirs", saved=storage == "saved")
    policy = EXPOPS - "ran"
    options: dict[str, Any] = {} if storage == "ours" else {"result_storage": theirs}
    project = Project.open(tmp_path / "shop")
    keys = policy if storage == "ours" else policy.configure(key_storage=project.part(Blocks).storages[1])

    @task(cache_policy=keys, persist_result=True, **options)
    def first(ran: list[str]) -> str:
        ran.append("first")
        return "the first's"

    @task(cache_policy=keys, persist_result=True, **options)
    def second(ran: list[str]) -> str:
        ran.append("second")
        return "the second's"

    @flow
    def run() -> list[str]:
        return [first(ran), second(ran)]

    assert run() == run() == ["the first's", "the second's"]
    assert ran == ["first", "second"]
    led_to(project, "second", place)
    before = counts()["damaged results"]
    assert run() == ["the first's", "the second's"]
    assert counts()["damaged results"] > before
    assert run() == ["the first's", "the second's"]
    assert ran == ["first", "second", "second"]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("first_saved", [False, True])
def test_a_storage_of_the_users_own_that_is_saved_or_not_any_more(
    tmp_path: Path, ran: list[str], first_saved: bool
) -> None:
    # Prefect writes the key for one that its server knows, and the whole place for one that it does not.
    project = Project.open(tmp_path / "shop")
    policy = (EXPOPS - "ran").configure(key_storage=project.part(Blocks).storages[1])

    @task(cache_policy=policy, persist_result=True)
    def make(ran: list[str]) -> str:
        ran.append("make")
        return "made"

    @flow
    def run(saved: bool) -> str:
        theirs = own_storage(tmp_path / "theirs", saved=saved)
        return make.with_options(result_storage=theirs)(ran)

    assert [run(first_saved), run(not first_saved), run(first_saved)] == ["made"] * 3
    assert ran == ["make"]


@pytest.mark.parametrize("stamps", ["known", "changed"])
def test_hits_where_nothing_can_be_written(tmp_path: Path, stamps: str) -> None:
    project = open_project(tmp_path / "shop")
    result_store(project).write({"array": LARGE}, key=OWN)
    (payload,) = record(project, OWN).payloads
    path = project.objects.path(payload.key)
    assert path is not None
    if stamps == "changed":  # as of a snapshot: what was written is hashed, and that cannot be noted
        os.utime(path, (1, 1))
    project.outbox.close(20)
    project.kv.close()
    code = """
import sys
from expops_prefect.project import Project
from tests.support.result_stores import own_key, read, result_store
store = result_store(Project.open(sys.argv[1]))
print(store.exists(own_key("one")), store.exists(own_key("two")), len(read(store, own_key("one"))["array"]))
"""
    shop = tmp_path / "shop"
    assert ended(read_only(shop, code, str(shop)))[-1] == f"True False {len(LARGE)}"
