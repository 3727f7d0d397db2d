"""What Prefect and we ask of a lock manager over any KV store, with processes of its own that hold locks."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final, cast
from uuid import uuid4

import pytest
from prefect.locking.protocol import LockManager

from expops_prefect import EXPOPS, ExpOpsLockManager
from expops_prefect._internal.process import of_process
from expops_prefect.cache import results
from expops_prefect.cache.context import CacheContext
from expops_prefect.cache.locking import leases
from expops_prefect.cache.locking.leases import BEATS
from expops_prefect.errors import LeaseLostError
from expops_prefect.models.names import LEASE_PREFIX, lease_key
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord
from tests.support.server import wait_until

PROCESSES: Final = 2
THREADS: Final = 4
TURNS: Final = 5


def lease_of(project: Project, key: str) -> dict[str, Any]:
    """The lease that stands under a key."""
    value = project.kv.get(lease_key(key))
    assert value is not None, f"no lease on {key}"
    return cast("dict[str, Any]", value)


def record_of(host: str) -> CacheRecord:
    """A record that nothing is stored for."""
    return CacheRecord("completed", "", "", "", 1.0, 2.0, 1.0, "", "", 0, "", "raw", prefect_metadata="{}", host=host)


def count_under_lock(root: str, name: str, turns: int) -> None:
    """Add to a number by reading and writing it, which loses additions unless nobody else does it at once."""
    manager, kv = ExpOpsLockManager(root), Project.open(root).kv
    for turn in range(turns):
        holder = f"{name}.{turn}"
        assert manager.acquire_lock("key", holder)
        kv.put("number", (kv.get("number") or 0) + 1)
        manager.release_lock("key", holder)


def hold(root: str, pipe: Connection) -> None:
    """Take a lock, say so, and publish what was computed when asked to."""
    project = Project.open(root)
    assert ExpOpsLockManager(root).acquire_lock("key", "child")
    lease = of_process(leases.HeldLeases).find("key", "child")
    context = CacheContext(project, "key", None, uuid4(), "child", lambda: None, lease=lease)
    pipe.send("held")
    while True:
        pipe.recv()
        try:
            results.publish(project, "key", record_of("child"), context)
        except LeaseLostError as error:
            outcome = str(error)
        else:
            outcome = "published"
        pipe.send((outcome, ExpOpsLockManager(root).is_lock_holder("key", "child")))


def publish(pipe: Connection) -> tuple[str, bool]:
    """Let the child publish: what came of it, and whether it holds the lock."""
    pipe.send("publish")
    assert pipe.poll(120)
    return cast("tuple[str, bool]", pipe.recv())


@contextmanager
def holding_child(root: str) -> Iterator[tuple[int, Connection]]:
    """A process that holds the lock on ``key``: its id, and the pipe to it."""
    context = get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=hold, args=(root, there), daemon=True)
    child.start()
    there.close()
    try:
        assert here.poll(120), "the child takes the lock"
        assert here.recv() == "held"
        assert child.pid is not None
        yield child.pid, here
    finally:
        child.kill()
        child.join()


class LockConformance:
    """The suite; fixtures: ``project``, with short leases."""

    @pytest.fixture
    def root(self, project: Project) -> str:
        return str(project.settings.root)

    @pytest.fixture
    def manager(self, project: Project, root: str) -> Iterator[ExpOpsLockManager]:
        yield ExpOpsLockManager(root)
        assert not list(project.kv.scan(LEASE_PREFIX)), "every test gives back what it takes"

    def test_one_holder(self, project: Project, manager: ExpOpsLockManager) -> None:
        assert isinstance(manager, LockManager)
        assert not manager.is_locked("key")
        assert manager.wait_for_lock("key")
        assert manager.acquire_lock("key", "a")
        assert manager.acquire_lock("key", "a", acquire_timeout=0), "it has it already"
        assert manager.is_locked("key")
        assert manager.is_lock_holder("key", "a")
        assert not manager.is_lock_holder("key", "b")
        assert not manager.is_locked("other key")
        assert not manager.acquire_lock("key", "b", acquire_timeout=0)
        assert not manager.acquire_lock("key", "b", acquire_timeout=0.1)
        assert not manager.wait_for_lock("key", timeout=0.1)
        with pytest.raises(ValueError, match="no lock held by b"):
            manager.release_lock("key", "b")
        lease = lease_of(project, "key")
        assert (lease["holder"], lease["pid"]) == ("a", os.getpid())

        assert manager.acquire_lock("other key", "b", acquire_timeout=0)
        manager.release_lock("other key", "b")
        manager.release_lock("key", "a")
        assert not manager.is_locked("key")
        assert not manager.is_lock_holder("key", "a")
        assert manager.acquire_lock("key", "b", acquire_timeout=0)
        assert lease_of(project, "key")["token"] > lease["token"]
        manager.release_lock("key", "b")

    def test_waiting(self, manager: ExpOpsLockManager) -> None:
        assert manager.acquire_lock("key", "a")
        with ThreadPoolExecutor(2) as pool:
            free = pool.submit(manager.wait_for_lock, "key")
            taken = pool.submit(manager.acquire_lock, "key", "b")
            manager.release_lock("key", "a")
            assert taken.result(60)
            manager.release_lock("key", "b")
            assert free.result(60)

    def test_async(self, manager: ExpOpsLockManager) -> None:
        # More callers than there are threads: if each kept one while it waits, nobody could end.
        async def turn(number: int, inside: list[int]) -> None:
            assert await manager.aacquire_lock("key", f"holder {number}")
            inside.append(number)
            await asyncio.sleep(0)
            assert await asyncio.to_thread(manager.is_lock_holder, "key", f"holder {number}")
            assert inside == [number]
            inside.remove(number)
            await asyncio.to_thread(manager.release_lock, "key", f"holder {number}")

        async def run() -> None:
            asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
            inside: list[int] = []
            await asyncio.gather(*(turn(number, inside) for number in range(6)))
            assert await manager.await_for_lock("key")
            assert await manager.aacquire_lock("key", "last", acquire_timeout=0)
            assert not await manager.aacquire_lock("key", "nobody", acquire_timeout=0.05)
            assert not await manager.await_for_lock("key", timeout=0.05)
            waiting = asyncio.create_task(manager.aacquire_lock("key", "cancelled"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            manager.release_lock("key", "last")

        asyncio.run(run())

    def test_nobody_is_inside_with_another(self, project: Project, root: str, manager: ExpOpsLockManager) -> None:
        context = get_context("spawn")
        children = [
            context.Process(target=count_under_lock, args=(root, f"process {number}", TURNS))
            for number in range(PROCESSES)
        ]
        for child in children:
            child.start()
        with ThreadPoolExecutor(THREADS) as pool:
            for future in [pool.submit(count_under_lock, root, f"thread {n}", TURNS) for n in range(THREADS)]:
                future.result(120)
        for child in children:
            child.join(120)
            assert child.exitcode == 0
        assert project.kv.get("number") == TURNS * (THREADS + PROCESSES)

    def test_a_holder_that_lives_keeps_it(self, project: Project, manager: ExpOpsLockManager) -> None:
        assert manager.acquire_lock("key", "a")
        first = lease_of(project, "key")
        seen: list[bool] = []

        def renewed() -> bool:
            seen.append(leases.look(project, "key").free)
            return bool(lease_of(project, "key")["beat"] > 2 * BEATS)

        wait_until(renewed, 60, "the lease is renewed")
        assert not any(seen)
        last = lease_of(project, "key")
        assert last["expires"] >= first["expires"] + first["seconds"]
        changing = ("beat", "expires")
        assert {**last, **dict.fromkeys(changing)} == {**first, **dict.fromkeys(changing)}
        assert manager.is_lock_holder("key", "a")
        manager.release_lock("key", "a")

    def test_a_time_to_hold(self, manager: ExpOpsLockManager) -> None:
        assert manager.acquire_lock("key", "a", hold_timeout=0.3)
        assert manager.acquire_lock("key", "b")
        assert not manager.is_lock_holder("key", "a")
        with pytest.raises(ValueError, match="no lock held by a"):
            manager.release_lock("key", "a")
        assert manager.is_lock_holder("key", "b")
        manager.release_lock("key", "b")

    def test_a_holder_that_was_killed(self, project: Project, root: str, manager: ExpOpsLockManager) -> None:
        with holding_child(root) as (pid, _):
            lease = lease_of(project, "key")
            assert lease["pid"] == pid
            assert not manager.acquire_lock("key", "parent", acquire_timeout=0)
            os.kill(pid, signal.SIGKILL)
            assert manager.acquire_lock("key", "parent")
        taken = lease_of(project, "key")
        assert taken["holder"] == "parent"
        assert taken["token"] > lease["token"]
        manager.release_lock("key", "parent")

    @pytest.mark.parametrize("successor", ["computes", "has published"])
    def test_a_holder_that_was_paused(
        self, project: Project, root: str, manager: ExpOpsLockManager, successor: str
    ) -> None:
        with holding_child(root) as (pid, pipe):
            assert publish(pipe) == ("published", True)
            record = results.read_record(project, "key")
            assert record is not None
            assert record.host == "child"
            assert project.kv.delete(results.record_key("key"))

            os.kill(pid, signal.SIGSTOP)
            assert manager.acquire_lock("key", "parent")
            if successor == "has published":
                results.publish(project, "key", record_of("parent"), None)
                manager.release_lock("key", "parent")
            os.kill(pid, signal.SIGCONT)
            outcome, holder = publish(pipe)
        assert "that result is the cached one" in outcome
        assert holder is False
        record = results.read_record(project, "key")
        if successor == "has published":
            assert record is not None
            assert record.host == "parent"
        else:
            assert record is None
            assert manager.is_lock_holder("key", "parent")
            manager.release_lock("key", "parent")

    def test_copies(self, manager: ExpOpsLockManager) -> None:
        assert manager.acquire_lock("key", "a")
        configured = EXPOPS.configure(lock_manager=manager).configure(isolation_level="SERIALIZABLE").lock_manager
        for other in (pickle.loads(pickle.dumps(manager)), copy.deepcopy(manager), configured):
            assert other == manager
            assert other.is_lock_holder("key", "a")
            assert not other.acquire_lock("key", "b", acquire_timeout=0)
        copy.deepcopy(manager).release_lock("key", "a")
        assert not manager.is_locked("key")

    def test_a_lease_of_nobody(self, project: Project, manager: ExpOpsLockManager) -> None:
        # Given back after it may have been lost: it stays, free for all, with its token.
        value = {"holder": "", "token": 2**62, "beat": 0, "seconds": 1000.0, "expires": 0.0, "host": "h", "pid": 1}
        project.kv.put(lease_key("key"), {**value, "format": 1})
        assert not manager.is_locked("key")
        barrier = threading.Barrier(THREADS)

        def take(name: str) -> bool:
            barrier.wait()
            return manager.acquire_lock("key", name, acquire_timeout=0)

        with ThreadPoolExecutor(THREADS) as pool:
            taken = list(pool.map(take, "abcd"))
        assert taken.count(True) == 1
        assert lease_of(project, "key")["token"] == 2**62 + 1
        manager.release_lock("key", "abcd"[taken.index(True)])
