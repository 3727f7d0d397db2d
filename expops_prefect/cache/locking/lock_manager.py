"""Prefect's edge of the leases: a lock manager for transactions that are ``SERIALIZABLE``.

Prefect takes a lock before it looks for the result, ignores whether it got it, and gives it back
when the transaction commits or rolls back. So what cannot be locked, because the store is away, is
executed without a lock, and is told to be its holder.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import of_process
from expops_prefect.cache.locking import leases
from expops_prefect.cache.locking.leases import HeldLease, HeldLeases
from expops_prefect.cache.locking.waiting import Pauses, Steps, await_, wait
from expops_prefect.cache.session import session
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.project import Project

if TYPE_CHECKING:
    from prefect.locking.protocol import LockManager

_LIMIT: Final = 10_000


class _Holders:
    """The holders of this process that have no lease.

    Attributes:
        without: keys and holders that go on without a lock, the newest last.
        released: locks that were given back. Prefect 3.9 gives back twice what a returned failed state has rolled back.
    """

    def __init__(self) -> None:
        self.without: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.released: deque[tuple[str, str]] = deque(maxlen=1024)

    def go_on_without(self, key: str, holder: str) -> None:
        """Let a holder go on without a lock."""
        self.without[key, holder] = None
        if len(self.without) > _LIMIT:
            self.without.popitem(last=False)

    def in_forked_child(self) -> None:
        """A forked child goes on with nothing of its parent's."""
        self.without.clear()


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
        released = of_process(_Holders).released
        if _drop(key, holder):
            released.append((key, holder))
        elif (key, holder) not in released:
            raise ValueError(f"no lock held by {holder} for the transaction with key {key}")

    def is_locked(self, key: str) -> bool:
        """Whether somebody has the lock on a key."""
        if of_process(HeldLeases).of_key(key) is not None:
            return True
        try:
            return not self._look(self._project(key), key).free
        except ExpOpsPrefectError as error:
            _degraded("looked at", error)
            return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder has the lock on a key, or was let go on without one."""
        held = of_process(HeldLeases).find(key, holder)
        if held is None:
            return (key, holder) in of_process(_Holders).without
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
        holders = of_process(_Holders)
        with suppress(ValueError):
            holders.released.remove((key, holder))
        held = of_process(HeldLeases).find(key, holder)
        if (held is not None and held.renewing) or (key, holder) in holders.without:
            return True
        context = session().current(key)
        try:
            project = self._project(key)
            pauses = Pauses(project, key if context is None else context.label, context, timeout)
            try:
                while True:
                    view = self._look(project, key)
                    if view.free:
                        with project.kv_availability.watch():
                            held = leases.take(project, key, holder, view, hold_seconds=hold_seconds)
                    else:
                        held = _of_own_transaction(key, holder)
                    if held is not None:
                        if context is not None:
                            context.lease = held
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
            holders.go_on_without(key, holder)
            return True

    def _wait(self, key: str, timeout: float | None) -> Steps[bool]:
        try:
            project = self._project(key)
            pauses = Pauses(project, key, session().current(key), timeout)
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
        context = session().current(key)
        if self.project_root is None and context is not None:
            return context.project
        return Project.open(self.project_root)

    @staticmethod
    def _look(project: Project, key: str) -> leases.LeaseSnapshot:
        with project.kv_availability.watch():
            return leases.look(project, key)


def _drop(key: str, holder: str) -> bool:
    """Forget a holder; whether it was one."""
    without = of_process(_Holders).without.pop((key, holder), holder) is None
    held = of_process(HeldLeases).find(key, holder)
    if held is not None:
        held.give_back(holder)
    return without or held is not None


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


def _of_own_transaction(key: str, holder: str) -> HeldLease | None:
    """A lease that is held until the transaction around commits: waiting for it would last for ever."""
    for transaction, _ in _transactions():
        held = of_process(HeldLeases).find(key, transaction._holder)
        if held is not None and held.renewing:
            of_process(HeldLeases).add(held, holder)
            return held
    return None


def _give_back_finished() -> None:
    """Nobody waits for a task that has ended, and whose result only waits for the transaction around.

    Two transactions that take the same keys in another order would wait for each other for ever.
    """
    for transaction, ended in _transactions():
        if ended:
            for key in of_process(HeldLeases).keys_of(transaction._holder):
                _drop(key, transaction._holder)
                of_process(_Holders).go_on_without(key, transaction._holder)


def _degraded(what: str, error: ExpOpsPrefectError) -> None:
    """A store that is away locks nothing; that is said once, not for each key."""
    degrade(f"locks not {what}", f"{error}; the task goes on without")


if TYPE_CHECKING:
    _conforms: LockManager = ExpOpsLockManager()
