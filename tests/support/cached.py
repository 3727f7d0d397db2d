"""A cache to grow old: results stored through the sync core, on a clock that tests move."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar
from unittest.mock import patch

import numpy as np

from expops_prefect.cache import results
from expops_prefect.cache.payloads import StoredPayloads
from expops_prefect.errors import BackendError
from expops_prefect.maintenance import entries
from expops_prefect.models.names import CACHE_PREFIX
from expops_prefect.project import Project
from expops_prefect.serialization.manifest import pack, unpack
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.stores.objects.base import Buffer, ObjectInfo
from expops_prefect.stores.objects.gc_protection import ensure_stored
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.stores.outbox.changes import AnyChange, KeepObject, Publish, Put
from expops_prefect.testing.faults import Faults, FaultyKV, FaultyObjects
from tests.config.support import settings_of
from tests.support.result_stores import own_key

T = TypeVar("T")

SPILL = 256
PLAIN = "prefect: {project_id: shop, cache: {small_bytes: 0}}\n"
"""Every manifest is an object, and nothing of it stands in the record."""


@dataclass
class Clock:
    """Time as tests have it."""

    now: float = 2_000_000_000.0

    def __call__(self) -> float:
        return self.now

    @contextmanager
    def running(self) -> Iterator[None]:
        """Everything in this process goes by it."""
        with patch("time.time", self):
            yield


class Dated(LocalObjects):
    """Files whose times are the clock's."""

    def __init__(self, root: Path, clock: Clock) -> None:
        super().__init__(root)
        self.clock = clock

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        return self._dated(super().put(key, parts, read_only=read_only))

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        made = super().create(key, parts, read_only=read_only, flush=flush)
        return None if made is None else self._dated(made)

    def refresh(self, key: str) -> ObjectInfo | None:
        made = super().refresh(key)
        return None if made is None else self._dated(made)

    def _dated(self, info: ObjectInfo) -> ObjectInfo:
        path = self.path(info.key)
        assert path is not None
        os.utime(path, (self.clock.now, self.clock.now))
        found = self.stat(info.key)
        assert found is not None
        return found


class KilledError(BaseException):
    """The process has ended; nothing of it runs any more."""


@dataclass
class Steps(Faults):
    """Something happens between two steps, each a call of a store.

    Attributes:
        at: before this step (1-based).
        happening: what.
        kill: the process ends there, after it if ``after``.
    """

    at: int | None = None
    happening: Callable[[], object] | None = None
    kill: bool = False
    dead: bool = False
    _busy: bool = field(default=False)

    def run(
        self, name: str, call: Callable[[], T], error: type[BackendError], spoil: Callable[[T], T] | None = None
    ) -> T:
        if self.dead:
            raise KilledError
        self.calls.append(name)
        here = len(self.calls) == self.at
        if here and self.happening is not None:
            self.happening()
        if here and self.kill:
            self.dead = True
            if self.after:
                call()
            raise KilledError
        return call()


class _Direct:
    """An outbox that delivers at once."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.folder = project.settings.runtime_dir / "outbox"

    def write(self, *changes: AnyChange) -> None:
        for change in changes:
            match change:
                case Put(key, value) | Publish(key, value):
                    self.project.kv.put(key, value)
                case KeepObject(key, data):
                    ensure_stored(self.project.objects, key, data)
                case _:
                    raise AssertionError(change)

    def deliver_orphans(self) -> int:
        return 0


class Cache:
    """One project's cache, seen by any number of processes.

    Args:
        root: an empty folder.
        config: its configuration.
    """

    def __init__(self, root: Path, config: str = PLAIN) -> None:
        self.settings = settings_of(root / "shop", config)
        self.clock = Clock()
        self._kv = SQLiteKV(root / "kv.sqlite")
        self._objects = Dated(self.settings.runtime_dir, self.clock)
        self.project = self.process(Steps())

    def process(self, steps: Steps) -> Project:
        """The project as a process has it whose steps are counted."""
        project = Project(self.settings)
        project.kv = FaultyKV(self._kv, steps)
        project.objects = FaultyObjects(self._objects, steps)
        project.__dict__["outbox"] = _Direct(project)
        return project

    def store(self, name: str, content: int = 0, task: str = "train", *, by: Project | None = None) -> str:
        """Store a result with one payload, which every result with that content shares; its key."""
        key, project = own_key(name, task), by or self.project
        with self.clock.running():
            store(project, key, content)
        return key

    def read(self, key: str, *, by: Project | None = None) -> int | None:
        """A hit: the content, verified; ``None`` for a miss."""
        project = by or self.project
        with self.clock.running():
            return read(project, key)

    def objects(self) -> set[str]:
        """The keys of the manifests and payloads that are there."""
        return {info.key for info in self._objects.list(CACHE_PREFIX)}

    def referenced(self) -> set[str]:
        """The keys of the objects that records refer to."""
        return {key for entry in entries.read_entries(self.project) for key in entry.objects}


def metadata_of(key: str) -> str:
    """What matters of Prefect's metadata of a result under a key."""
    return f'{{"serializer": {{"type": "expops"}}, "storage_key": "{key}"}}'


def store(project: Project, key: str, content: int) -> None:
    """Store a result with one payload under a key, as the two storage blocks do."""
    packed = pack({"content": content, "array": np.full(SPILL, content)}, spill_bytes=SPILL)
    assert packed.payloads
    record = results.write_result(project, key, packed, None)
    results.write_record(project, key, replace(record, prefect_metadata=metadata_of(key)), None)


def read(project: Project, key: str) -> int | None:
    """The content of a result that :func:`store` has stored, as the two storage blocks read it."""
    record = results.read_hit(project, key)
    if record is None:
        return None
    value = unpack(results.verified(project, key, record), StoredPayloads(project, record))
    assert isinstance(value, dict)
    assert (value["array"] == np.full(SPILL, value["content"])).all()
    return int(value["content"])


def days(number: float) -> float:
    """Seconds."""
    return number * 86_400


def real_time() -> float:
    """The time by this machine's clock."""
    return time.time()
