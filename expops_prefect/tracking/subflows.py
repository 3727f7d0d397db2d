"""A subflow as one cache entry: a task stands for it, and on a miss the subflow runs inside that task.

So a cached subflow has all that a process's task has: key, storage, leases, row, metrics. The code
inside must not notice: the subflow and its tasks see the context in which the subflow was called. Only
Prefect's creation of the subflow run sees the task. So Prefect shows the subflow run below it, and under a
name of its own when the enclosing flow is retried.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.results import ResultStore, get_default_persist_setting, get_result_store
from prefect.states import Completed, is_state_iterable
from prefect.transactions import BaseTransaction, get_transaction
from prefect.utilities.callables import get_call_parameters

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import degrade

Function = Callable[..., Any]


@dataclass(slots=True)
class Caller:
    """The context in which a cached subflow is called.

    Attributes:
        task_run: Prefect's context of the calling task; ``None`` in a flow's body.
        results: the result store.
        transaction: the open transaction.
        task_transaction: the transaction of the calling task.
    """

    task_run: TaskRunContext | None
    results: ResultStore
    transaction: BaseTransaction | None
    task_transaction: Any

    @classmethod
    def here(cls) -> Caller:
        """The context of the running code."""
        return cls(TaskRunContext.get(), get_result_store(), get_transaction(), run_context.task_transaction.get())


@dataclass(slots=True)
class Inside:
    """A subflow that runs inside the task that stands for it.

    Attributes:
        flow: the subflow.
        caller: the context of the caller.
        flow_run_id: its flow run, once it has begun; a retry has the same one.
    """

    flow: Any
    caller: Caller
    flow_run_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class States:
    """States that a cached subflow returned, directly or as futures: its task passes them on unchanged."""

    value: Any


_caller: ContextVar[Caller | None] = ContextVar("expops_caller", default=None)
_inside: ContextVar[Inside | None] = ContextVar("expops_inside", default=None)


def is_subflow() -> bool:
    """Whether a flow called now is called by a flow or a task."""
    return FlowRunContext.get() is not None or TaskRunContext.get() is not None


def entry_function(flow: Flow[..., Any], function: Function) -> Function:
    """The function of the task that stands for a cached subflow.

    Args:
        flow: the flow.
        function: the user's function; the task has its signature and code.
    """
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def entry(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.tracking.subflows import as_called, handed_through, run_inside

            with as_called(flow):
                return handed_through(flow, await run_inside(flow, function, args, kwargs))

    else:

        @functools.wraps(function)
        def entry(*args: Any, **kwargs: Any) -> Any:
            from expops_prefect.tracking.subflows import as_called, handed_through, run_inside

            with as_called(flow):
                return handed_through(flow, run_inside(flow, function, args, kwargs))

    return entry


def call(entry: Any, parameters: dict[str, Any], **options: Any) -> Any:
    """Call the task that stands for a subflow, and remember the caller's context.

    Args:
        entry: the task.
        parameters: the arguments by name.
        options: other options of Prefect's ``run_task``.
    """
    from prefect.task_engine import run_task

    if entry.isasync:

        async def called() -> Any:
            with _set(_caller, Caller.here()):
                return _received(await run_task(entry, parameters=parameters, **options))

        return called()
    with _set(_caller, Caller.here()):
        return _received(run_task(entry, parameters=parameters, **options))


@contextmanager
def as_called(flow: Any) -> Iterator[None]:
    """Run the subflow inside its task in the context of its caller."""
    caller, task_run = _caller.get(), TaskRunContext.get()
    if caller is None or task_run is None:  # the task's function was called directly
        yield
        return
    # Prefect asks the enclosing task, if any, whether and where to persist the results of a flow.
    persist = get_default_persist_setting() if flow.persist_result is None else flow.persist_result
    shown = task_run.model_copy(update={"result_store": caller.results, "persist_result": persist})
    with (
        shown,
        _set(BaseTransaction.__var__, caller.transaction),
        _set(run_context.task_transaction, caller.task_transaction),
        _set(_inside, Inside(flow, caller)),
    ):
        yield


def run_inside(flow: Any, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a subflow with Prefect's engine; returns a coroutine for an async one."""
    from prefect.flow_engine import run_flow

    # Prefect would insert a method's object before the arguments, which already include it.
    unbound = functools.partial(function)
    return run_flow(flow=flow, parameters=get_call_parameters(unbound, args, kwargs), return_type="result")


def handed_through(flow: Any, result: Any) -> Any:
    """The return value of the task that stands for a subflow; wraps states that must not become the task's own."""
    if not isinstance(result, State) and not is_state_iterable(result):
        return result
    message = "it returns futures or states, so it runs every time. Return future.result() instead"
    degrade("results not cached", message, key=flow.name, about=flow.name)
    return States(result)


def _received(result: Any) -> Any:
    """Unwrap the result or the state of a subflow from that of its task."""
    if isinstance(result, States):
        return result.value
    value = getattr(result.data, "result", None) if isinstance(result, State) and result.is_completed() else None
    if not isinstance(value, States):
        return result
    return value.value if isinstance(value.value, State) else Completed(data=value.value)


def is_inside_entry(flow: Any) -> bool:
    """Whether a flow that has not yet begun is a cached subflow inside its task."""
    inside = _inside.get()
    return inside is not None and inside.flow is flow


@contextmanager
def body_of_entry(context: FlowRunContext) -> Iterator[bool]:
    """Wrap the body of a flow; yields whether it is a cached subflow inside its task."""
    inside = _inside.get()
    flow_run = context.flow_run
    if inside is None or flow_run is None or context.flow is not inside.flow:
        yield False
        return
    if inside.flow_run_id not in (None, flow_run.id):
        yield False
        return
    inside.flow_run_id = flow_run.id
    with _set(TaskRunContext.__var__, inside.caller.task_run), _set(_inside, None):
        yield True


@contextmanager
def _set(variable: ContextVar[Any], value: Any) -> Iterator[None]:
    token: Token[Any] = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)
