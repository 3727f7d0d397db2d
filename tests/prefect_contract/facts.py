"""What the tests of Prefect's own behaviour share: a loud way to fail, a storage that notes its calls, a policy."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import prefect
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.filesystems import WritableFileSystem
from pydantic import PrivateAttr


def check(found: object, expected: object, fact: str, used_by: str) -> None:
    """Fail with the fact that no longer holds and the module that relies on it."""
    assert found == expected, (
        f"Prefect {prefect.__version__} no longer does this: {fact}.\n"
        f"expops_prefect.{used_by} relies on it: change that first, then this test.\n"
        f"found    {found!r}\nexpected {expected!r}"
    )


class NotingStorage(WritableFileSystem):
    """Keeps what is written in memory and notes how it is called."""

    _block_type_name = "Noting Storage"
    _block_type_slug = "noting-storage"
    _files: dict[str, Any] = PrivateAttr(default_factory=dict)
    _calls: list[str] = PrivateAttr(default_factory=list)
    _failing: set[str] = PrivateAttr(default_factory=set)

    @property
    def files(self) -> dict[str, Any]:
        """What was written, by key."""
        return self._files

    @property
    def calls(self) -> list[str]:
        """The methods that were called, in order."""
        return self._calls

    def fail(self, *methods: str) -> None:
        """Let these methods raise from now on."""
        self._failing.update(methods)

    def _note(self, method: str) -> None:
        self._calls.append(method)
        if method.split("(")[0].removeprefix("a") in self._failing:
            raise OSError(f"{method} fails")

    def _resolve_path(self, path: str) -> None:
        """As in ours: the key is what it is."""

    def read_path(self, path: str, _sync: bool = False) -> bytes:  # type: ignore[override]
        self._note(f"read_path({_sync})")
        return self._files[path]  # type: ignore[no-any-return]

    def write_path(self, path: str, content: bytes, _sync: bool = False) -> None:  # type: ignore[override]
        self._note(f"write_path({_sync})")
        self._files[path] = content

    async def aread_path(self, path: str) -> bytes:
        self._note("aread_path()")
        return self._files[path]  # type: ignore[no-any-return]

    async def awrite_path(self, path: str, content: bytes) -> None:
        self._note("awrite_path()")
        self._files[path] = content


@dataclass
class PutsInPlace(CachePolicy):
    """A policy that does to the result store what ours does, and gives a fixed key."""

    key: str | None = "the-key"
    on_context: Callable[[TaskRunContext], None] | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        self.calls.append({"inputs": inputs, "flow_parameters": flow_parameters, **kwargs})
        if self.on_context is not None:
            self.on_context(task_ctx)
        return self.key


class Stores:
    """Two noting storages, put in place by :attr:`policy`."""

    def __init__(self, serializer: Any = None, *, in_memory: bool = False, key: str = "the-key") -> None:
        self.results, self.keys = NotingStorage(), NotingStorage()
        self.serializer = serializer
        self.in_memory = in_memory
        self.policy = PutsInPlace(key=key, on_context=self._put)

    def _put(self, context: TaskRunContext) -> None:
        store = context.result_store
        store.result_storage, store.metadata_storage = self.results, self.keys
        store.cache_result_in_memory = self.in_memory
        if self.serializer is not None:
            store.serializer = self.serializer

    def new_calls(self) -> tuple[list[str], list[str]]:
        """The calls since the last time, to the results' and to the keys' storage."""
        found = list(self.results.calls), list(self.keys.calls)
        self.results.calls.clear()
        self.keys.calls.clear()
        return found


class Lines(logging.Handler):
    """Collects what Prefect logs."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, level: int) -> list[str]:
        """The messages of one level."""
        return [record.getMessage() for record in self.records if record.levelno == level]
