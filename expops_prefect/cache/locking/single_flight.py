"""Single flight: of all task runs that want one result, on any machine, one computes it and the others take it.

The isolation level of a transaction is read before the key is computed, so a project's configuration
cannot set it there. Here the lease is taken where Prefect asks our key storage for the result, and
only after a miss: a hit takes no lease.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache.context import CacheContext
from expops_prefect.cache.locking import leases
from expops_prefect.cache.locking.waiting import Pauses, Steps
from expops_prefect.cache.session import session
from expops_prefect.errors import ExpOpsPrefectError

T = TypeVar("T")

_END: Final = "_expops_record_flight_end"


def wanted(context: CacheContext | None) -> bool:
    """Whether a task run that misses has to see who else computes its result."""
    return (
        context is not None
        and context.cache_key is not None
        and context.lease is None
        and context.project.settings.cache.single_flight
    )


def acquire_or_wait(context: CacheContext, look: Callable[[], T | None]) -> Steps[T | None]:
    """Wait until a result is there, or until it is this task run's turn to compute it.

    Args:
        context: the task run; the lease is noted there.
        look: looks for the result.

    Returns:
        The result; ``None`` if the task is to be executed.
    """
    project, key, holder = context.project, context.key, context.holder
    pauses = Pauses(project, context.label or context.key, context, None)
    try:
        held = None
        while held is None:
            with project.kv_availability.watch():
                view = leases.look(project, key)
            if view.free:
                found = look() if pauses.waited else None
                if found is not None:
                    return found
                with project.kv_availability.watch():
                    held = leases.take(project, key, holder, view, gone=lambda: _crashed(context))
            if held is None:
                yield pauses.next(view) or 0.0
        context.lease = held
    except ExpOpsPrefectError as error:
        degrade("leases not taken", f"{error}; the task is executed, whoever else computes the same result")
        return None
    finally:
        pauses.over()
    # Whoever held it before may have published in between.
    found = look()
    if found is not None:
        context.release_lease()
    return found


def release_at_end(task: Any) -> None:
    """Give the lease back at the end of a task that Prefect's own decorator made: no wrapper of ours does."""
    for kind in ("completion", "failure"):
        hooks = getattr(task, f"on_{kind}_hooks")
        if not any(getattr(hook, "__name__", "") == _END for hook in hooks):
            setattr(task, f"on_{kind}_hooks", [*hooks, _expops_record_flight_end])


def _expops_record_flight_end(task: Any, task_run: Any, state: Any) -> None:  # noqa: ARG001
    """A task run has ended; what it had to commit is committed."""
    context = session().of_task_run(task_run.id)
    if context is not None:
        context.release_lease()


def _crashed(context: CacheContext) -> bool:
    """Whether a task run has ended without a word: no hook tells of a crash."""
    state: Any = context.state
    return state is not None and state.is_final() and not state.is_completed()
