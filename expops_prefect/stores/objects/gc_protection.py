"""Refer to an existing object while a garbage collection may be about to remove it.

A collection removes objects that no record refers to and that nobody has written or refreshed for
:data:`~expops_prefect.stores.objects.base.GRACE` seconds before it began to read the records. A record is
written after its objects. So either the collection reads the record, or the record comes later and its
objects are young enough: each was written or protected less than half of
:data:`~expops_prefect.stores.objects.base.GRACE` before the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from expops_prefect.stores.objects.base import GRACE, ObjectInfo, ObjectStore


def protect(store: ObjectStore, key: str, clock: Callable[[], float] | None = None) -> ObjectInfo | None:
    """Protect an object that a record is going to refer to; ``None`` if it is gone and must be written.

    Args:
        store: the object store.
        key: its key.
        clock: returns the time, epoch seconds.

    Raises:
        ObjectStoreError: the store failed.
    """
    info = store.stat(key)
    if info is None or info.modified > (clock or time.time)() - GRACE / 2:
        return info
    return store.refresh(key)


def ensure_stored(store: ObjectStore, key: str, data: bytes, *, flush: bool = True) -> ObjectInfo:
    """Make sure that an object exists, is whole, and is young enough to be referred to.

    Args:
        store: the object store.
        key: its key, derived from its content.
        data: its bytes.
        flush: see :meth:`ObjectStore.create`.

    Raises:
        ObjectStoreError: the store failed.
    """
    info = store.create(key, [data], read_only=True, flush=flush)
    if info is None and store.get(key) == data:
        # It exists, but may have been damaged since, and a record vouches for it.
        info = protect(store, key)
    return info or store.put(key, [data], read_only=True)
