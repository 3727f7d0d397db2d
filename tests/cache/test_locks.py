"""Locks over SQLite and Firestore, and what becomes of them when the store is away, in forks and in transactions."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prefect.results import ResultStore
from prefect.transactions import IsolationLevel, transaction

from expops_prefect import ExpOpsLockManager
from expops_prefect._internal.diagnostics import counts
from expops_prefect._internal.process import of_process
from expops_prefect.cache.locking.leases import HeldLeases
from expops_prefect.models.names import LEASE_PREFIX, lease_key
from expops_prefect.project import Project
from expops_prefect.testing.faults import Faults, FaultyKV
from tests.config.support import open_project
from tests.support.backends import Cloud
from tests.support.lock_conformance import LockConformance
from tests.support.result_stores import own_key, result_store

SHORT = "  cache: {lease_seconds: 1.5}\n"


@pytest.fixture
def local(tmp_path: Path) -> Project:
    return open_project(tmp_path / "shop", f"prefect:\n  project_id: shop\n{SHORT}")


class TestLocal(LockConformance):
    @pytest.fixture
    def project(self, local: Project) -> Project:
        return local


class TestFirestore(LockConformance):
    @pytest.fixture
    def project(self, tmp_path: Path, firestore_host: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_host)
        name = f"shop-{uuid.uuid4().hex[:8]}"
        project = open_project(tmp_path / name, Cloud("", "", "").config("gcp-local", name, SHORT))
        yield project
        project.kv.close()


@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_is_away_locks_nothing(local: Project, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    faults = Faults(down=True, after=after)
    before = counts().get("locks not taken", 0)
    with monkeypatch.context() as patch:
        patch.setattr(local, "kv", FaultyKV(local.kv, faults))
        assert manager.acquire_lock("key", "a")
        assert manager.acquire_lock("key", "b", acquire_timeout=0)
        assert faults.calls
        assert manager.is_lock_holder("key", "a")
        assert not manager.is_locked("key")
        assert manager.wait_for_lock("key")
    assert counts()["locks not taken"] == before + 2
    assert manager.is_lock_holder("key", "b"), "it may write what it computed"
    for holder in "ab":
        manager.release_lock("key", holder)
        assert not manager.is_lock_holder("key", holder)


def test_a_renewal_that_fails_is_tried_again(local: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    assert manager.acquire_lock("key", "a")
    held = of_process(HeldLeases).find("key", "a")
    assert held is not None
    with monkeypatch.context() as patch:
        patch.setattr(local, "kv", FaultyKV(local.kv, Faults(down=True)))
        held.beat()
        assert held.renewing
    beat = held.lease.beat
    held.beat()
    assert held.lease.beat == beat + 1
    assert manager.is_lock_holder("key", "a")
    manager.release_lock("key", "a")


def test_what_another_release_wrote_is_left_alone(local: Project) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    foreign = {"format": 2, "anything": "else"}
    local.kv.put(lease_key("key"), foreign)
    assert manager.acquire_lock("key", "a"), "the task runs, without a lock"
    manager.release_lock("key", "a")
    assert local.kv.get(lease_key("key")) == foreign


def test_a_lease_that_may_be_lost_is_not_removed(local: Project) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    assert manager.acquire_lock("key", "a")
    held = of_process(HeldLeases).find("key", "a")
    assert held is not None
    held._sure_until = 0.0
    manager.release_lock("key", "a")
    left = local.kv.get(lease_key("key"))
    assert left is not None
    assert (left["holder"], left["token"]) == ("", held.lease.token)
    assert manager.acquire_lock("key", "b", acquire_timeout=0)
    # Taken over meanwhile: what another one holds is not touched.
    held = of_process(HeldLeases).find("key", "b")
    assert held is not None
    other = {**held_value(local), "holder": "other", "token": held.lease.token + 1}
    local.kv.put(lease_key("key"), other)
    held._sure_until = 0.0
    manager.release_lock("key", "b")
    assert local.kv.get(lease_key("key")) == other


def held_value(project: Project) -> dict[str, object]:
    value = project.kv.get(lease_key("key"))
    assert isinstance(value, dict)
    return value


def test_a_forked_child_holds_nothing(local: Project) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    assert manager.acquire_lock("key", "a")
    child = os.fork()
    if child == 0:
        os._exit(0 if of_process(HeldLeases).find("key", "a") is None and not manager.is_lock_holder("key", "a") else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert manager.is_lock_holder("key", "a")
    manager.release_lock("key", "a")


def test_renewing_ends_with_the_last_lease(local: Project) -> None:
    manager = ExpOpsLockManager(str(local.settings.root))
    assert manager.acquire_lock("key", "a")
    thread = of_process(HeldLeases).heartbeat._thread
    assert thread is not None
    manager.release_lock("key", "a")
    thread.join(60)
    assert not thread.is_alive()
    assert manager.acquire_lock("key", "b")
    assert of_process(HeldLeases).heartbeat._thread not in (None, thread)
    manager.release_lock("key", "b")


# In Prefect's transactions --------------------------------------------------------------------------


def store_of(project: Project) -> ResultStore:
    return result_store(project, lock_manager=ExpOpsLockManager(str(project.settings.root)))


def store_under(key: str, value: object, store: ResultStore) -> bool:
    """Commit a value as Prefect's engine does; whether it was there already."""
    with transaction(key=key, store=store) as inner:
        if not inner.is_committed():
            inner.stage(store.create_result_record(value, key=key))
            return False
        return True


def test_a_key_twice_in_one_transaction(local: Project) -> None:
    store = store_of(local)
    with transaction(isolation_level=IsolationLevel.SERIALIZABLE):
        # Held until the outer one commits: waiting for it would last for ever.
        assert not store_under(own_key("one"), 1, store)
        assert not store_under(own_key("one"), 2, store)
        assert store.is_locked(own_key("one"))
    assert store.read(own_key("one")).result == 2
    assert not list(local.kv.scan(LEASE_PREFIX))


def test_two_transactions_with_the_same_keys_in_another_order(local: Project) -> None:
    barrier = threading.Barrier(2)

    def run(keys: tuple[str, str]) -> None:
        store = store_of(local)
        with transaction(isolation_level=IsolationLevel.SERIALIZABLE):
            store_under(keys[0], keys[0], store)
            barrier.wait()
            store_under(keys[1], keys[1], store)

    one, two = own_key("one"), own_key("two")
    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(run, keys) for keys in ((one, two), (two, one))]:
            future.result(60)
    store = store_of(local)
    assert [store.read(key).result for key in (one, two)] == [one, two]
    assert not list(local.kv.scan(LEASE_PREFIX))


def test_a_transaction_that_fails_gives_back(local: Project) -> None:
    store = store_of(local)

    def fail() -> None:
        with transaction(key="key", store=store, isolation_level=IsolationLevel.SERIALIZABLE):
            assert store.is_locked("key")
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail()
    assert not store.is_locked("key")
    assert not list(local.kv.scan(LEASE_PREFIX))
