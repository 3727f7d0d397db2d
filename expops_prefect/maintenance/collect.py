"""Freeing space: which results go, and then the objects that no record refers to any more.

A flow may run beside it, on any machine. Nothing goes that a record refers to which is there or
still to come; :mod:`expops_prefect.stores.objects.gc_protection` says why. The objects of a result that is dropped
here stay for :data:`~expops_prefect.stores.objects.base.GRACE` seconds more, because a task may have read
its record a moment ago; the next collection after that frees them.
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
"""For how long it is remembered that a record was removed."""
DAY = timedelta(days=1)
"""How exactly the last use of a result is known: it may be so much later than was noted."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which results go: those to which anything applies that is given, and those that are expired.

    Attributes:
        older_than: computed so long ago or longer.
        unused_for: neither computed nor used for so long; known to the day, so up to a day later.
        keep_last: of each task, all but so many of the newest.
        max_size: those that were not used for longest, until manifests and payloads of the others
            have at most so many bytes together.
    """

    older_than: timedelta | None = None
    unused_for: timedelta | None = None
    keep_last: int | None = None
    max_size: int | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A result that goes, and why: ``expired``, ``old``, ``unused``, ``not among the last``, ``size``."""

    entry: Entry
    reason: str


@dataclass(slots=True)
class Collected:
    """What a collection did, or would do.

    Attributes:
        dropped: results whose records were removed.
        kept: results that stay.
        kept_bytes: bytes of their objects.
        freed: objects that were removed.
        freed_bytes: their bytes.
        waiting: objects that no record refers to but that are too young to go.
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
    """Drop results, and remove objects, copies and temporary files that nobody needs.

    Args:
        project: the project.
        policy: which results are dropped besides expired ones.
        dry_run: only say what would be done.
        at_once: wait for nobody: only right while no flow of the project runs anywhere.
        alone: no other machine uses the bucket under this project's id. Has to be said where the
            records are local and the objects are not: then those of others are not known here.
        progress: told how far it is.
        clock: tells the time, epoch seconds.

    Raises:
        BackendError: a store failed; start it again to go on.
        ConfigurationError: the bucket may be shared with records that are not known here.
        FormatError: a newer release has written to the cache.
    """
    if project.settings.objects.is_shared and not project.settings.kv.is_shared and not alone:
        raise ConfigurationError(
            f"the objects lie in {project.objects.describe()}, the records on this machine: which objects the records "
            "of other machines need is not known here. Keep the records in a store that machines share, such "
            "as Firestore (type: gcp), or pass --alone if no other machine uses that bucket under this project's id"
        )
    if not dry_run:
        project.outbox.deliver_orphans()
    # Before the first look at a record. What waits for the KV store is read first: later it may be there.
    began = clock()
    waiting = waiting_objects(project)
    entries = read_entries(project)
    progress("results", len(entries))
    dropped = tuple(_choose(project, entries, policy or Policy(), began))
    gone = {item.entry.name for item in dropped}
    kept = [entry for entry in entries if entry.name not in gone]
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
    """The results that go."""
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
        yield from _over_the_size(left, policy.max_size)


def _over_the_size(entries: list[Entry], most: int) -> Iterator[Dropped]:
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
    """The part of a collection that deals with objects."""

    project: Project
    done: Collected
    progress: Progress
    dry_run: bool

    def remove(self, *, needed: set[str], spared: frozenset[str], old: float) -> set[str]:
        """Remove what nobody needs and is old enough; the keys of what is there afterwards.

        Args:
            needed: what records refer to.
            spared: what is not old enough, whatever its time says.
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
                self._waits(info)
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

    def _waits(self, info: ObjectInfo) -> None:
        self.done.waiting += 1
        self.done.waiting_bytes += info.size

    def _remove(self, info: ObjectInfo) -> bool:
        return self.dry_run or self.project.objects.delete(info.key, stamp=info.stamp)


def _local_files(
    project: Project, policy: Policy, left: set[str], done: Collected, old: float, *, dry_run: bool, now: float
) -> None:
    """Remove copies of what is no longer there or was not read for long, and unfinished writes."""
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
