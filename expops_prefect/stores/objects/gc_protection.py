"""How an object that is there already is referred to, while a collection may be about to remove it.

A collection removes what no record refers to, if nobody has written or refreshed it for
:data:`~expops_prefect.stores.objects.base.GRACE` seconds before it began to read the records. A record is
written after the objects that it refers to, so it is either read by that collection, or written
later; then its objects are younger than that, because each was written, or protected, less than half
of :data:`~expops_prefect.stores.objects.base.GRACE` before.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from expops_prefect.stores.objects.base import GRACE, ObjectInfo, ObjectStore


def protect(store: ObjectStore, key: str, clock: Callable[[], float] | None = None) -> ObjectInfo | None:
    """An object that a record is going to refer to; ``None`` if it must be written: it is gone.

    Args:
        store: where it is.
        key: its key.
        clock: tells the time, epoch seconds.

    Raises:
        ObjectStoreError: the store failed.
    """
    info = store.stat(key)
    if info is None or info.modified > (clock or time.time)() - GRACE / 2:
        return info
    return store.refresh(key)


def ensure_stored(store: ObjectStore, key: str, data: bytes, *, flush: bool = True) -> ObjectInfo:
    """Make sure that an object is there, whole, and young enough to be referred to.

    Args:
        store: where.
        key: its key, which names it by its content.
        data: its bytes.
        flush: see :meth:`ObjectStore.create`.

    Raises:
        ObjectStoreError: the store failed.
    """
    info = store.create(key, [data], read_only=True, flush=flush)
    if info is None and store.get(key) == data:
        # It was there already. It might have been damaged since, and a record vouches for it.
        info = protect(store, key)
    return info or store.put(key, [data], read_only=True)
