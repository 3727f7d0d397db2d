"""Single flight inside one process: when leases are taken, and that every end of a task gives its own back."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import prefect
import pytest
from prefect.transactions import IsolationLevel, transaction

from expops_prefect import EXPOPS, expops_cache_key, flow, task
from expops_prefect._internal.diagnostics import counts
from expops_prefect.models.names import LEASE_PREFIX
from expops_prefect.project import Project
from expops_prefect.testing.faults import Faults, FaultyKV
from tests.config.support import open_project
from tests.support.server import wait_until

pytestmark = pytest.mark.usefixtures("prefect_server")

CONFIG = "prefect: {project_id: shop, cache: {single_flight: true, lease_seconds: 2}}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return make_project(tmp_path / "shop", CONFIG, monkeypatch)


def make_project(root: Path, config: str, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(root))
    return open_project(root, config)


def held(project: Project) -> int:
    """How many leases there are."""
    return len(list(project.kv.scan(LEASE_PREFIX)))


class Waits(logging.Handler):
    """Notices who says that it waits."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if " waits: " in record.getMessage():
            self.said.append(record.getMessage())


@pytest.fixture
def waits() -> Any:
    handler, logger = Waits(), logging.getLogger("prefect.expops")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler.said
    logger.removeHandler(handler)
    logger.setLevel(level)


def at_once(call: Callable[[], Any], times: int) -> list[Any]:
    """Call in threads that stand where this one stands."""
    with ThreadPoolExecutor(times) as pool:
        return [future.result(120) for future in [pool.submit(copy_context().run, call) for _ in range(times)]]


def made(kind: str, body: Callable[[int], int]) -> Any:
    """A task of each kind that our policy or our key can be used with."""

    def work(x: int) -> int:
        return body(x)

    make: Any = prefect.task
    if kind == "drop-in":
        return task(cache_policy=EXPOPS)(work)
    if kind == "policy":
        return make(work, cache_policy=EXPOPS)
    if kind == "key function":
        return make(work, cache_key_fn=expops_cache_key, persist_result=True)
    return make(work, cache_policy=EXPOPS.configure(isolation_level="SERIALIZABLE"))


class Body:
    """Counts how often it runs; the first one waits until others wait for it."""

    def __init__(self, waits: list[str], others: int) -> None:
        self.ran = 0
        self._waits, self._others = waits, others

    def __expops_fingerprint__(self) -> str:
        return "body"

    def __call__(self, x: int) -> int:
        self.ran += 1
        wait_until(lambda: len(self._waits) >= self._others, 60, "the others wait")
        return x + 1


@pytest.mark.parametrize("kind", ["drop-in", "policy", "key function"])
@pytest.mark.parametrize("recorded", [True, False])
def test_one_computes(project: Project, waits: list[str], kind: str, recorded: bool) -> None:
    body = Body(waits, 3)
    work = made(kind, body)

    @flow
    def main() -> list[Any]:
        return at_once(lambda: work(1), 4)

    assert (main() if recorded else at_once(lambda: work(1), 4)) == [2] * 4
    assert body.ran == 1
    assert len(waits) == 3
    assert held(project) == 0
    if recorded:
        rows = project.rows(project.runs()[0].run_id)
        seconds = [row.fields.get("waited_seconds", 0) for row in rows if sum(row.calls.values()) <= 1]
        assert sum(value > 0 for value in seconds) >= 2, "of the calls that have rows of their own"


def test_serializable_without_a_lock_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[str]) -> None:
    project = make_project(tmp_path / "shop", "prefect: {project_id: shop}\n", monkeypatch)
    body = Body(waits, 3)
    work = made("serializable", body)
    assert at_once(lambda: work(1), 4) == [2] * 4
    assert body.ran == 1
    inner = made("policy", Body(waits, 0))

    def inherit() -> int:
        with transaction(isolation_level=IsolationLevel.SERIALIZABLE):
            assert held(project) == 0
            result: int = inner(5)
            assert held(project) == 1, "until the transaction around commits"
            return result

    assert inherit() == 6
    assert held(project) == 0


def test_both_at_once(project: Project, waits: list[str]) -> None:
    body = Body(waits, 1)
    work = made("serializable", body)
    assert at_once(lambda: work(1), 2) == [2, 2]
    assert body.ran == 1
    assert held(project) == 0


def test_async_tasks_of_one_loop(project: Project, waits: list[str]) -> None:
    # More of them than asyncio has threads: the holder has to store its result while the others wait.
    ran: list[int] = []

    @task(ignore=["ran"], cache_policy=EXPOPS)
    async def work(x: int, ran: list[int]) -> int:
        ran.append(x)
        while len(waits) < 5:
            await asyncio.sleep(0)
        return x + 1

    @flow
    async def main() -> list[int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        return list(await asyncio.gather(*(work(1, ran) for _ in range(6))))

    assert asyncio.run(main()) == [2] * 6
    assert ran == [1]
    assert held(project) == 0


def test_a_hit_takes_no_lease(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    work = made("drop-in", Body([], 0))
    faults = Faults()
    monkeypatch.setattr(project, "kv", FaultyKV(project.kv, faults))
    assert work(1) == 2
    assert "create" in faults.calls
    faults.calls.clear()
    assert work(1) == 2
    # The project's outbox looks for runs that died, some time after the first.
    assert [call for call in faults.calls if call != "scan"] == ["get"]


@pytest.mark.parametrize("kind", ["drop-in", "policy", "key function", "serializable"])
def test_every_end_gives_back(project: Project, kind: str) -> None:
    seen: list[int] = []

    def body(x: int) -> Any:
        seen.append(held(project))
        if x == 1:
            raise ValueError("on purpose")
        if x == 2:
            return None
        if x == 3:
            return threading.Lock()
        if x == 4:
            return prefect.states.Failed(message="on purpose")
        if x == 5:
            raise KeyboardInterrupt
        return x

    work = made(kind, body)
    for x in range(6):
        state = None
        if x == 5:
            with pytest.raises(BaseException):  # noqa: B017 - Prefect's own
                work(x)
        else:
            state = work(x, return_state=True)
            assert state.is_failed() is (x in (1, 4))
        # Nothing tells of a crash of a task that Prefect's own decorator made, but its state.
        wait_until(lambda: held(project) == 0, 60, f"the lease of {x} is given back")
    assert seen == [1] * 6
    tried = work.with_options(retries=2)
    assert tried(1, return_state=True).is_failed()
    assert seen == [1] * 9
    assert held(project) == 0


def test_what_a_transaction_around_commits(project: Project) -> None:
    # Another one that wants it need not wait for the end of a transaction that goes on.
    body = Body([], 0)
    work = made("drop-in", body)

    def around() -> None:
        with transaction():
            assert work(1) == 2
            assert held(project) == 0
            assert work(1) == 2

    around()
    assert body.ran == 2
    assert work(1) == 2
    assert body.ran == 2


@pytest.mark.parametrize("after", [False, True])
def test_a_store_that_is_away_stops_nobody(project: Project, monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    body = Body([], 0)
    work = made("drop-in", body)
    before = counts().get("leases not taken", 0)
    monkeypatch.setattr(project, "kv", FaultyKV(project.kv, Faults(down=True, after=after)))
    assert work(1) == 2
    assert body.ran == 1
    assert counts()["leases not taken"] == before + 1
