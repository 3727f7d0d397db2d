"""Checks and reads the metadata that Prefect keeps with a result."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import orjson
from prefect.context import TaskRunContext

from expops_prefect.cache.context import CacheContext
from expops_prefect.errors import IntegrityError
from expops_prefect.record.cache_records import CacheRecord, is_place_of, leads_to


def check(record: CacheRecord, metadata: str, path: str, cache_context: CacheContext | None) -> None:
    """Refuse metadata that do not lead to this key's result: Prefect would fail the task, or load another result.

    Args:
        record: the record under the key.
        metadata: Prefect's metadata in the record.
        path: the transaction key.
        cache_context: the context of the task run that asks; ``None`` if unknown.

    Raises:
        IntegrityError: the metadata are damaged, or point to a different result.
    """
    if not leads_to(metadata, record, None):
        raise IntegrityError("the cached metadata are damaged")
    if not _is_place_of(orjson.loads(metadata)["storage_key"], path, cache_context):
        raise IntegrityError("the cached metadata point to a different result")


def _is_place_of(place: str, path: str, cache_context: CacheContext | None) -> bool:
    """Whether Prefect writes the result of a transaction key to this storage key.

    It is the key itself or, for a storage that is not saved as a block, the path to which the storage resolves it.
    """
    if place == path:
        return True
    if cache_context is None:
        # The storage is unknown; any storage keeps the key below its own folder.
        return is_place_of(place, path)
    context = TaskRunContext.get()
    storage = None if cache_context.paired or context is None else context.result_store.result_storage
    resolve: Callable[[str], object | None] = getattr(storage, "_resolve_path", _unresolved)
    try:
        resolved = resolve(path)
    except ValueError:  # the key leads out of its folder
        return False
    return resolved is not None and str(resolved) == place


def _unresolved(path: str) -> None:
    """Resolve a key for a storage without folders."""


def expiration(metadata: str) -> float | None:
    """When the result expires, epoch seconds; ``None`` for never."""
    value: Any = orjson.loads(metadata).get("expiration")
    return None if value is None else datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
