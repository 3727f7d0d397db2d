"""Prefect's edge of the leases: a lock manager for transactions that are ``SERIALIZABLE``.

Prefect takes a lock before it looks for the result, ignores whether it got it, and gives it back
when the transaction commits or rolls back. So what cannot be locked, because the store is away, is
executed without a lock, and is told to be its holder.
"""

from __future__ import annotations

import os
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.forks import ForkSafeLock
from expops_prefect.cache import attempts
from expops_prefect.cache.locking import leases
from expops_prefect.cache.locking.leases import Held
from expops_prefect.cache.locking.waiting import Pauses, Steps, await_, wait
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.project import Project

if TYPE_CHECKING:
    from prefect.locking.protocol import LockManager

_LIMIT: Final = 10_000
_lock = ForkSafeLock()
_released: Final[deque[tuple[str, str]]] = deque(maxlen=1024)
"""Locks that were given back: Prefect 3.9 gives back twice what a returned failed state has rolled back."""
_without: OrderedDict[tuple[str, str], None] = OrderedDict()
"""Keys and holders that go on without a lock."""


@dataclass(frozen=True)
class ExpOpsLockManager:
    """Locks in the project's KV store: leases, renewed by the process that holds them.

    A holder that is killed keeps nobody waiting for longer than ``prefect.cache.lease_seconds``. Inside
    one transaction a key is locked once, however often it is asked for.

    Attributes:
        project_root: the project's root folder. Without it, the project of the task run that asks, else as
            ``EXPOPS_PROJECT_ROOT`` says, else found from the current folder.

    Example:
        ```python
        from prefect import task
        from prefect.transactions import IsolationLevel
        from expops_prefect import EXPOPS, ExpOpsLockManager

        policy = EXPOPS.configure(isolation_level=IsolationLevel.SERIALIZABLE, lock_manager=ExpOpsLockManager())

        @task(cache_policy=policy)
        def train(rows):
            ...
        ```
    """

    project_root: str | None = None

    def acquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """Take the lock on a key, waiting for whoever has it.

        Args:
            key: the transaction key.
            holder: who takes it; no two ever use the same name.
            acquire_timeout: seconds to wait at most; 0 not to wait; ``None`` for no limit.
            hold_timeout: seconds after which it is given back of itself; ``None`` for never.

        Returns:
            Whether the holder may go on. That is so without a lock too, if the store is away.
        """
        return wait(self._acquire(key, holder, acquire_timeout, hold_timeout))

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The async form of :meth:`acquire_lock`; it occupies no thread while it waits."""
        steps = self._acquire(key, holder, acquire_timeout, hold_timeout)
        return await await_(steps, lambda: _drop(key, holder))

    def release_lock(self, key: str, holder: str) -> None:
        """Give a lock back.

        Args:
            key: the transaction key.
            holder: who took it.

        Raises:
            ValueError: that holder does not have it.
        """
        if _drop(key, holder):
            _released.append((key, holder))
        elif (key, holder) not in _released:
            raise ValueError(f"no lock held by {holder} for the transaction with key {key}")

    def is_locked(self, key: str) -> bool:
        """Whether somebody has the lock on a key."""
        if leases.held_here(key) is not None:
            return True
        try:
            return not self._look(self._project(key), key).free
        except ExpOpsPrefectError as error:
            _degraded("looked at", error)
            return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder has the lock on a key, or was let go on without one."""
        held = leases.find(key, holder)
        if held is None:
            return (key, holder) in _without
        try:
            return held.holds()
        except ExpOpsPrefectError as error:
            _degraded("looked at", error)
            return True

    def wait_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """Wait until a key is free.

        Args:
            key: the transaction key.
            timeout: seconds to wait at most; ``None`` for no limit.

        Returns:
            Whether it became free in time.
        """
        return wait(self._wait(key, timeout))

    async def await_for_lock(self, key: str, timeout: float | None = None) -> bool:
        """The async form of :meth:`wait_for_lock`; it occupies no thread while it waits."""
        return await await_(self._wait(key, timeout))

    def _acquire(self, key: str, holder: str, timeout: float | None, hold_seconds: float | None) -> Steps[bool]:
        with suppress(ValueError):
            _released.remove((key, holder))
        held = leases.find(key, holder)
        if (held is not None and held.renewing) or (key, holder) in _without:
            return True
        attempt = attempts.current(key)
        try:
            project = self._project(key)
            pauses = Pauses(project, key if attempt is None else attempt.label, attempt, timeout)
            try:
                while True:
                    view = self._look(project, key)
                    if view.free:
                        with project.kv_availability.watch():
                            held = leases.take(project, key, holder, view, hold_seconds=hold_seconds)
                    else:
                        held = _of_own_transaction(key, holder)
                    if held is not None:
                        if attempt is not None:
                            attempt.lease = held
                        return True
                    if not pauses.waited:
                        _give_back_finished()
                    pause = pauses.next(view)
                    if pause is None:
                        return False
                    yield pause
            finally:
                pauses.over()
        except ExpOpsPrefectError as error:
            _degraded("taken", error)
            _go_on_without(key, holder)
            return True

    def _wait(self, key: str, timeout: float | None) -> Steps[bool]:
        try:
            project = self._project(key)
            pauses = Pauses(project, key, attempts.current(key), timeout)
            try:
                while True:
                    view = self._look(project, key)
                    if view.free:
                        return True
                    pause = pauses.next(view)
                    if pause is None:
                        return False
                    yield pause
            finally:
                pauses.over()
        except ExpOpsPrefectError as error:
            _degraded("looked at", error)
            return True

    def _project(self, key: str) -> Project:
        attempt = attempts.current(key)
        if self.project_root is None and attempt is not None:
            return attempt.project
        return Project.open(self.project_root)

    @staticmethod
    def _look(project: Project, key: str) -> leases.View:
        with project.kv_availability.watch():
            return leases.look(project, key)


def _drop(key: str, holder: str) -> bool:
    """Forget a holder; whether it was one."""
    with _lock:
        without = _without.pop((key, holder), holder) is None
    held = leases.find(key, holder)
    if held is not None:
        held.give_back(holder)
    return without or held is not None


def _go_on_without(key: str, holder: str) -> None:
    with _lock:
        _without[key, holder] = None
        if len(_without) > _LIMIT:
            _without.popitem(last=False)


def _transactions() -> Iterator[tuple[Any, bool]]:
    """The transactions around the one that is about to begin, and those that ended in them (``True``)."""
    from prefect.transactions import get_transaction

    def ended(transaction: Any) -> Iterator[tuple[Any, bool]]:
        for child in transaction.children:
            yield child, True
            yield from ended(child)

    transaction: Any = get_transaction()
    while transaction is not None:
        yield transaction, False
        yield from ended(transaction)
        transaction = transaction.get_parent()


def _of_own_transaction(key: str, holder: str) -> Held | None:
    """A lease that is held until the transaction around commits: waiting for it would last for ever."""
    for transaction, _ in _transactions():
        held = leases.find(key, transaction._holder)
        if held is not None and held.renewing:
            leases.share(held, holder)
            return held
    return None


def _give_back_finished() -> None:
    """Nobody waits for a task that has ended, and whose result only waits for the transaction around.

    Two transactions that take the same keys in another order would wait for each other for ever.
    """
    for transaction, ended in _transactions():
        if ended:
            for key in leases.keys_of(transaction._holder):
                _drop(key, transaction._holder)
                _go_on_without(key, transaction._holder)


def _degraded(what: str, error: ExpOpsPrefectError) -> None:
    """A store that is away locks nothing; that is said once, not for each key."""
    degrade(f"locks not {what}", f"{error}; the task goes on without")


def _reset() -> None:
    """A forked child goes on with nothing of its parent's."""
    _without.clear()


os.register_at_fork(after_in_child=_reset)

if TYPE_CHECKING:
    _conforms: LockManager = ExpOpsLockManager()
