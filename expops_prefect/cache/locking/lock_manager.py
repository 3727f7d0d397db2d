"""The lock manager for Prefect's ``SERIALIZABLE`` transactions, built on leases.

Prefect takes a lock before it looks for the result, ignores whether it got it, and releases it when
the transaction commits or rolls back. If the store cannot be reached, the task is therefore executed
without a lock, and Prefect is told that it holds one.
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
        released: released locks. Prefect 3.9 releases a lock twice if a returned failed state rolled it back.
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
        """Forget the parent's holders in a forked child."""
        self.without.clear()


@dataclass(frozen=True)
class ExpOpsLockManager:
    """Locks in the project's KV store: leases, renewed by the process that holds them.

    The lock of a killed holder expires after ``prefect.cache.lease_seconds``. Inside one transaction a key
    is locked only once.

    Attributes:
        project_root: the project's root folder. Default: the project of the task run that takes the lock, else
            ``EXPOPS_PROJECT_ROOT``, else found from the current folder.

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
        """Take the lock on a key; wait while another holder has it.

        Args:
            key: the transaction key.
            holder: a unique name for the holder.
            acquire_timeout: seconds to wait at most; 0 not to wait; ``None`` for no limit.
            hold_timeout: seconds after which it is released automatically; ``None`` for never.

        Returns:
            Whether the holder may go on; also true, without a lock, if the store cannot be reached.
        """
        return wait(self._acquire(key, holder, acquire_timeout, hold_timeout))

    async def aacquire_lock(
        self, key: str, holder: str, acquire_timeout: float | None = None, hold_timeout: float | None = None
    ) -> bool:
        """The async form of :meth:`acquire_lock`; it blocks no thread while it waits."""
        steps = self._acquire(key, holder, acquire_timeout, hold_timeout)
        return await await_(steps, lambda: _drop(key, holder))

    def release_lock(self, key: str, holder: str) -> None:
        """Release a lock.

        Args:
            key: the transaction key.
            holder: the name of the holder.

        Raises:
            ValueError: the holder does not have the lock.
        """
        released = of_process(_Holders).released
        if _drop(key, holder):
            released.append((key, holder))
        elif (key, holder) not in released:
            raise ValueError(f"no lock held by {holder} for the transaction with key {key}")

    def is_locked(self, key: str) -> bool:
        """Whether the lock on a key is held."""
        if of_process(HeldLeases).of_key(key) is not None:
            return True
        try:
            return not self._look(self._project(key), key).free
        except ExpOpsPrefectError as error:
            _degraded("looked at", error)
            return False

    def is_lock_holder(self, key: str, holder: str) -> bool:
        """Whether this holder has the lock on a key, or was allowed to go on without it."""
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
        """The async form of :meth:`wait_for_lock`; it blocks no thread while it waits."""
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
    """Forget a holder; return whether it was known."""
    without = of_process(_Holders).without.pop((key, holder), holder) is None
    held = of_process(HeldLeases).find(key, holder)
    if held is not None:
        held.give_back(holder)
    return without or held is not None


def _transactions() -> Iterator[tuple[Any, bool]]:
    """The transactions around the one that is about to begin, and those that have ended inside them (``True``)."""
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
    """The key's lease if a surrounding transaction holds it: waiting for it would be a deadlock."""
    for transaction, _ in _transactions():
        held = of_process(HeldLeases).find(key, transaction._holder)
        if held is not None and held.renewing:
            of_process(HeldLeases).add(held, holder)
            return held
    return None


def _give_back_finished() -> None:
    """Release the leases of ended tasks whose results are committed later, by a surrounding transaction.

    Otherwise two transactions that take the same keys in different orders would deadlock.
    """
    for transaction, ended in _transactions():
        if ended:
            for key in of_process(HeldLeases).keys_of(transaction._holder):
                _drop(key, transaction._holder)
                of_process(_Holders).go_on_without(key, transaction._holder)


def _degraded(what: str, error: ExpOpsPrefectError) -> None:
    """Report once, not for each key, that a store cannot be reached."""
    degrade(f"locks not {what}", f"{error}; the task goes on without a lock")


if TYPE_CHECKING:
    _conforms: LockManager = ExpOpsLockManager()
