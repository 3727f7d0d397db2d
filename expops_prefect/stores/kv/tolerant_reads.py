"""Reading past values that somebody damaged: one of them must not hide all the others.

A value is damaged that is no JSON: no store writes such a one, but a disk, a copy or a hand may have.
Each is left out and named in a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.errors import KVDamagedError
from expops_prefect.stores.kv.base import JSON, KVStore


def warn(key: str) -> None:
    """Name a damaged value, once."""
    degrade("damaged records", f"the value of {key} is not JSON; it is left out", key=key)


def scan(
    kv: KVStore,
    prefix: str,
    *,
    after: str | None = None,
    limit: int | None = None,
    damaged: Callable[[str], object] = warn,
) -> Iterator[tuple[str, JSON]]:
    """:meth:`KVStore.scan` without the values that are damaged.

    Args:
        kv: the store.
        prefix, after: as there.
        limit: look at most at so many keys.
        damaged: told the key of each.
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
    """:meth:`KVStore.get_many` without the values that are damaged."""
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
    """:meth:`KVStore.get`; ``None`` also for a value that is damaged."""
    return get_many(kv, [key]).get(key)
