"""Reads that skip damaged values, so that one of them does not hide all the others.

A value is damaged if it is not JSON. No store writes such a value, but a disk fault, a copy or an edit by
hand may. Each is skipped with a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import KVDamagedError
from expops_prefect.stores.kv.base import JSON, KVStore


def warn(key: str) -> None:
    """Warn of a damaged value, once."""
    degrade("damaged records", f"the value of {key} is not JSON; it is skipped", key=key)


def scan(
    kv: KVStore,
    prefix: str,
    *,
    after: str | None = None,
    limit: int | None = None,
    damaged: Callable[[str], object] = warn,
) -> Iterator[tuple[str, JSON]]:
    """:meth:`KVStore.scan` without damaged values.

    Args:
        kv: the store.
        prefix, after: as for :meth:`KVStore.scan`.
        limit: look at no more keys than this.
        damaged: called with the key of each damaged value.
    """
    while limit is None or limit > 0:
        try:
            for key, value in kv.scan(prefix, after=after, limit=limit):
                after, limit = key, None if limit is None else limit - 1
                yield key, value
            return
        except KVDamagedError as error:
            if not error.key.startswith(prefix) or (after is not None and error.key <= after):
                raise
            damaged(error.key)
            after, limit = error.key, None if limit is None else limit - 1


def get_many(kv: KVStore, keys: Sequence[str]) -> dict[str, JSON]:
    """:meth:`KVStore.get_many` without damaged values."""
    left = list(keys)
    while left:
        try:
            return kv.get_many(left)
        except KVDamagedError as error:
            if error.key not in left:
                raise
            warn(error.key)
            left.remove(error.key)
    return {}


def get(kv: KVStore, key: str) -> JSON | None:
    """:meth:`KVStore.get`; ``None`` also for a damaged value."""
    return get_many(kv, [key]).get(key)
