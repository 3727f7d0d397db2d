"""How Prefect writes, finds and reads results: what our storages and the policy rely on."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.context import TaskRunContext
from prefect.results import ResultStore
from prefect.serializers import Serializer

from tests.prefect_contract.facts import Lines, NotingStorage, PutsInPlace, Stores, check

pytestmark = pytest.mark.usefixtures("prefect_server")


class Labelled(bytes):
    """Bytes with something beside them, as our envelope has."""

    beside: Any = None


class LabellingSerializer(Serializer):  # type: ignore[type-arg, unused-ignore]
    """Gives and takes :class:`Labelled`; the bytes themselves say nothing."""

    type: str = "labelling-for-tests"

    def dumps(self, obj: Any) -> bytes:
        made = Labelled(b"label")
        made.beside = obj
        return made

    def loads(self, blob: bytes) -> Any:
        assert isinstance(blob, Labelled), f"Prefect handed {type(blob)} to loads"
        return blob.beside


def test_sync_calls_of_the_storages() -> None:
    stores = Stores(LabellingSerializer())
    ran = []

    @task(cache_policy=stores.policy, persist_result=True)
    def work(x: int) -> list[int]:
        ran.append(x)
        return [x]

    @flow
    def run() -> list[int]:
        return work(7)

    assert run() == [7]
    used_by = "caching.storage"
    check(
        stores.new_calls(),
        (["write_path(True)"], ["read_path(True)", "write_path(True)"]),
        "a miss asks the key storage with read_path(key, _sync=True), then writes the result and then the metadata",
        used_by,
    )
    assert run() == [7]
    check(
        stores.new_calls(),
        (["read_path(True)"], ["read_path(True)", "read_path(True)"]),
        "a hit reads the metadata twice and the result once, the metadata first",
        used_by,
    )
    check(ran, [7], "the body does not run on a hit", used_by)
    check(set(stores.results.files), {"the-key"}, "the result is stored under the policy's key", used_by)
    check(set(stores.keys.files), {"the-key"}, "the metadata are stored under the policy's key", used_by)
    check(
        type(stores.results.files["the-key"]),
        Labelled,
        "what dumps returns is handed to write_path unchanged, and what read_path returns to loads",
        "serialization.serializer",
    )
    metadata = json.loads(stores.keys.files["the-key"])
    check(
        {"storage_key", "expiration", "serializer", "storage_block_id"} <= set(metadata),
        True,
        "with a key storage the metadata are JSON of their own, with an expiration",
        used_by,
    )
    check(metadata["storage_key"], "the-key", "_resolve_path may return None, which leaves the key as it is", used_by)


def test_async_calls_of_the_storages() -> None:
    stores = Stores(LabellingSerializer())

    @task(cache_policy=stores.policy, persist_result=True)
    async def work(x: int) -> int:
        return x

    @flow
    async def run() -> int:
        return await work(7)

    assert [asyncio.run(run()), asyncio.run(run())] == [7, 7]
    check(
        stores.new_calls(),
        (
            ["awrite_path()", "aread_path()"],
            ["aread_path()", "awrite_path()", "aread_path()", "aread_path()"],
        ),
        "async code calls aread_path(key) and awrite_path(key, content=…), in the order of sync code",
        "caching.storage",
    )


def test_a_key_storage_that_fails_is_a_miss(lines: Lines) -> None:
    stores = Stores()
    stores.keys.fail("read_path")
    ran = []

    @task(cache_policy=stores.policy, persist_result=True)
    def work() -> int:
        ran.append(1)
        return 1

    @flow
    def run() -> int:
        return work() + work()

    assert run() == 2
    check(len(ran), 2, "any exception of the key storage counts as 'not cached'", "caching.storage")
    check(lines.of(logging.ERROR), [], "... and is not logged, so our storage has to", "caching.storage")


def test_a_result_storage_that_fails_on_a_hit_fails_the_task() -> None:
    stores = Stores()

    @task(cache_policy=stores.policy, persist_result=True)
    def work() -> int:
        return 1

    @flow
    def run() -> int:
        return work()

    run()
    stores.results.fail("read_path")
    state: State[int] = run(return_state=True)
    check(
        state.is_failed(),
        True,
        "a record whose result cannot be read fails the task (so everything is checked in the key storage)",
        "caching.storage",
    )


def test_a_commit_that_fails_is_logged_and_swallowed(lines: Lines) -> None:
    stores = Stores()
    stores.results.fail("write_path")

    @task(cache_policy=stores.policy, persist_result=True)
    def work() -> int:
        return 1

    @flow
    def run() -> State[int]:
        return work(return_state=True)

    check(run(return_state=True).is_completed(), True, "a commit that raises leaves the flow green", "caching.storage")
    check(
        len([line for line in lines.of(logging.ERROR) if "committing transaction" in line]),
        1,
        "a commit that raises is one logged error",
        "caching.storage",
    )


def test_an_exception_in_the_policy_runs_the_task_uncached(lines: Lines) -> None:
    def fail(context: TaskRunContext) -> None:
        raise LookupError("in the policy")

    ran = []

    @task(cache_policy=PutsInPlace(on_context=fail))
    def work() -> int:
        ran.append(1)
        return 1

    @flow
    def run() -> int:
        return work() + work()

    assert run() == 2
    used_by = "caching.policy"
    check(len(ran), 2, "an exception in compute_key is swallowed and the task runs uncached", used_by)
    errors = [line for line in lines.of(logging.ERROR) if "computing cache key" in line]
    check(len(errors), 2, "an exception in compute_key is logged as an error, each time", used_by)


def test_what_a_policy_is_given() -> None:
    policy = PutsInPlace(key=None)
    copy = policy.configure(isolation_level="READ_COMMITTED")
    check(
        copy.calls is policy.calls, False, "configure() deep-copies: no policy may hold a connection", "caching.policy"
    )

    @task(cache_policy=policy, retries=1)
    def work(x: int, y: int = 2) -> int:
        if len(policy.calls) < 2:
            raise ValueError("again")
        return x

    @flow
    def run(a: int) -> int:
        return work(a)

    assert run(5) == 5
    check(
        policy.calls,
        [{"inputs": {"x": 5, "y": 2}, "flow_parameters": {"a": 5}}] * 2,
        "compute_key(task_ctx, inputs, flow_parameters) gets bound arguments, again at each attempt of a task run",
        "caching.policy",
    )


def test_persistence_that_the_policy_switches_on() -> None:
    stores = Stores()

    def switch_on(context: TaskRunContext) -> None:
        stores._put(context)
        context.persist_result = True

    @task(cache_policy=PutsInPlace(on_context=switch_on))
    def work() -> int:
        return 1

    @flow
    def run() -> int:
        return work()

    run()
    check(
        set(stores.results.files),
        {"the-key"},
        "the key is computed before the engine looks at the context's persist_result",
        "instrument",
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_results_kept_in_memory(in_memory: bool) -> None:
    stores = Stores(in_memory=in_memory)

    @task(cache_policy=stores.policy, persist_result=True)
    def work() -> list[int]:
        return [1]

    @flow
    def run() -> bool:
        first, second = work(), work()
        return first is second

    check(
        run(),
        in_memory,
        "with cache_result_in_memory (the default) a hit is the very object that the first caller may have changed",
        "caching.policy",
    )


def test_failing_tasks_are_stored_under_a_uuid() -> None:
    stores = Stores()

    @task(cache_policy=stores.policy, persist_result=True)
    def work() -> int:
        raise ValueError("on purpose")

    @flow
    def run() -> State[int]:
        return work(return_state=True)

    run(return_state=True)
    for storage in (stores.results, stores.keys):
        (key,) = storage.files
        check(
            str(uuid.UUID(hex=key.replace("-", ""))).replace("-", ""),
            key.replace("-", ""),
            "a failing task's exception is stored under a uuid, in both storages",
            "caching.storage",
        )


def test_an_unsaved_block_gives_results_no_address() -> None:
    async def addresses() -> list[object]:
        unsaved, saved = NotingStorage(), NotingStorage()
        await saved.save("contract-noting", overwrite=True)
        ids = [ResultStore(result_storage=block).result_storage_block_id for block in (unsaved, saved)]
        return [ids[0], ids[1] == saved._block_document_id and ids[1] is not None]

    check(
        asyncio.run(addresses()),
        [None, True],
        "a result's metadata hold the id of a block that was saved, and none otherwise",
        "caching.blocks",
    )
