"""What the result storage must do over any backend. A test subclasses :class:`ResultStorageConformance`.

It gives the fixture ``project``: a :class:`Project` that ``Project.open(root)`` finds again, in this
process and in others.
"""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect.exceptions import SerializationError
from prefect.serializers import CompressedPickleSerializer, JSONSerializer, PickleSerializer

from expops_prefect import ExpOpsSerializer
from expops_prefect._internal.diagnostics import counts
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.results import record_key
from expops_prefect.errors import IntegrityError, ObjectStoreError
from expops_prefect.project import Project
from expops_prefect.testing.faults import Faults, FaultyObjects
from tests.support.result_stores import FOREIGN_KEYS, own_key, read, record, result_store, storages

LARGE = np.arange(100_000, dtype=np.float64)
"""Large enough to become a payload of its own."""
OWN = own_key("one")


def values() -> dict[str, Any]:
    """Results of every kind of size and storage."""
    return {
        "small": {"a": 1, "b": [1.5, "ü", b"\0", (None, True)]},
        "array": LARGE,
        "several": {"x": LARGE, "y": [LARGE[:50_000], LARGE[50_000:]], "z": "small"},
        "shared": [LARGE, LARGE],
        "frame": pd.DataFrame({"n": LARGE, "text": [f"row {n}" for n in range(len(LARGE))]}),
        "bytes": bytes(range(256)) * 20_000,
        "text": "ü" * 1_000_000,
        "objects": np.array([{"a": 1}, None, "x"], dtype=object),
        "empty": np.empty((0, 3)),
    }


def same(one: Any, other: Any) -> bool:
    """Equal, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool(np.all(one == other))
    if isinstance(one, pd.DataFrame):
        return bool(one.equals(other)) and list(one.dtypes) == list(other.dtypes)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def write_in_process(root: str, key: str, number: int) -> None:
    """One of several writers of a key, in a process of its own."""
    result_store(Project.open(root)).write({"writer": number, "array": np.full(60_000, number)}, key=key)


# In a process that imports neither this package nor the project's code.
LOAD = """
import asyncio, json, sys
from uuid import UUID
from prefect.results import ResultStore, resolve_result_storage
assert "expops_prefect" not in sys.modules
storage = resolve_result_storage(UUID(sys.argv[1]), _sync=True)
from prefect._internal.result_records import ResultRecordMetadata
metadata = ResultRecordMetadata.load_bytes(sys.argv[2].encode())
record = asyncio.run(ResultStore._from_metadata(metadata))
print("LOADED", json.dumps([type(storage).__name__, float(record.result["array"].sum()), record.result["small"]]))
"""


class ResultStorageConformance:
    """Inherit, and give the fixture ``project``."""

    @pytest.mark.parametrize("name", values())
    def test_round_trips_sync_and_async(self, project: Project, name: str) -> None:
        store, value = result_store(project), values()[name]
        store.write(value, key=own_key(f"sync {name}"))
        asyncio.run(store.awrite(value, key=own_key(f"async {name}")))
        for key in (own_key(f"sync {name}"), own_key(f"async {name}")):
            assert store.exists(key) is True
            assert asyncio.run(store.aexists(key)) is True
            assert same(read(store, key), value)
            assert same(asyncio.run(store.aread(key)).result, value)
        found = record(project, own_key(f"sync {name}"))
        assert found.kind == "packed"
        assert found.size >= sum(payload.size for payload in found.payloads)

    def test_missing(self, project: Project) -> None:
        results, _ = storages(project)
        for key in (OWN, "fixed-key"):
            with pytest.raises(IntegrityError, match="no result under"):
                results.read_path(key, _sync=True)
            with pytest.raises(IntegrityError, match="no result under"):
                asyncio.run(results.aread_path(key))

    def test_results_are_copies(self, project: Project) -> None:
        store, value = result_store(project), {"list": [1], "array": LARGE.copy()}
        store.write(value, key=OWN)
        first = read(store, OWN)
        first["list"].append(2)
        first["array"][0] = -1
        assert same(read(store, OWN), value)

    def test_keys_that_are_not_ours(self, project: Project) -> None:
        store = result_store(project)
        for key in FOREIGN_KEYS:
            store.write({"of": key, "array": LARGE[:40_000] + len(key)}, key=key)
        for key in FOREIGN_KEYS:
            assert store.exists(key) is True
            found = read(store, key)
            assert found["of"] == key
            assert found["array"][0] == len(key)

    def test_none(self, project: Project) -> None:
        # That a task's None is not kept is the policy's rule; here it is a result like any other.
        store = result_store(project)
        for key in (own_key("none"), "fixed-key"):
            store.write(None, key=key)
            assert store.exists(key) is True
            assert read(store, key) is None

    def test_a_key_that_is_written_again(self, project: Project) -> None:
        store = result_store(project)
        for key in (OWN, "fixed-key"):
            for value in ({"n": 1, "array": LARGE}, {"n": 2, "array": LARGE + 1}, {"n": 3}):
                store.write(value, key=key)
                assert same(read(store, key), value)

    @pytest.mark.parametrize("serializer", [JSONSerializer(), PickleSerializer(), CompressedPickleSerializer()])
    def test_other_serializers(self, project: Project, serializer: Any) -> None:
        store = result_store(project, serializer=serializer)
        value = {"numbers": list(range(50_000)), "text": "ü"}
        store.write(value, key=OWN)
        assert store.exists(OWN) is True
        assert read(store, OWN) == value
        assert record(project, OWN).kind == "raw"

    @pytest.mark.parametrize("serializer", [PickleSerializer(), ExpOpsSerializer()])
    def test_without_a_key_storage(self, project: Project, serializer: Any) -> None:
        store = result_store(project, serializer=serializer, metadata_storage=None)
        store.write({"a": [1, 2]}, key="fixed-key")
        assert store.exists("fixed-key") is True
        assert read(store, "fixed-key") == {"a": [1, 2]}

    @pytest.mark.parametrize("what", ["manifest", "payload"])
    @pytest.mark.parametrize(
        "damage",
        [
            None,
            lambda data: b"",
            lambda data: data[:-1],
            lambda data: data + b"\0",
            lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:],
            lambda data: pickle.dumps("another pickle"),
        ],
        ids=["deleted", "emptied", "cut", "longer", "one bit", "replaced"],
    )
    def test_damage(self, project: Project, what: str, damage: Callable[[bytes], bytes] | None) -> None:
        # Too large to stand in the record.
        store, value = result_store(project), {"array": LARGE, "small": [1], "text": "x" * 20_000}
        store.write(value, key=OWN)
        found = record(project, OWN)
        assert found.inline is None
        key = found.object_key if what == "manifest" else found.payloads[0].key
        data = project.objects.get(key)
        assert data is not None
        if damage is None:
            project.objects.delete(key)
        else:
            project.objects.put(key, [damage(bytes(data))])
        before = counts().get("damaged results", 0)
        # The key storage is where Prefect takes a failure for a miss; what goes past it must not give wrong data.
        with pytest.raises(IntegrityError):
            read_past_the_key_storage(project, OWN)
        assert store.exists(OWN) is False
        assert asyncio.run(store.aexists(OWN)) is False
        assert counts()["damaged results"] > before
        store.write(value, key=OWN)
        assert store.exists(OWN) is True
        assert same(read(store, OWN), value)

    def test_a_small_result_stands_in_its_record(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        store, value = result_store(project), {"a": [1, "ü"]}
        store.write(value, key=OWN)
        found = record(project, OWN)
        assert project.outbox.flush(30)
        # For ExpOps' readers.
        manifest = project.objects.get(found.object_key)
        assert manifest is not None
        assert pickle.loads(manifest) == value

        project.objects.put(found.object_key, [b"damaged"])
        faults = Faults()
        with monkeypatch.context() as patch:
            patch.setattr(project, "objects", FaultyObjects(project.objects, faults))
            assert store.exists(OWN) is True
            assert read(store, OWN) == value
            assert asyncio.run(store.aread(OWN)).result == value
        assert faults.calls == [], "a hit reads the record alone"

    def test_a_record_may_not_point_at_other_data(self, project: Project) -> None:
        store = result_store(project)
        store.write({"array": LARGE}, key=own_key("theirs"))
        store.write({"array": LARGE + 1}, key=OWN)
        mine, theirs = record(project, OWN), record(project, own_key("theirs"))
        project.kv.put(record_key(OWN), {**mine.dump(), "payloads": theirs.dump()["payloads"]})
        with pytest.raises(IntegrityError, match="which its record does not"):
            read_past_the_key_storage(project, OWN)

    def test_a_result_that_cannot_be_pickled(self, project: Project) -> None:
        # Said in Prefect's way, so that it writes no metadata that would name a missing result.
        store, key = result_store(project), own_key("unpicklable")
        with pytest.raises(SerializationError, match="lock"):
            store.write({"lock": threading.Lock()}, key=key)
        assert store.exists(key) is False
        assert project.kv.get(record_key(key)) is None

    def test_a_store_that_fails_leaves_nothing_to_find(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        store, faults = result_store(project), Faults(down=True)
        with monkeypatch.context() as patch:
            patch.setattr(project, "objects", FaultyObjects(project.objects, faults))
            with pytest.raises(ObjectStoreError):
                store.write({"array": LARGE}, key=OWN)
            faults.down = False
            assert store.exists(OWN) is False
            store.write({"array": LARGE}, key=OWN)
        assert same(read(store, OWN), {"array": LARGE})

    def test_concurrent_writers_and_readers_of_one_key(self, project: Project) -> None:
        store = result_store(project)
        done = threading.Event()
        seen: list[int] = []

        def watch() -> None:
            while not done.is_set():
                # What is there is whole, whoever wrote it.
                if store.exists(OWN):
                    found = read(store, OWN)
                    assert found["array"][0] == found["array"][-1] == found["writer"]
                    seen.append(found["writer"])

        with ThreadPoolExecutor(5) as pool:
            watching = pool.submit(watch)
            try:
                list(pool.map(lambda number: write_in_process(str(project.settings.root), OWN, number), range(12)))
            finally:
                done.set()
            watching.result()
        assert store.exists(OWN) is True
        found = read(store, OWN)
        assert found["array"][0] == found["array"][-1] == found["writer"]

    def test_writers_of_one_key_in_several_processes(self, project: Project) -> None:
        root = str(project.settings.root)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            futures = [pool.submit(write_in_process, root, OWN, number) for number in range(6)]
            for future in futures:
                future.result(timeout=120)
        store = result_store(project)
        assert store.exists(OWN) is True
        found = read(store, OWN)
        assert found["array"][0] == found["array"][-1] == found["writer"]

    @pytest.mark.parametrize("used", [False, True])
    def test_copies_of_the_blocks(self, project: Project, used: bool) -> None:
        results, keys = storages(project)
        if used:
            result_store(project, result_storage=results, metadata_storage=keys).write(1, key=OWN)
        clones = [pickle.loads(pickle.dumps((results, keys))), copy.deepcopy((results, keys))]
        # A process pool makes blocks anew from their fields.
        clones.append((type(results)(**results.model_dump()), type(keys)(**keys.model_dump())))
        for number, (result_clone, key_clone) in enumerate(clones):
            key = own_key(f"copy {number}")
            store = result_store(project, result_storage=result_clone, metadata_storage=key_clone)
            store.write({"array": LARGE + number}, key=key)
            assert same(read(result_store(project), key), {"array": LARGE + number})

    @pytest.mark.usefixtures("prefect_server")
    def test_loaded_elsewhere_by_the_id_of_the_block(self, project: Project, tmp_path: Path) -> None:
        results, keys = project.part(Blocks).storages
        store = result_store(project, result_storage=results, metadata_storage=keys)
        store.write({"array": LARGE, "small": [1, "ü"]}, key=OWN)
        metadata = json.loads(keys.read_path(OWN))
        assert metadata["storage_block_id"] == str(results._block_document_id)
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, metadata["storage_block_id"], json.dumps(metadata)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert loaded.returncode == 0, loaded.stderr
        assert json.loads(loaded.stdout.rpartition("LOADED ")[2]) == [
            "ExpOpsResultStorage",
            float(LARGE.sum()),
            [1, "ü"],
        ]


def read_past_the_key_storage(project: Project, key: str) -> Any:
    """A read that nothing was checked for before, as when a result is loaded by its metadata."""
    results, _ = storages(project)
    return project.part(Blocks).serializer.loads(results.read_path(key, _sync=True))
