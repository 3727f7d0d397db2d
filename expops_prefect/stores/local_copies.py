"""The copies of a project's objects that this machine keeps beside the object store."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from expops_prefect.models import names
from expops_prefect.stores.settings import ObjectSettings, Place


def unused_copies(
    settings: ObjectSettings,
    place: Place,
    present: Collection[str],
    *,
    written_before: float,
    read_before: float | None = None,
) -> Iterator[tuple[Path, int]]:
    """Copies of remote objects that can be removed from this machine, with their sizes.

    Args:
        settings: the settings of the object store.
        place: the project that the copies belong to.
        present: the keys of the objects that exist in the store.
        written_before: remove copies of other objects if they are older than this, epoch seconds.
        read_before: remove all copies that were last read before this, as far as the file system knows.
    """
    from expops_prefect.stores.objects.local.store import LocalObjects

    if not settings.is_remote:
        return
    folder = settings.local_folder(place)
    for info in LocalObjects(folder).list(names.CACHE_PREFIX):
        path = folder / info.key
        try:
            read = path.stat().st_atime
        except FileNotFoundError:
            continue
        unread = read_before is not None and max(read, info.modified) < read_before
        if unread or (info.key not in present and info.modified < written_before):
            yield path, info.size


def sweep_temporaries(settings: ObjectSettings, place: Place, older_than_seconds: float) -> int:
    """Remove unfinished files that killed processes left on this machine; return how many."""
    from expops_prefect.stores.objects.local.store import LocalObjects

    return LocalObjects(settings.local_folder(place)).sweep(older_than_seconds)
