"""What Prefect does for a task that a body calls is not what the body does."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import pytest
from prefect import flow, get_run_logger, task

from expops_prefect.effects.chain import innermost
from expops_prefect.effects.watch import watching
from expops_prefect.models.effects import Seen

pytestmark = pytest.mark.usefixtures("prefect_server")


def read(name: str) -> None:
    with suppress(OSError):
        Path(name).read_text()


def names(seen: Seen) -> set[str]:
    assert not seen.effects
    return {Path(item.path).name for item in seen.reads}


@task(persist_result=True)
def inner(name: str) -> str:
    get_run_logger().info("reading")
    read(name)
    return name


@task(persist_result=True)
async def inner_async(name: str) -> str:
    await asyncio.sleep(0)
    read(name)
    return name


@flow
def subflow() -> str:
    return inner("in a subflow")


@flow
async def subflow_async() -> str:
    return await inner_async("in a subflow")


@task
def outer() -> Seen:
    with watching() as watch:
        inner("called")
        inner.submit("submitted").result()
        inner.map(["mapped"]).result()
        subflow()
    return watch.seen()


@task
async def outer_async() -> Seen:
    with watching() as watch:
        await inner_async("called")
        await asyncio.gather(inner_async("first"), inner_async("second"))
        await subflow_async()
    return watch.seen()


@task
def drawing() -> Seen:
    with watching() as watch:
        random.random()
    return watch.seen()


@pytest.fixture(autouse=True)
def results_beside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in Prefect's home, which would not count anyway."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_LOCAL_STORAGE_PATH", str(tmp_path / "results"))


def test_nested_tasks_count_but_prefect_does_not() -> None:
    @flow
    def watched() -> tuple[Seen, Seen]:
        return outer(), drawing()

    nested, drew = watched()
    assert names(nested) == {"called", "submitted", "mapped", "in a subflow"}
    assert [effect.call for effect in drew.effects] == ["random (global generator)"]


def test_nested_tasks_of_coroutines_count_but_prefect_does_not() -> None:
    @flow
    async def watched() -> Seen:
        return await outer_async()

    assert names(asyncio.run(watched())) == {"called", "first", "second", "in a subflow"}


def test_submitted_bodies_are_seen_too() -> None:
    @flow
    def watched() -> tuple[Seen, Seen]:
        return outer.submit().result(), outer_async.submit().result()  # type: ignore[return-value]

    first, second = watched()
    assert names(first) == {"called", "submitted", "mapped", "in a subflow"}
    assert names(second) == {"called", "first", "second", "in a subflow"}
    assert innermost() is None
