"""Where the code that runs now stands: in which recorded run, inside which call of a task.

A context variable follows threads that copy their context, as Prefect's do. It does not cross into
worker processes: there the call travels with the task itself, under :data:`CALL_ATTRIBUTE`. A bare thread
has a context of its own: what starts it, or gives it work, tells it by :func:`follow` or :data:`given`.
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
"""The attribute of tasks and flows whose bodies this package surrounds."""
PROJECT_ATTRIBUTE: Final = "_expops_project"
"""The attribute that holds its flow's project instead, where the run is not recorded."""
SUBFLOW_ATTRIBUTE: Final = "_expops_subflow"
"""The attribute of a task that stands for a cached subflow."""
PLACE_ATTRIBUTE: Final = "_expops_place"
"""The attribute of a task that holds the :class:`CallPlacement` of its call, where its number does not tell it."""


@dataclass(frozen=True, slots=True)
class CallPlacement:
    """Where a call stands in the record, for those who know it.

    Attributes:
        path: its probe path, that of a process; it is a row of its own.
        upstream: the processes whose data it takes.
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
        path: the probe path of this very call.
        total: the probe path of the row that sums up all calls of that name; equal to ``path`` for the
            first call that was not mapped.
        process: the probe path of the enclosing process's call; the call's own for a process.
        step_of: for a step, the process path and the step's name.
        attempt: how often the run was started; a flow that is retried or resumed starts again.
        inside: the probe path under which steps that its body calls stand: its process's, or that of a subflow.
        upstream: the processes whose data it takes, as far as known where it was submitted.
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
    """What the cache needs of a recorded run. The recorder has such runs, the cache does not know which."""

    project: Project

    def attach(self, context: TaskRunContext, cache_context: Any) -> None:
        """Record a task run that the cache is asked about, by its ``CacheContext``."""

    def uncached(self, context: TaskRunContext, why: Any) -> None:
        """A call is executed without looking at the cache."""

    def call_of(self, task_run_id: UUID) -> Call | None:
        """The call that a task run is, if it began in this process."""

    def is_open(self, call: Call | None) -> bool:
        """Whether a call has not ended yet; for ``None``, the run."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """The run, and the call whose body is being executed (``None`` in the flow's own body)."""

    run: ActiveRun
    call: Call | None


_FOLLOWED: Final = "_expops_place"
"""The attribute of a thread that holds the :class:`RunContext` of the body that started it."""
current: ContextVar[RunContext | None] = ContextVar("expops_scope", default=None)
given: ContextVar[RunContext | None] = ContextVar("expops_given_scope", default=None)
"""The scope of the body that gave the work that runs here to a pool of threads."""
flow_project: ContextVar[Project | None] = ContextVar("expops_flow_project", default=None)
"""The project of the flow whose body runs here, recorded or not."""
task_transaction: ContextVar[Any] = ContextVar("expops_task_transaction", default=None)
"""The transaction of the task whose body runs here."""


def place() -> RunContext | None:
    """The run and the call that the code belongs to that runs now, in its threads too; ``None`` outside any."""
    context = task_here()
    if context is not None:
        run = run_of(context.task)
        call = None if run is None else run.call_of(context.task_run.id)
        if run is not None and call is not None:
            return RunContext(run, call)
        return current.get()
    return current.get() or _followed()


def _followed() -> RunContext | None:
    """What this thread was told, as long as the body runs that told it."""
    told = given.get()
    if told is None:
        # Not by current_thread(), which makes an object for a thread that is none of Python's.
        thread = threading._active.get(threading.get_ident())  # type: ignore[attr-defined]
        told = None if thread is None else thread.__dict__.get(_FOLLOWED)
    return told if told is not None and told.run.is_open(told.call) else None


def follow(thread: threading.Thread, place: RunContext | None) -> None:
    """Let what a thread records count for the body that starts it."""
    if place is not None:
        setattr(thread, _FOLLOWED, place)


def task_here() -> TaskRunContext | None:
    """Prefect's context of the task whose own body this is; ``None`` in a flow's, which a task may have called."""
    from prefect.context import FlowRunContext, TaskRunContext

    task, flow = TaskRunContext.get(), FlowRunContext.get()
    if task is None or flow is None or flow.flow_run is None:
        return task
    return task if task.task_run.flow_run_id == flow.flow_run.id else None


class _Recorder:
    """How the run of a task run is found. The cache does not know the recorder."""

    run_of_task: Callable[[Any], ActiveRun | None] | None = None


def record_with(run_of_task: Callable[[Any], ActiveRun | None]) -> None:
    """Tell how the run of a task run is found. The recorder does so when it is imported."""
    of_process(_Recorder).run_of_task = run_of_task


def run_of(task: Any) -> ActiveRun | None:
    """The recorded run that a task run belongs to; ``None`` outside any."""
    find = of_process(_Recorder).run_of_task
    return None if find is None else find(task)


def project_around(task: Any) -> Project | None:
    """The project of the flow that a task run belongs to, recorded or not; ``None`` outside any of ours."""
    submitted: Project | None = getattr(task, PROJECT_ATTRIBUTE, None)
    return submitted or flow_project.get()
