"""Bytes that run code when they are unpickled, and stores in the hands of somebody who writes such bytes."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.serialization.manifest import pack
from expops_prefect.stores.objects.base import ObjectStore
from expops_prefect.testing.faults import Faults, FaultyObjects


class _Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def evil_pickle(marker: Path) -> bytes:
    """A plain pickle that makes the file ``marker`` when it is loaded."""
    return pickle.dumps(_Evil(marker))


def evil_manifest(marker: Path) -> bytes:
    """The same as a manifest of ours."""
    manifest = pack(_Evil(marker)).manifest
    # Who stores an object of a new type loads it once, to know that it can be.
    marker.unlink(missing_ok=True)
    return manifest


def overwrite(project: Project, key: str, content: bytes, *, same_size: bool = False) -> None:
    """Put other bytes in the place of an object, as one does who can write to the store."""
    before = project.objects.get(key)
    assert before is not None
    if same_size:
        # What follows the end of a pickle is not looked at.
        assert len(content) <= len(before)
        content = content + bytes(len(before) - len(content))
    project.objects.put(key, [content])


def object_keys(record: CacheRecord) -> dict[str, str]:
    """The objects of a record by their kind: ``manifest``, or a payload's suffix."""
    return {"manifest": record.object_key, **{Path(item.key).suffix: item.key for item in record.payloads}}


class Swapping(FaultyObjects):
    """A store that gives what was written for some reads of whole objects, and other bytes from then on.

    Args:
        inner: where the objects are.
        after: how many reads give what was written.
        content: what the others give.
    """

    def __init__(self, inner: ObjectStore, after: int, content: Callable[[str], bytes]) -> None:
        super().__init__(inner, Faults())
        self.left = after
        self.content = content

    def get(self, key: str) -> bytes | None:
        self.left -= 1
        return super().get(key) if self.left >= 0 else self.content(key)
