"""Stores that fail on purpose: wrappers that pass on every call, except those that a plan lets fail."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from expops_prefect._internal.process import ForkSafeLock
from expops_prefect.errors import BackendError, KVError, ObjectStoreError
from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint, Versioned
from expops_prefect.stores.objects.base import Buffer, ObjectInfo, ObjectStore

T = TypeVar("T")

Kind = Literal["fails", "full disk", "truncated", "corrupted"]
WRITES: Final = frozenset(
    {
        *("put", "put_many", "create", "compare_and_set", "update", "delete", "delete_many"),
        *("increment", "append_metrics", "refresh", "ping"),
    }
)
SPOILED: Final = frozenset({"put", "create", "get"})
_counting = ForkSafeLock()


@dataclass
class Faults:
    """Which calls fail.

    Attributes:
        down: every call fails.
        nth: this call (1-based) fails, counting only calls that can fail in this way.
        kind: how it fails. ``full disk``: this write and all later ones fail; ``truncated`` and ``corrupted``: half
            of an object, or an object with one byte changed, is silently stored or read.
        after: whether a failing call takes effect first.
        delay: extra seconds for every call.
        calls: the names of the calls so far.
        struck: the names of the calls that failed.
    """

    down: bool = False
    nth: int | None = None
    kind: Kind = "fails"
    after: bool = False
    delay: float = 0.0
    calls: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)

    def run(
        self,
        name: str,
        call: Callable[[], T],
        error: type[BackendError],
        spoil: Callable[[T], T] | None = None,
    ) -> T:
        """Make a call, or fail it.

        Args:
            name: the call's name.
            call: makes it.
            error: the exception to raise on failure.
            spoil: damages what the call stored or read.
        """
        strikes = self._strikes(name)
        if self.delay:
            time.sleep(self.delay)
        if strikes and self.kind == "full disk":
            full = error(f"{name} fails on purpose").for_long()
            raise full from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if strikes and spoil is not None and self.kind in ("truncated", "corrupted"):
            return spoil(call())
        if strikes and not self.after:
            raise error(f"{name} fails on purpose")
        result = call()
        if strikes:
            raise error(f"{name} fails on purpose after it took effect")
        return result

    @property
    def counted(self) -> int:
        """How many calls so far could fail in this way."""
        return sum(self._can_strike(name) for name in self.calls)

    def _can_strike(self, name: str) -> bool:
        return self.kind == "fails" or name in (WRITES if self.kind == "full disk" else SPOILED)

    def _strikes(self, name: str) -> bool:
        with _counting:
            self.calls.append(name)
            strikes = self.down
            if self.nth is not None and self._can_strike(name):
                strikes = strikes or self.counted == self.nth
                strikes = strikes or (self.kind == "full disk" and self.counted > self.nth)
            if strikes:
                self.struck.append(name)
        return strikes

    def damaged(self, data: bytes) -> bytes:
        """Bytes with this kind of damage."""
        middle = len(data) // 2
        if self.kind == "truncated" or not data:
            return data[:middle]
        return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


class FaultyKV:
    """A KV store that fails as planned."""

    def __init__(self, inner: KVStore, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults

    def _run(self, name: str, call: Callable[[], T]) -> T:
        return self.faults.run(name, call, KVError)

    def get(self, key: str) -> JSON | None:
        return self._run("get", lambda: self.inner.get(key))

    def get_many(self, keys: Sequence[str]) -> dict[str, JSON]:
        return self._run("get_many", lambda: self.inner.get_many(keys))

    def get_versioned(self, key: str) -> Versioned | None:
        return self._run("get_versioned", lambda: self.inner.get_versioned(key))

    def put(self, key: str, value: JSON) -> None:
        self._run("put", lambda: self.inner.put(key, value))

    def put_many(self, values: Mapping[str, JSON]) -> None:
        self._run("put_many", lambda: self.inner.put_many(values))

    def create(self, key: str, value: JSON) -> bool:
        return self._run("create", lambda: self.inner.create(key, value))

    def compare_and_set(self, key: str, version: str, value: JSON) -> bool:
        return self._run("compare_and_set", lambda: self.inner.compare_and_set(key, version, value))

    def update(self, key: str, change: Callable[[JSON | None], JSON]) -> JSON:
        return self._run("update", lambda: self.inner.update(key, change))

    def delete(self, key: str) -> bool:
        return self._run("delete", lambda: self.inner.delete(key))

    def delete_many(self, keys: Sequence[str]) -> int:
        return self._run("delete_many", lambda: self.inner.delete_many(keys))

    def increment(self, key: str, amount: int = 1, *, token: str | None = None) -> int:
        return self._run("increment", lambda: self.inner.increment(key, amount, token=token))

    def append_metrics(self, key: str, points: Iterable[MetricPoint]) -> None:
        self._run("append_metrics", lambda: self.inner.append_metrics(key, points))

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        return self._run("scan", lambda: self.inner.scan(prefix, after=after, limit=limit))

    def ping(self) -> None:
        self._run("ping", self.inner.ping)

    def close(self) -> None:
        self.inner.close()

    def describe(self) -> str:
        return self.inner.describe()


class FaultyObjects:
    """An object store that fails as planned."""

    def __init__(self, inner: ObjectStore, faults: Faults) -> None:
        self.inner = inner
        self.faults = faults

    def _run(self, name: str, call: Callable[[], T], spoil: Callable[[T], T] | None = None) -> T:
        return self.faults.run(name, call, ObjectStoreError, spoil)

    def _spoil(self, key: str, stored: T) -> T:
        """Damage an object after its writer got its stamp."""
        data = self.inner.get(key)
        if data is not None:
            self.inner.put(key, [self.faults.damaged(data)], read_only=True)
        return stored

    def put(self, key: str, parts: Sequence[Buffer], *, read_only: bool = False) -> ObjectInfo:
        return self._run(
            "put", lambda: self.inner.put(key, parts, read_only=read_only), lambda stored: self._spoil(key, stored)
        )

    def create(
        self, key: str, parts: Sequence[Buffer], *, read_only: bool = False, flush: bool = True
    ) -> ObjectInfo | None:
        return self._run(
            "create",
            lambda: self.inner.create(key, parts, read_only=read_only, flush=flush),
            lambda stored: self._spoil(key, stored),
        )

    def get(self, key: str) -> bytes | None:
        return self._run(
            "get", lambda: self.inner.get(key), lambda data: None if data is None else self.faults.damaged(data)
        )

    def stat(self, key: str) -> ObjectInfo | None:
        return self._run("stat", lambda: self.inner.stat(key))

    def refresh(self, key: str) -> ObjectInfo | None:
        return self._run("refresh", lambda: self.inner.refresh(key))

    def delete(self, key: str, *, stamp: str | None = None) -> bool:
        return self._run("delete", lambda: self.inner.delete(key, stamp=stamp))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._run("list", lambda: self.inner.list(prefix))

    def path(self, key: str) -> Path | None:
        return self.inner.path(key)

    def fetch(self, key: str) -> Path | None:
        return self._run("fetch", lambda: self.inner.fetch(key))

    def uri(self, key: str) -> str:
        return self.inner.uri(key)

    def ping(self) -> None:
        self._run("ping", self.inner.ping)

    def close(self) -> None:
        self.inner.close()

    def describe(self) -> str:
        return self.inner.describe()


if TYPE_CHECKING:
    _kv: type[KVStore] = FaultyKV
    _objects: type[ObjectStore] = FaultyObjects
