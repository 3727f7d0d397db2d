"""The task runs of a process that have a cache key.

A task run is found by its id. A later commit, inside a parent's transaction, is found by its key.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.cache.context import CacheContext, gone

if TYPE_CHECKING:
    from prefect.client.schemas.objects import TaskRun

_LIMIT: Final = 20_000
"""Task runs remembered at most, whether they have ended or not."""
K = TypeVar("K")


class _Bounded(OrderedDict[K, CacheContext]):
    """The newest contexts; older ones are forgotten."""

    def __setitem__(self, key: K, value: CacheContext) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > _LIMIT:
            self.popitem(last=False)


class Session:
    """What the cache knows of this process's task runs; see :func:`session`."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._by_task_run: _Bounded[UUID] = _Bounded()
        self._by_key: _Bounded[str] = _Bounded()
        # Finalizers may append in any thread at any time, so it is emptied elsewhere, under the lock.
        self._gone: deque[UUID] = deque()

    def add(self, context: CacheContext) -> None:
        """Make a context findable by its task run and by its key."""
        with self._lock:
            self._forget_gone()
            self._by_task_run[context.task_run_id] = context
            self._by_key[context.key] = context

    def forget_with(self, task_run: TaskRun) -> None:
        """Forget a context when its task run is garbage-collected: no hook of ours reports its end."""
        weakref.finalize(task_run, self._gone.append, task_run.id).atexit = False

    def _forget_gone(self) -> None:
        while self._gone:
            context = self._by_task_run.pop(self._gone.popleft(), None)
            if context is not None and self._by_key.get(context.key) is context:
                del self._by_key[context.key]

    def of_task_run(self, task_run_id: UUID) -> CacheContext | None:
        """The context of a task run of this process."""
        return self._by_task_run.get(task_run_id)

    def current(self, key: str) -> CacheContext | None:
        """The context of the task run that is active here, if ``key`` is its key."""
        from prefect.context import TaskRunContext

        active = TaskRunContext.get()
        context = None if active is None else self._by_task_run.get(active.task_run.id)
        return context if context is not None and context.key == key else None

    def of_key(self, key: str) -> CacheContext | None:
        """The newest context under a key: the active task run's, else the last one of this process."""
        return self.current(key) or self._by_key.get(key)

    def ended(self, task_run_id: UUID) -> CacheContext | None:
        """Forget a task run that has ended, but not its key if its parent's transaction may commit it later."""
        with self._lock:
            context = self._by_task_run.pop(task_run_id, None)
        if context is not None:
            if context.hit is not None:
                self.committed(context)
            context.end(commits_later=self._by_key.get(context.key) is context)
        return context

    def forget(self, task_run_id: UUID) -> None:
        """Forget a task run that was looked up and does not go on."""
        with self._lock:
            context = self._by_task_run.pop(task_run_id, None)
            if context is not None and self._by_key.get(context.key) is context:
                del self._by_key[context.key]

    def committed(self, context: CacheContext) -> None:
        """Forget a key under which nothing more will be written."""
        with self._lock:
            if self._by_key.get(context.key) is context:
                del self._by_key[context.key]
        context.task_run = gone
        context.returned = None

    def __len__(self) -> int:
        """How many task runs are known."""
        with self._lock:
            self._forget_gone()
        return len({*map(id, self._by_task_run.values()), *map(id, self._by_key.values())})

    def in_forked_child(self) -> None:
        """A forked child has no task runs yet."""
        self._by_task_run.clear()
        self._by_key.clear()


def session() -> Session:
    """The session of this process."""
    return of_process(Session)
