"""Free space: drop results, then remove the objects that no record refers to.

A flow may run at the same time, on any machine. Objects of existing and of coming records are kept;
:mod:`expops_prefect.stores.objects.gc_protection` explains how. The objects of a result that is dropped
here are kept for :data:`~expops_prefect.stores.objects.base.GRACE` seconds more, because a task may have just
read its record. The next collection after that removes them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

from expops_prefect.errors import ConfigurationError
from expops_prefect.maintenance.entries import (
    PARALLEL,
    Entry,
    Progress,
    read_entries,
    refresh_objects,
    remove_records,
    silent,
    time_of,
    unshared,
    waiting_objects,
)
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import expiry
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.local_copies import sweep_temporaries, unused_copies
from expops_prefect.stores.objects.base import GRACE, ObjectInfo

_REMEMBERED = timedelta(days=90)
"""How long the removal of a record is remembered."""
DAY = timedelta(days=1)
"""The precision of the last use of a result: it may be this much later than recorded."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which results to drop: expired ones, and those that match any of the given conditions.

    Attributes:
        older_than: computed at least this long ago.
        unused_for: neither computed nor used for this long; use is recorded daily, so up to a day later.
        keep_last: all but this many of the newest of each task.
        max_size: the least recently used, until manifests and payloads of the others take at most this many bytes
            together.
    """

    older_than: timedelta | None = None
    unused_for: timedelta | None = None
    keep_last: int | None = None
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A dropped result, and the reason: ``expired``, ``old``, ``unused``, ``not among the last``, ``size``."""

    entry: Entry
    reason: str


@dataclass(slots=True)
class Collected:
    """The outcome of a collection, or of a dry run.

    Attributes:
        dropped: results whose records were removed.
        kept: results that were kept.
        kept_bytes: bytes of their objects.
        freed: objects that were removed.
        freed_bytes: their bytes.
        waiting: objects without a record that are too young to be removed.
        waiting_bytes: their bytes.
        copies: downloaded copies that were removed.
        copies_bytes: their bytes.
        temporaries: unfinished writes of killed processes that were removed.
    """

    dropped: tuple[Dropped, ...] = ()
    kept: int = 0
    kept_bytes: int = 0
    freed: int = 0
    freed_bytes: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    copies: int = 0
    copies_bytes: int = 0
    temporaries: int = 0


def collect(
    project: Project,
    policy: Policy | None = None,
    *,
    dry_run: bool = False,
    at_once: bool = False,
    alone: bool = False,
    progress: Progress = silent,
    clock: Callable[[], float] = time.time,
) -> Collected:
    """Drop results, and remove objects, copies and temporary files that are not needed.

    Args:
        project: the project.
        policy: which results to drop in addition to expired ones.
        dry_run: only report what would be done.
        at_once: skip the grace period: only safe while no flow of the project runs anywhere.
        alone: confirm that no other machine uses the bucket under this project's id. Required for local records and
            remote objects, because the records of other machines are unknown here.
        progress: called with the progress.
        clock: returns the time, epoch seconds.

    Raises:
        BackendError: a store failed; call it again to go on.
        ConfigurationError: the bucket may be shared with records of other machines.
        FormatError: a newer release has written to the cache.
    """
    if project.settings.objects.is_shared and not project.settings.kv.is_shared and not alone:
        raise ConfigurationError(
            f"the objects are in {project.objects.describe()}, but the records on this machine: the objects that "
            "records of other machines need are unknown here. Keep the records in a store that machines share, such "
            "as Firestore (type: gcp), or pass --alone if no other machine uses that bucket under this project's id"
        )
    if not dry_run:
        project.outbox.deliver_orphans()
    # Before reading any record. Read the changes that wait for the KV store first: later they may be in it.
    began = clock()
    waiting = waiting_objects(project)
    entries = read_entries(project)
    progress("results", len(entries))
    dropped = tuple(_choose(project, entries, policy or Policy(), began))
    dropped_names = {item.entry.name for item in dropped}
    kept = [entry for entry in entries if entry.name not in dropped_names]
    doomed = [stored for item in dropped for stored in item.entry.stored]
    freed = unshared(doomed, (stored for entry in kept for stored in entry.stored))
    if not dry_run:
        if not at_once:
            refresh_objects(project, freed)
        remove_records(project, doomed, "collected")
        _forget_uses(project, kept, began)
    done = Collected(dropped=dropped, kept=len(kept))
    referenced: dict[str, int] = {key: size for entry in kept for key, size in entry.objects.items()}
    done.kept_bytes = sum(referenced.values())
    old = began if at_once else began - GRACE
    left = _Objects(project, done, progress, dry_run).remove(
        needed=waiting.union(referenced), spared=frozenset() if at_once else frozenset(freed), old=old
    )
    _local_files(project, policy or Policy(), left, done, old, dry_run=dry_run, now=began)
    return done


def _choose(project: Project, entries: list[Entry], policy: Policy, now: float) -> Iterator[Dropped]:
    """The results to drop."""
    left: list[Entry] = []
    place: Counter[str] = Counter()
    for entry in sorted(entries, key=lambda entry: entry.record.ended_at, reverse=True):
        expires = expiry(entry.record, project.settings.cache.ttl_of(entry.task))
        if expires is not None and expires <= now:
            yield Dropped(entry, "expired")
            continue
        place[entry.task] += 1
        if policy.older_than is not None and entry.record.ended_at <= now - policy.older_than.total_seconds():
            yield Dropped(entry, "old")
        elif policy.unused_for is not None and entry.used_at <= now - (policy.unused_for + DAY).total_seconds():
            yield Dropped(entry, "unused")
        elif policy.keep_last is not None and place[entry.task] > policy.keep_last:
            yield Dropped(entry, "not among the last")
        else:
            left.append(entry)
    if policy.max_size is not None:
        yield from _beyond_size(left, policy.max_size)


def _beyond_size(entries: list[Entry], most: int) -> Iterator[Dropped]:
    referring = Counter(key for entry in entries for key in entry.objects)
    total = sum({key: size for entry in entries for key, size in entry.objects.items()}.values())
    for entry in sorted(entries, key=lambda entry: entry.used_at):
        if total <= most:
            return
        if not entry.objects:
            continue
        yield Dropped(entry, "size")
        for key, size in entry.objects.items():
            referring[key] -= 1
            total -= 0 if referring[key] else size


def _forget_uses(project: Project, kept: list[Entry], now: float) -> None:
    known = {names.use_key(stored.kv_key) for entry in kept for stored in entry.stored}
    stale = [key for key, _ in tolerant_reads.scan(project.kv, names.USE_PREFIX) if key not in known]
    long_ago = now - _REMEMBERED.total_seconds()
    removed = tolerant_reads.scan(project.kv, names.REMOVED_PREFIX)
    stale += [key for key, value in removed if time_of(value) < long_ago]
    if stale:
        project.kv.delete_many(stale)


@dataclass(frozen=True, slots=True)
class _Objects:
    """The part of a collection that removes objects."""

    project: Project
    done: Collected
    progress: Progress
    dry_run: bool

    def remove(self, *, needed: set[str], spared: frozenset[str], old: float) -> set[str]:
        """Remove objects that are not needed and old enough; return the keys of the remaining ones.

        Args:
            needed: the objects that records refer to.
            spared: objects to keep, whatever their time.
            old: the time before which an object must have been written and refreshed.
        """
        left: set[str] = set()
        doomed: list[ObjectInfo] = []
        for count, info in enumerate(self.project.objects.list(names.CACHE_PREFIX), 1):
            self.progress("objects", count)
            if info.key in needed or names.content_digest(info.key) is None:
                left.add(info.key)
            elif info.key in spared or info.modified >= old:
                left.add(info.key)
                self._count_waiting(info)
            else:
                doomed.append(info)
        with ThreadPoolExecutor(PARALLEL) as pool:
            for info, removed in zip(doomed, pool.map(self._remove, doomed), strict=True):
                if removed:
                    self.done.freed += 1
                    self.done.freed_bytes += info.size
                else:
                    left.add(info.key)
        return left

    def _count_waiting(self, info: ObjectInfo) -> None:
        self.done.waiting += 1
        self.done.waiting_bytes += info.size

    def _remove(self, info: ObjectInfo) -> bool:
        return self.dry_run or self.project.objects.delete(info.key, stamp=info.stamp)


def _local_files(
    project: Project, policy: Policy, left: set[str], done: Collected, old: float, *, dry_run: bool, now: float
) -> None:
    """Remove copies of deleted or long unread objects, and unfinished writes."""
    unread = None if policy.unused_for is None else now - (policy.unused_for + DAY).total_seconds()
    for path, size in unused_copies(
        project.settings.objects, project.settings.place, left, written_before=old, read_before=unread
    ):
        if not dry_run:
            path.unlink(missing_ok=True)
        done.copies += 1
        done.copies_bytes += size
    if not dry_run:
        done.temporaries = sweep_temporaries(project.settings.objects, project.settings.place, GRACE)
