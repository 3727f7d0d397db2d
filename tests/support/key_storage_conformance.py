"""What the key storage must do over any backend. A test subclasses :class:`KeyStorageConformance`.

It gives the fixture ``project``: a :class:`Project` that ``Project.open(root)`` finds again, with
``prefect.cache.processes.short.ttl`` set to one second in its configuration.
"""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from prefect.serializers import JSONSerializer

from expops_prefect import ExpOpsKeyStorage
from expops_prefect._internal.diagnostics import counts
from expops_prefect.cache.results import record_key
from expops_prefect.errors import IntegrityError
from expops_prefect.project import Project
from tests.support.result_stores import FOREIGN_KEYS, elsewhere, own_key, read, record, result_store, storages

OWN = own_key("one")


def metadata(**changes: Any) -> bytes:
    """Metadata as Prefect writes them."""
    made = {
        "storage_key": "elsewhere",
        "expiration": None,
        "serializer": {"type": "json"},
        "prefect_version": "3.8.8",
        "storage_block_id": None,
    }
    return json.dumps({**made, **changes}).encode()


class KeyStorageConformance:
    """Inherit, and give the fixture ``project``."""

    @pytest.fixture
    def keys(self, project: Project) -> ExpOpsKeyStorage:
        """The block under test."""
        return storages(project)[1]

    def test_missing_is_a_miss(self, project: Project, keys: ExpOpsKeyStorage) -> None:
        before = counts()
        with pytest.raises(IntegrityError, match="no valid result"):
            keys.read_path(OWN, _sync=True)
        with pytest.raises(IntegrityError):
            asyncio.run(keys.aread_path("fixed-key"))
        store = result_store(project)
        assert store.exists(OWN) is False
        assert asyncio.run(store.aexists("fixed-key")) is False
        assert counts() == before, "that something is not there is nothing to warn of"

    @pytest.mark.parametrize("key", [OWN, *FOREIGN_KEYS], ids=lambda key: key[:20])
    def test_metadata_of_results_that_lie_elsewhere(self, keys: ExpOpsKeyStorage, key: str) -> None:
        keys.write_path(key, content=metadata(storage_key=key), _sync=True)
        assert json.loads(keys.read_path(key, _sync=True))["storage_key"] == key
        asyncio.run(keys.awrite_path(key, content=metadata(storage_key=key, prefect_version="changed")))
        assert json.loads(asyncio.run(keys.aread_path(key)))["prefect_version"] == "changed"

    def test_metadata_that_lead_to_another_key_are_a_miss(self, keys: ExpOpsKeyStorage) -> None:
        for place in (own_key("two"), "x", f"/folder/{own_key('two')}", f"{OWN}x", ""):
            keys.write_path(OWN, metadata(storage_key=place), _sync=True)
            with pytest.raises(IntegrityError, match="no valid result"):
                keys.read_path(OWN, _sync=True)
        keys.write_path(OWN, metadata(storage_key=f"/a/folder/{OWN}"), _sync=True)
        assert keys.read_path(OWN, _sync=True)

    def test_no_two_keys_share_a_record(self, keys: ExpOpsKeyStorage) -> None:
        every = [OWN, own_key("two"), own_key("one", "score"), *FOREIGN_KEYS]
        for key in every:
            keys.write_path(key, metadata(storage_key=key), _sync=True)
        assert [json.loads(keys.read_path(key, _sync=True))["storage_key"] for key in every] == every

    def test_with_results_in_another_storage(self, project: Project, tmp_path: Path) -> None:
        other = elsewhere(tmp_path / "elsewhere")
        store = result_store(project, result_storage=other, serializer=JSONSerializer())
        for key, value in ((own_key("there"), {"a": 1}), ("fixed-key", [1, 2]), ("nothing", None)):
            assert store.exists(key) is False
            store.write(value, key=key)
            assert store.exists(key) is True
            assert read(store, key) == value

    def test_expiration(self, project: Project) -> None:
        store = result_store(project)
        now = datetime.now(timezone.utc)
        for number, (expires, exists) in enumerate(
            [(now + timedelta(hours=1), True), (now - timedelta(seconds=1), False), (None, True)]
        ):
            key = own_key(f"expires {number}")
            store.write(number, key=key, expiration=cast("Any", expires))
            assert store.exists(key) is exists, expires
            found = record(project, key)
            assert (found.expires_at is None) is (expires is None)
            if expires is not None:
                assert found.expires_at == pytest.approx(expires.timestamp(), abs=0.01)

    def test_how_long_results_of_a_process_live(self, project: Project) -> None:
        store = result_store(project)
        for task, exists in (("train", True), ("short", False)):
            key = own_key("lives", task)
            store.write(1, key=key)
            assert store.exists(key) is True
            value = project.kv.get(record_key(key))
            assert value is not None
            project.kv.put(record_key(key), {**value, "ended_at": value["ended_at"] - 2})
            assert store.exists(key) is exists, task

    @pytest.mark.parametrize(
        "damage",
        [
            lambda value: None,
            lambda value: "text",
            lambda value: [1],
            lambda value: {},
            lambda value: {**value, "format": "1"},
            lambda value: {**value, "status": "running"},
            lambda value: {name: part for name, part in value.items() if name != "object_key"},
            lambda value: {**value, "prefect_metadata": None},
            lambda value: {**value, "prefect_metadata": "no json"},
            lambda value: {**value, "prefect_metadata": "{}"},
            lambda value: {**value, "payloads": [{"no": "payload"}]},
            lambda value: {**value, "payloads": 3},
            lambda value: {**value, "digest": "0" * 64},
            lambda value: {**value, "object_key": "cache/steps/gone", "inline": None},
            lambda value: {**value, "object_key": "../outside", "inline": None},
            lambda value: {**value, "inline": "AAAA"},
            lambda value: {**value, "inline": "ü"},
            lambda value: {**value, "inline": 3},
            lambda value: {**value, "expires_at": 1.0},
            lambda value: {**value, "expires_at": "tomorrow"},
            lambda value: {**value, "ended_at": None},
        ],
    )
    def test_a_damaged_record_is_a_miss_and_is_mended(self, project: Project, damage: Callable[[Any], Any]) -> None:
        store, key = result_store(project), own_key("damaged", "short")
        store.write({"a": 1}, key=key)
        value = damage(project.kv.get(record_key(key)))
        if value is None:
            project.kv.delete(record_key(key))
        else:
            project.kv.put(record_key(key), value)
        assert store.exists(key) is False
        assert asyncio.run(store.aexists(key)) is False
        store.write({"a": 2}, key=key)
        assert store.exists(key) is True
        assert read(store, key) == {"a": 2}

    def test_a_record_of_a_newer_release_stays(self, project: Project) -> None:
        store, name = result_store(project), record_key(OWN)
        store.write({"a": 1}, key=OWN)
        newer = {**(project.kv.get(name) or {}), "format": 999}
        project.kv.put(name, newer)
        assert store.exists(OWN) is False
        store.write({"a": 2}, key=OWN)
        assert project.kv.get(name) == newer
        assert store.exists(OWN) is False
        # Whoever has a reference to what was computed now finds it.
        kept = storages(project)[0].read_path(OWN, _sync=True)
        assert store.serializer.loads(kept) == {"a": 2}

    def test_a_field_of_a_later_release_does_no_harm(self, project: Project) -> None:
        store = result_store(project)
        store.write({"a": 1}, key=OWN)
        value = project.kv.get(record_key(OWN))
        assert value is not None
        project.kv.put(record_key(OWN), {**value, "of a later release": [1]})
        assert store.exists(OWN) is True
        assert read(store, OWN) == {"a": 1}

    def test_what_expops_reads(self, project: Project) -> None:
        result_store(project).write({"a": 1}, key=OWN)
        task, inputs, config, function = OWN.split("/")
        value = project.kv.get(f"process://process[@name='{task}']:{inputs}:{config}:{function}")
        assert value is not None
        assert value["status"] == "completed"
        assert value["cache_path"] == project.objects.uri(value["object_key"])
        assert {"run_id", "started_at", "ended_at", "execution_time"} <= set(value)

    def test_concurrent_writers_of_one_key(self, keys: ExpOpsKeyStorage) -> None:
        def write(number: int) -> None:
            keys.write_path(OWN, metadata(storage_key=OWN, prefect_version=f"writer {number}"), _sync=True)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(24)))
        assert json.loads(keys.read_path(OWN, _sync=True))["prefect_version"] in {f"writer {n}" for n in range(24)}

    @pytest.mark.parametrize("used", [False, True])
    def test_copies(self, keys: ExpOpsKeyStorage, used: bool) -> None:
        if used:
            keys.write_path(OWN, metadata(), _sync=True)
        rebuilt = type(keys).model_validate(keys.model_dump())
        for number, clone in enumerate([pickle.loads(pickle.dumps(keys)), copy.deepcopy(keys), rebuilt]):
            key = own_key(f"copy {number}")
            clone.write_path(key, metadata(storage_key=key), _sync=True)
            assert json.loads(keys.read_path(key, _sync=True))["storage_key"] == key
