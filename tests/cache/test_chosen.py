"""A storage or serializer that a flow names for its results wins over ours; Prefect's defaults do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.filesystems import LocalFileSystem
from prefect.settings import PREFECT_DEFAULT_RESULT_STORAGE_BLOCK, temporary_settings

import expops_prefect
from expops_prefect import EXPOPS
from expops_prefect.project import Project
from tests.config.support import open_project

pytestmark = pytest.mark.usefixtures("prefect_server")

RAN: list[str] = []


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    RAN.clear()
    return open_project(tmp_path / "shop")


@task(cache_policy=EXPOPS - "ran")
def step(ran: list[str]) -> str:
    """A task of Prefect's with our policy."""
    ran.append("step")
    return "step"


@expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
def process(ran: list[str]) -> str:
    """A task of ours with a step."""
    ran.append("process")
    return step(ran)


def saved(folder: Path, name: str) -> LocalFileSystem:
    """A storage that Prefect's server knows."""
    block = LocalFileSystem(basepath=str(folder))
    block.save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    return block


def stored(folder: Path) -> int:
    """How many files a storage holds."""
    return sum(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("decorate", [flow, expops_prefect.flow])
@pytest.mark.parametrize("nested", [False, True])
def test_a_storage_that_the_flow_names(tmp_path: Path, project: Project, decorate: Any, nested: bool) -> None:
    folder = tmp_path / "theirs"

    @decorate
    def inner() -> str:
        return process(RAN)

    @decorate(result_storage=saved(folder, "expops-theirs"))
    def outer() -> str:
        return inner() if nested else process(RAN)

    assert outer() == outer() == "step"
    assert RAN == ["process", "step"], "cached in the storage of their own"
    assert stored(folder) >= 2
    assert list(project.objects.list("cache/")) == []


def test_a_serializer_that_the_flow_names(project: Project) -> None:
    @flow(result_serializer="json")
    def run() -> str:
        return step(RAN)

    assert run() == run() == "step"
    assert RAN == ["step"]
    ((_, record),) = project.kv.scan("process:")
    assert record["kind"] == "raw"
    assert project.objects.get(record["object_key"]) == b'"step"'


def test_a_default_storage_is_nobodys_choice(tmp_path: Path, project: Project) -> None:
    folder = tmp_path / "default"
    saved(folder, "expops-default")

    @flow(persist_result=False)  # its own result would stay where Prefect puts it
    def run() -> str:
        return step(RAN)

    with temporary_settings({PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: "local-file-system/expops-default"}):
        assert run() == run() == "step"
    assert RAN == ["step"]
    assert len(list(project.kv.scan("process:"))) == 1
    assert stored(folder) == 0
