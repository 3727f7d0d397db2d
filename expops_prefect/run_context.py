"""The context of the running code: its recorded run, and the task call that it is inside.

A context variable follows threads that copy their context, as Prefect's do. It does not reach worker processes:
there the call travels with the task, under :data:`CALL_ATTRIBUTE`. A bare thread has a context of its own: the code
that starts it, or gives it work, passes the context by :func:`follow` or :data:`given`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from expops_prefect._internal.process import of_process

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.context import TaskRunContext

    from expops_prefect.project import Project

CALL_ATTRIBUTE: Final = "_expops_call"
"""The attribute of a submitted task's copy that holds its :class:`Call`."""
SURROUNDED_ATTRIBUTE: Final = "_expops_surrounded"
"""The attribute of tasks and flows whose bodies this package wraps."""
PROJECT_ATTRIBUTE: Final = "_expops_project"
"""The attribute that holds its flow's project instead, if the run is not recorded."""
SUBFLOW_ATTRIBUTE: Final = "_expops_subflow"
"""The attribute of a task that stands for a cached subflow."""
PLACE_ATTRIBUTE: Final = "_expops_place"
"""The attribute of a task that holds the :class:`CallPlacement` of its call, if its number does not determine it."""


@dataclass(frozen=True, slots=True)
class CallPlacement:
    """The position of a call in the record, where the caller knows it.

    Attributes:
        path: its probe path, that of a process; it has a row of its own.
        upstream: the processes whose data it uses.
    """

    path: str
    upstream: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a task or subflow in a run, as captured where it was called or submitted.

    Attributes:
        run_id: the run.
        project: the run's project; a copy in another process holds its settings only.
        name: the normalised name of the process or step.
        label: the user's name for it.
        path: the probe path of this call.
        total: the probe path of the row that sums up all calls of that name; equal to ``path`` for the
            first call that was not mapped.
        process: the probe path of the enclosing process's call; the call's own for a process.
        step_of: for a step, the process path and the step's name.
        attempt: how often the run was started; a retried or resumed flow starts again.
        inside: the probe path for the steps in its body: that of its process, or of a subflow.
        upstream: the processes whose data it uses, as far as known when it was submitted.
    """

    run_id: str
    project: Project
    name: str
    label: str
    path: str
    total: str
    process: str
    step_of: tuple[str, str] | None
    attempt: int
    inside: str
    upstream: tuple[str, ...] = ()


class ActiveRun(Protocol):
    """The interface of a recorded run for the cache, which does not depend on the recorder."""

    project: Project

    def attach(self, context: TaskRunContext, cache_context: Any) -> None:
        """Record a task run that the cache handles, with its ``CacheContext``."""

    def uncached(self, context: TaskRunContext, why: Any) -> None:
        """Record that a call is executed without a cache look-up."""

    def call_of(self, task_run_id: UUID) -> Call | None:
        """The call of a task run, if it began in this process."""

    def is_open(self, call: Call | None) -> bool:
        """Whether a call has not ended; for ``None``, whether the run has not."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run, and the call whose body is being executed (``None`` in the flow's own body)."""

    run: ActiveRun
    call: Call | None


_FOLLOWED: Final = "_expops_place"
"""The attribute of a thread that holds the :class:`RunContext` of the body that started it."""
current: ContextVar[RunContext | None] = ContextVar("expops_scope", default=None)
given: ContextVar[RunContext | None] = ContextVar("expops_given_scope", default=None)
"""The run context of the body that gave the running work to a thread pool."""
flow_project: ContextVar[Project | None] = ContextVar("expops_flow_project", default=None)
"""The project of the flow whose body is running, recorded or not."""
task_transaction: ContextVar[Any] = ContextVar("expops_task_transaction", default=None)
"""The transaction of the task whose body is running."""


def place() -> RunContext | None:
    """The run and the call of the running code, also in its threads; ``None`` outside runs."""
    context = task_here()
    if context is not None:
        run = run_of(context.task)
        call = None if run is None else run.call_of(context.task_run.id)
        if run is not None and call is not None:
            return RunContext(run, call)
        return current.get()
    return current.get() or _inherited()


def answers_fast() -> RunContext | None:
    """The run context of a flow's body whose tasks are answered before Prefect's engine; ``None`` anywhere else."""
    here = current.get()
    return here if here is not None and here.run.project.settings.cache.fast_hits else None


def _inherited() -> RunContext | None:
    """The context that this thread was given, while the body that gave it is running."""
    context = given.get()
    if context is None:
        # Not with current_thread(), which creates an object for a thread not started by Python.
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        context = None if thread is None else thread.__dict__.get(_FOLLOWED)
    return context if context is not None and context.run.is_open(context.call) else None


def follow(thread: threading.Thread, place: RunContext | None) -> None:
    """Attribute what a thread records to the body that starts it."""
    if place is not None:
        setattr(thread, _FOLLOWED, place)


def task_here() -> TaskRunContext | None:
    """Prefect's context of the task whose body is running; ``None`` in a flow's body, even one that a task called."""
    from prefect.context import FlowRunContext, TaskRunContext

    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is None or flow is None or flow.flow_run is None:
        return task
    return task if task.task_run.flow_run_id == flow.flow_run.id else None


class _Recorder:
    """Finds the run of a task run. The cache does not depend on the recorder."""

    run_of_task: Callable[[Any], ActiveRun | None] | None = None


def record_with(run_of_task: Callable[[Any], ActiveRun | None]) -> None:
    """Register how to find the run of a task run. The recorder does so when it is imported."""
    of_process(_Recorder).run_of_task = run_of_task


def run_of(task: Any) -> ActiveRun | None:
    """The recorded run of a task run; ``None`` outside recorded runs."""
    find = of_process(_Recorder).run_of_task
    return None if find is None else find(task)


def project_around(task: Any) -> Project | None:
    """The project of the flow of a task run, recorded or not; ``None`` outside this package's flows."""
    submitted: Project | None = getattr(task, PROJECT_ATTRIBUTE, None)
    return submitted or flow_project.get()
