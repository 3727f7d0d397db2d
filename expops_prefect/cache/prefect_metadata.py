"""What Prefect itself keeps with a result, as far as it matters here."""

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
    """Refuse what Prefect could not follow to this key's result: it would fail the task, or give it another's.

    Args:
        record: the record under the key.
        metadata: what stands there of Prefect's.
        path: the transaction key.
        cache_context: the task run that asks; ``None`` if that is not known.

    Raises:
        IntegrityError: they are damaged, or lead elsewhere.
    """
    if not leads_to(metadata, record, None):
        raise IntegrityError("the record's metadata of Prefect's are damaged")
    if not _is_place_of(orjson.loads(metadata)["storage_key"], path, cache_context):
        raise IntegrityError("the record's metadata of Prefect's lead to the result of another key")


def _is_place_of(place: str, path: str, cache_context: CacheContext | None) -> bool:
    """Whether Prefect writes the result of a transaction key to this storage key.

    It is the key itself, or, for a storage that Prefect's server does not know, where that resolves it to.
    """
    if place == path:
        return True
    if cache_context is None:
        # Which storage is read is not known: it keeps the key below a folder of its own.
        return is_place_of(place, path)
    context = TaskRunContext.get()
    storage = None if cache_context.paired or context is None else context.result_store.result_storage
    resolve: Callable[[str], object | None] = getattr(storage, "_resolve_path", _unresolved)
    try:
        resolved = resolve(path)
    except ValueError:  # a key that leads out of its folder
        return False
    return resolved is not None and str(resolved) == place


def _unresolved(path: str) -> None:
    """What a storage without folders of its own makes of a key."""


def expiration(metadata: str) -> float | None:
    """When the result expires, epoch seconds; ``None`` for never."""
    value: Any = orjson.loads(metadata).get("expiration")
    return None if value is None else datetime.fromisoformat(str(value).replace("Z", "+00:00")).timestamp()
