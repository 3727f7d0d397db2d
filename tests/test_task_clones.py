"""Clones of tasks, which Prefect makes for its task workers among others, are what their originals are."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from prefect import Task, flow, task

import expops_prefect
from expops_prefect import EXPOPS, instrument
from expops_prefect.cache.policy import ExpOpsCachePolicy
from tests.config.support import open_project


@expops_prefect.task
def ours(x: int) -> int:
    """A task of ours."""
    return x


@task
def plain(x: int) -> int:
    """A task of Prefect's, instrumented below."""
    logging.getLogger("executions").warning("plain")  # a list of this module would be part of the key
    return x


@flow(persist_result=False)
def uses_plain() -> list[int]:
    """The flow that is instrumented."""
    return [plain(1), plain.with_options(name="plain")(1), plain.with_options(retries=1)(1)]


@pytest.mark.parametrize("original", [ours, plain])
def test_a_task_worker_knows_a_clone(original: Task[..., Any]) -> None:
    key = original.task_key
    assert original.with_options(persist_result=True).task_key == key
    instrument(uses_plain)
    assert original.with_options(persist_result=True).with_options(name="other").task_key == key


@pytest.mark.usefixtures("prefect_server")
def test_clones_of_an_instrumented_task_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    open_project(tmp_path / "shop")
    instrument(uses_plain)
    assert uses_plain() == uses_plain() == [1, 1, 1]
    assert [record.name for record in caplog.records].count("executions") == 1


def test_what_is_asked_of_a_clone_counts() -> None:
    instrument(uses_plain)
    assert isinstance(plain.with_options(retries=2).cache_policy, ExpOpsCachePolicy)
    assert not isinstance(plain.with_options(persist_result=False).cache_policy, ExpOpsCachePolicy)
    named: Any = plain.with_options(cache_policy=EXPOPS - "x").cache_policy
    assert named == EXPOPS - "x"
