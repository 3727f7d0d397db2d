"""Single flight: of all task runs that need the same result, on any machine, one computes it and the others wait.

Prefect reads a transaction's isolation level before it computes the key, so a project's configuration
cannot set it. The lease is taken instead when Prefect asks our key storage for the result, and only
after a miss: a hit takes no lease.
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
    """Whether a task run that misses has to take a lease before it computes its result."""
    return (
        context is not None
        and context.cache_key is not None
        and context.lease is None
        and context.project.settings.cache.single_flight
    )


def acquire_or_wait(context: CacheContext, look: Callable[[], T | None]) -> Steps[T | None]:
    """Wait until the result exists, or until this task run may compute it.

    Args:
        context: the task run; it receives the lease.
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
        degrade("leases not taken", f"{error}; the task is executed, even if another process computes the same result")
        return None
    finally:
        pauses.over()
    # The previous holder may have published in between.
    found = look()
    if found is not None:
        context.release_lease()
    return found


def release_at_end(task: Any) -> None:
    """Release the lease at the end of a task that Prefect's own decorator made; no wrapper of ours does it."""
    for kind in ("completion", "failure"):
        hooks = getattr(task, f"on_{kind}_hooks")
        if not any(getattr(hook, "__name__", "") == _END for hook in hooks):
            setattr(task, f"on_{kind}_hooks", [*hooks, _expops_record_flight_end])


def _expops_record_flight_end(task: Any, task_run: Any, state: Any) -> None:  # noqa: ARG001
    """Release the lease of a task run that has ended and committed."""
    context = session().of_task_run(task_run.id)
    if context is not None:
        context.release_lease()


def _crashed(context: CacheContext) -> bool:
    """Whether a task run has crashed: no hook reports that."""
    state: Any = context.state
    return state is not None and state.is_final() and not state.is_completed()
