"""Which call of which run a task run is: recorded where the task is called or submitted, never in the worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect.client.schemas.objects import FlowRunResult, TaskRunResult

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import concern
from expops_prefect.cache.keys import key_name
from expops_prefect.run_context import (
    CALL_ATTRIBUTE,
    PLACE_ATTRIBUTE,
    SUBFLOW_ATTRIBUTE,
    Call,
    RunContext,
)
from expops_prefect.tracking.run import Run
from expops_prefect.tracking.runs import join_run, open_runs
from expops_prefect.tracking.wrapping import Surrounded

if TYPE_CHECKING:
    from prefect.context import FlowRunContext, TaskRunContext


def run_of_task(task: Any) -> Run | None:
    """The recorded run of a task run; ``None`` outside recorded runs."""
    call: Call | None = getattr(task, CALL_ATTRIBUTE, None)
    if call is not None:
        run: Run | None = join_run(call)
    else:
        here = run_context.current.get() or _in_plain_task()
        run = here.run if here is not None and isinstance(here.run, Run) else None
    # In a worker process nothing else sets it, neither the look-up before the body nor the commit after it.
    concern(None if run is None else run.events)
    return run


def scope_here() -> RunContext | None:
    """The run context in which the running code makes its calls."""
    context = run_context.task_here()
    return run_context.current.get() if context is None else scope_of_body(context)


def scope_of_body(context: TaskRunContext) -> RunContext | None:
    """The run context in which the body of a task makes its calls."""
    return _body_of_plain_task(context.task_run.id) or run_context.current.get()


def _caller_of(context: TaskRunContext) -> RunContext | None:
    """The run context in which a starting task run was called; its own context is already active."""
    for parent in (context.task_run.task_inputs or {}).get("__parents__", ()):
        around = _body_of_plain_task(parent.id) if isinstance(parent, TaskRunResult) else None
        if around is not None:
            return around
    return run_context.current.get()


def _in_plain_task() -> RunContext | None:
    """The run context in a worker process, below a task that is not instrumented."""
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    return None if context is None else _body_of_plain_task(context.task_run.id) or _caller_of(context)


def _body_of_plain_task(run_uuid: UUID) -> RunContext | None:
    """The run context of a task body in this process that is not instrumented."""
    for run in open_runs():
        call = run.plain_call(run_uuid)
        if call is not None:
            return RunContext(run, call)
    return None


def call_of_context(run: Run, context: TaskRunContext) -> Call:
    """The call of the task run that is being executed here; marks it as begun."""
    begun = run.call_of(context.task_run.id)
    if begun is not None:
        return begun
    task = context.task
    call: Call | None = getattr(task, CALL_ATTRIBUTE, None)
    if call is None:
        place = getattr(task, PLACE_ATTRIBUTE, None)
        subflow = getattr(task, SUBFLOW_ATTRIBUTE, False)
        call = run.new_call(_caller_of(context), key_name(task), task.name, place=place, apart=subflow)
        if place is not None:
            return run.begin(context.task_run.id, call)
    inputs = context.task_run.task_inputs or {}
    taken = (item for parameter, items in inputs.items() if parameter != "__parents__" for item in items)
    return run.begin(context.task_run.id, call, run_ids(taken))


def subflow_inputs(outer: FlowRunContext, parameters: Any) -> tuple[UUID, ...]:
    """The task runs and subflow runs whose results a subflow uses.

    Args:
        outer: the context of the calling flow, in which Prefect tracks which run each object came from.
        parameters: the parameters of the call.
    """
    from prefect.utilities.engine import collect_task_run_inputs_sync

    token = type(outer).__var__.set(outer)
    try:
        return run_ids(collect_task_run_inputs_sync(parameters))
    finally:
        type(outer).__var__.reset(token)


def run_ids(inputs: Iterable[Any]) -> tuple[UUID, ...]:
    """The ids of the task runs and flow runs among inputs as Prefect collects them."""
    return tuple(item.id for item in inputs if isinstance(item, TaskRunResult | FlowRunResult))


def is_ours(task: Any) -> bool:
    """Whether a task has this package's body or policy; others are known only from Prefect's engine."""
    from expops_prefect.cache.policy import ExpOpsCachePolicy, expops_cache_key

    return (
        isinstance(task, Surrounded)
        or isinstance(task.cache_policy, ExpOpsCachePolicy)
        or task.cache_key_fn is expops_cache_key
    )


run_context.record_with(run_of_task)
