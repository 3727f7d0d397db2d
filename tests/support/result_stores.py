"""Prefect's own result store over the two storage blocks of a project, and keys of every kind."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from prefect.filesystems import LocalFileSystem
from prefect.results import ResultStore

from expops_prefect import ExpOpsKeyStorage, ExpOpsResultStorage
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.results import record_key
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord

FOREIGN_KEYS = [
    "0f343b0931126a20f133d67c2b018a3b",  # INPUTS and compound policies
    "8c1f6d1e-6f5d-4f0e-9d53-3c2f3b6f0a11",  # a failing task
    "fixed-key",
    "a/b/c",
    "train/1/2/3",
    "train/" + "/".join(["0" * 63] * 3),
    "train/" + "/".join(["G" * 64] * 3),
    "status/" + "/".join(["0" * 64] * 3),
    "with space/ lead",
    "ünï/日本/🎉",
    "%_*?[x]#&=+:;'\"",
    "../../outside",
    "/absolute/key",
    "__x__",
    "x" * 3000,
    "tab\tnew\nline",
    "back\\slash",
]
"""Keys that are not ours."""


def own_key(name: str, task: str = "train") -> str:
    """A transaction key of the form that our policy makes."""
    return "/".join([task, *(hashlib.sha256(f"{name}{part}".encode()).hexdigest() for part in range(3))])


def storages(project: Project) -> tuple[ExpOpsResultStorage, ExpOpsKeyStorage]:
    """The two blocks of a project, unsaved."""
    place: dict[str, Any] = {"project_root": str(project.settings.root), "project_id": project.project_id}
    return ExpOpsResultStorage(**place), ExpOpsKeyStorage(**place)


def result_store(project: Project, **changes: Any) -> ResultStore:
    """A result store as the cache policy arranges it, with some parts replaced."""
    results, keys = storages(project)
    parts: dict[str, Any] = {
        "result_storage": results,
        "metadata_storage": keys,
        "serializer": project.part(Blocks).serializer,
        "cache_result_in_memory": False,
    }
    return ResultStore(**{**parts, **changes})


def elsewhere(folder: Path) -> LocalFileSystem:
    """A storage of Prefect's own."""
    return LocalFileSystem(basepath=str(folder))


def read(store: ResultStore, key: str) -> Any:
    """The result under a key."""
    return store.read(key).result


def record(project: Project, key: str) -> CacheRecord:
    """The cache record under a key."""
    value = project.kv.get(record_key(key))
    assert value is not None, f"no record under {key}"
    return CacheRecord.load(value)
