"""Leases: the right to compute a key, across machines, which expires if its holder dies.

A lease is one value in the project's KV store. Its holder renews it every third of its length, in a
thread of its process. No clocks are compared: a waiting process takes the lease over, under a greater
token, once it has not changed for its whole length by that process's own monotonic clock. A holder that
was paused for longer finds another token when it resumes, and does not publish its result.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.cache.locking.renewal import Renewer
from expops_prefect.errors import BackendError, LeaseLostError
from expops_prefect.models import names, record_format
from expops_prefect.project import Project
from expops_prefect.stores.kv.base import JSON, Versioned

LEASE_FORMAT: Final = 1
BEATS: Final = 3
"""Renewals per length of a lease."""
_RETRIES: Final = 10
"""After a failure, the renewal is tried again after one part in this many of the lease's length."""
_LIMIT: Final = 10_000
_HOST: Final = socket.gethostname()


@dataclass(frozen=True, slots=True)
class Lease:
    """The value in the KV store.

    Attributes:
        holder: the name of the holder; empty if it was released.
        token: greater with every acquisition.
        beat: the number of renewals, so that every renewal changes the value.
        seconds: its length.
        expires: when it expires unless renewed, epoch seconds of the holder's clock; for people only.
        host, pid: the holder's process.
        format: the version of the format.
    """

    holder: str
    token: int
    beat: int
    seconds: float
    expires: float
    host: str
    pid: int
    format: int = LEASE_FORMAT

    @classmethod
    def load(cls, value: JSON) -> Lease:
        """Read the JSON form.

        Raises:
            FormatError: not a lease, or written by a newer release.
        """
        return record_format.load(cls, value, "lease", LEASE_FORMAT)


@dataclass(frozen=True, slots=True)
class LeaseSnapshot:
    """One reading of a lease.

    Attributes:
        free: whether it can be taken now.
        version: the version to replace; ``None`` if there is no lease.
        lease: the lease; ``None`` likewise.
        left: seconds until it can be taken, if it is not renewed.
    """

    free: bool
    version: str | None
    lease: Lease | None
    left: float = 0.0


class HeldLease:
    """A lease of this process, renewed until it is released or lost.

    Args:
        project: the project whose KV store keeps it.
        key: the transaction key.
        lease: the lease as it was written.
        sure_until: until when no other process can have taken it over, monotonic seconds.
        hold_until: when it is released automatically; ``None`` for never.
        gone: whether its task run has ended without releasing it.
    """

    failing = "leases not renewed"

    def __init__(
        self,
        project: Project,
        key: str,
        lease: Lease,
        sure_until: float,
        hold_until: float | None,
        gone: Callable[[], bool] | None,
    ) -> None:
        self.project = project
        self.key = key
        self.lease = lease
        self.holders = {lease.holder}
        self.lost = False
        self.due = 0.0
        self._name = names.lease_key(key)
        self._sure_until = sure_until
        self._hold_until = hold_until
        self._gone = gone
        self._over = False
        self._lock = threading.Lock()
        self._plan(lease.seconds / BEATS)

    def check(self) -> None:
        """Make sure that no other process has taken the lease over.

        Raises:
            LeaseLostError: another process has.
            KVError: the KV store failed.
        """
        with self._lock:
            if not self.lost and not self._over:
                self._is_mine(self.project.kv.get(self._name))
            if self.lost:
                raise LeaseLostError(
                    "this process could not renew its lease in time, so another one took it over and computes the same "
                    "result, or has computed it; that result is the cached one"
                )

    def holds(self) -> bool:
        """Whether this process certainly still holds the lease; asks the store only after a missed renewal.

        Raises:
            KVError: the KV store failed.
        """
        with self._lock:
            if self._over or self.lost:
                return False
            return time.monotonic() < self._sure_until or self._is_mine(self.project.kv.get(self._name))

    def beat(self) -> None:
        """Renew the lease, or release it if its time is over or its task run has ended."""
        ended = self._hold_until is not None and time.monotonic() >= self._hold_until
        if ended or (self._gone is not None and self._gone()):
            self.end()
            return
        with self._lock:
            if self._over or self.lost:
                return
            try:
                with self.project.kv_availability.watch():
                    renewed = self._renew()
            except BackendError as error:
                degrade("leases not renewed", f"{error}; others may compute the same results meanwhile")
                renewed = False
            self._plan(self.lease.seconds / (BEATS if renewed else _RETRIES))

    def give_back(self, holder: str) -> None:
        """Release the lease for one holder; after the last one it is free. Safe to repeat."""
        if not of_process(HeldLeases).drop(self, holder):
            self.end()

    def end(self) -> None:
        """Free the lease for all its holders in this process."""
        with self._lock:
            if self._over:
                return
            self._over = True
            of_process(HeldLeases).drop_all(self)
            try:
                if not self.lost:
                    self._free()
            except BackendError as error:
                degrade("leases not given back", f"{error}; they expire after {self.lease.seconds:g} s")
        of_process(HeldLeases).heartbeat.wake()

    def give_up(self) -> None:
        """Mark the lease as lost: it cannot be renewed, and others may take it over."""
        self.lost = True

    @property
    def renewing(self) -> bool:
        """Whether the lease still has to be renewed."""
        return not self._over and not self.lost

    def _renew(self) -> bool:
        started = time.monotonic()
        found = self.project.kv.get_versioned(self._name)
        if not self._is_mine(None if found is None else found.value):
            return False
        assert found is not None
        renewed = replace(self.lease, beat=self.lease.beat + 1, expires=time.time() + self.lease.seconds)
        if self.project.kv.compare_and_set(self._name, found.version, asdict(renewed)):
            self.lease, self._sure_until = renewed, started + renewed.seconds
            return True
        return False

    def _free(self) -> None:
        with self.project.kv_availability.watch():
            if self._sure_until - time.monotonic() > self.lease.seconds / 2:
                # No process can have taken it over yet, so delete it without reading it first.
                self.project.kv.delete(self._name)
                return
            found = self.project.kv.get_versioned(self._name)
            if found is not None and self._is_mine(found.value):
                self.project.kv.compare_and_set(self._name, found.version, asdict(replace(self.lease, holder="")))

    def _is_mine(self, value: JSON | None) -> bool:
        mine = isinstance(value, dict) and (value.get("holder"), value.get("token")) == (
            self.lease.holder,
            self.lease.token,
        )
        self.lost = not mine
        return mine

    def _plan(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds
        if self._hold_until is not None:
            self.due = min(self.due, self._hold_until)


def look(project: Project, key: str) -> LeaseSnapshot:
    """Read a lease and tell whether it can be taken: free, or not renewed for its whole length.

    Raises:
        KVError: the KV store failed.
        FormatError: it was written by a newer release.
    """
    name = names.lease_key(key)
    before = time.monotonic()
    found = project.kv.get_versioned(name)
    if found is None:
        return LeaseSnapshot(free=True, version=None, lease=None)
    lease = Lease.load(found.value)
    unchanged = before - of_process(HeldLeases).first_seen(f"{project.kv.describe()}|{name}", found)
    left = max(0.0, lease.seconds - unchanged) if lease.holder else 0.0
    return LeaseSnapshot(not left, found.version, lease, left)


def take(
    project: Project,
    key: str,
    holder: str,
    view: LeaseSnapshot,
    *,
    hold_seconds: float | None = None,
    gone: Callable[[], bool] | None = None,
) -> HeldLease | None:
    """Take a lease that was free; ``None`` if another holder was faster.

    Args:
        project: the project whose KV store keeps it.
        key: the transaction key.
        holder: a unique name for the holder.
        view: what :func:`look` returned.
        hold_seconds: seconds after which it is released automatically.
        gone: whether the holder has ended without releasing it.

    Raises:
        KVError: the KV store failed.
    """
    name = names.lease_key(key)
    started = time.monotonic()
    seconds = float(project.settings.cache.lease_seconds)
    if hold_seconds is not None:
        seconds = min(seconds, hold_seconds)
    # The time makes tokens grow even after a lease was deleted; it is essential only that no two are equal.
    token = max(time.time_ns(), 0 if view.lease is None else view.lease.token + 1)
    lease = Lease(holder, token, 0, seconds, time.time() + seconds, _HOST, os.getpid())
    if view.version is None:
        taken = project.kv.create(name, asdict(lease))
    else:
        taken = project.kv.compare_and_set(name, view.version, asdict(lease))
    if not taken:
        return None
    hold_until = None if hold_seconds is None else started + hold_seconds
    held = HeldLease(project, key, lease, started + seconds, hold_until, gone)
    here = of_process(HeldLeases)
    here.add(held, holder)
    here.heartbeat.add(held)
    return held


class HeldLeases:
    """The leases that this process holds, by key and holder. Take it as ``of_process(HeldLeases)``."""

    def __init__(self) -> None:
        self.heartbeat = Renewer()
        self._lock = ForkSafeLock()
        self._held: dict[tuple[str, str], HeldLease] = {}
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def add(self, held: HeldLease, holder: str) -> None:
        """Add a holder to a lease."""
        with self._lock:
            held.holders.add(holder)
            self._held[held.key, holder] = held

    def drop(self, held: HeldLease, holder: str) -> bool:
        """Remove a holder from a lease; return whether it has others."""
        with self._lock:
            self._held.pop((held.key, holder), None)
            held.holders.discard(holder)
            return bool(held.holders)

    def drop_all(self, held: HeldLease) -> None:
        """Remove all holders of a lease."""
        with self._lock:
            for holder in held.holders:
                self._held.pop((held.key, holder), None)

    def find(self, key: str, holder: str) -> HeldLease | None:
        """The lease that a holder took, even if it was lost since."""
        return self._held.get((key, holder))

    def of_key(self, key: str) -> HeldLease | None:
        """The lease on a key that this process holds."""
        with self._lock:
            return next((held for (name, _), held in self._held.items() if name == key and held.renewing), None)

    def keys_of(self, holder: str) -> list[str]:
        """The keys whose leases a holder holds."""
        with self._lock:
            return [key for key, name in self._held if name == holder]

    def first_seen(self, place: str, found: Versioned) -> float:
        """When this process first saw that version of a lease, monotonic seconds.

        Args:
            place: its store and key.
            found: the current version.
        """
        now = time.monotonic()
        with self._lock:
            version, since = self._seen.get(place, ("", now))
            if version != found.version:
                since = now
            self._seen[place] = found.version, since
            self._seen.move_to_end(place)
            if len(self._seen) > _LIMIT:
                self._seen.popitem(last=False)
        return since

    def in_forked_child(self) -> None:
        """Forget the parent's leases in a forked child."""
        self.heartbeat.in_forked_child()
        self._held.clear()
        self._seen.clear()
