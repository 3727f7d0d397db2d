"""The code around the bodies of tasks and flows."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from typing import Any, Final

from prefect import Flow, Task

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import degrade, first
from expops_prefect._internal.redaction import masked_error
from expops_prefect.cache import explicit_storage, reasons
from expops_prefect.cache.context import computing
from expops_prefect.cache.keys import key_name, project_of_task
from expops_prefect.cache.observation import Observation, telling_of_files
from expops_prefect.cache.session import session
from expops_prefect.effects import following
from expops_prefect.errors import BackendError
from expops_prefect.models.names import flow_run_key, process_name
from expops_prefect.project import Project
from expops_prefect.run_context import Call, RunContext
from expops_prefect.stores.outbox.changes import Put
from expops_prefect.tracking.calls import (
    call_of_context,
    run_of_task,
    scope_of_body,
    subflow_inputs,
)
from expops_prefect.tracking.run import Run
from expops_prefect.tracking.runs import start_run
from expops_prefect.tracking.subflows import States, body_of_entry
from expops_prefect.tracking.submissions import watch_submissions
from expops_prefect.tracking.wrapping import INNER, keeps_time

_logger = logging.getLogger("prefect.expops")
_MOST_PARTS: Final = 1000
_flow_context: ContextVar[Any] = ContextVar("expops_flow_context", default=None)
"""Prefect's context of the flow whose body is running."""


def entered(owner: Flow[..., Any] | Task[..., Any]) -> Any:
    """The context manager around a body. Its value must be called with the body's result, and returns it."""
    return _flow_entered() if isinstance(owner, Flow) else _task_entered()


@contextmanager
def _task_entered() -> Iterator[Callable[[Any], Any]]:
    from prefect.context import TaskRunContext

    context = TaskRunContext.get()
    if context is None:
        yield _unchanged
        return
    cached = session().of_task_run(context.task_run.id)
    if cached is not None:
        cached.started, cached.hit = time.time(), None
        cached.why = cached.why or reasons.not_looked(context.task)
        cached.keep_components()
    run = run_of_task(context.task)
    token = None
    if run is not None:
        try:
            call = call_of_context(run, context)
            if cached is None:
                run.uncached(context, reasons.without_key(context.task))
            run.executing(context.task_run.id)
            # A suspended generator would leave its context to its consumer.
            token = None if context.task.isgenerator else run_context.current.set(RunContext(run, call))
            following.install()
            watch_submissions(_task_runner())
        except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
            degrade("task starts not recorded", repr(error), key=context.task.name)
    computing_token = None
    if cached is not None and cached.cache_key is not None and not context.task.isgenerator:
        computing_token = computing.set((*computing.get(), cached))
    transaction, outer = _transactions()
    transaction_token = None if context.task.isgenerator else run_context.task_transaction.set(transaction)

    commits_here = False
    watched = None if cached is None or cached.before is None else Observation(cached, cached.before)
    plain = cached is None and not context.task.isgenerator
    uncached = telling_of_files(context.task, key_name) if plain else nullcontext()

    def leave(result: Any) -> Any:
        nonlocal commits_here
        if watched is not None:
            watched.finish(result, transaction, context)
        if cached is not None:
            cached.ended = time.time()
            cached.returned_state = _holds_state(result)
            if cached.cache_key is not None:
                _commit_step_by_itself(context.task, transaction, outer)
        commits_here = _commits_here(transaction)
        if cached is not None and cached.cache_key is not None and transaction is not None and not commits_here:
            cached.will_commit_later(result)
        return result

    try:
        if watched is not None:
            watched.begin()
        with uncached:
            yield leave
    except Exception:
        explicit_storage.withhold_failure(context)
        raise
    except BaseException as error:
        # A crash calls no hook. A timeout that Prefect's engine raises also arrives as a cancellation.
        timed_out = context.task.timeout_seconds is not None and not keeps_time(context.task)
        timed_out = timed_out and isinstance(error, asyncio.CancelledError)
        if run is not None and not context.task.isgenerator and not timed_out:
            run.end(context.task_run.id, "failed", failure=masked_error(error))
        raise
    finally:
        if watched is not None:
            watched.close()
        if cached is not None and not commits_here:
            # It failed, or an enclosing transaction will commit it at some time: nobody should wait for that.
            cached.release_lease()
        if transaction_token is not None:
            _reset(run_context.task_transaction, transaction_token)
        if computing_token is not None:
            _reset(computing, computing_token)
        if token is not None:
            _reset(run_context.current, token)


def _holds_state(result: Any, depth: int = 3) -> bool:
    """Whether a result is or contains a Prefect state, which belongs to the run that made it."""
    from prefect.client.schemas.objects import State

    if isinstance(result, (State, States)):
        return True
    if isinstance(result, dict):
        result = result.values()
    elif not isinstance(result, (list, tuple, set)):
        return False
    return depth > 0 and any(_holds_state(part, depth - 1) for part in islice(result, _MOST_PARTS))


def _transactions() -> tuple[Any, Any]:
    from prefect.transactions import get_transaction

    return get_transaction(), run_context.task_transaction.get()


def _commit_step_by_itself(task: Any, transaction: Any, outer: Any) -> None:
    """Commit a step now, so that it survives a failure of its process, unless the user has rollback or commit hooks."""
    from prefect.transactions import CommitMode

    if transaction is None or outer is None or transaction.get_parent() is not outer:
        return
    if transaction.commit_mode == CommitMode.LAZY and not task.on_rollback_hooks and not task.on_commit_hooks:
        transaction.commit_mode = CommitMode.EAGER


def _commits_here(transaction: Any) -> bool:
    """Whether a task's result is committed as soon as its body has ended."""
    from prefect.transactions import CommitMode

    return transaction is not None and (transaction.commit_mode == CommitMode.EAGER or transaction.get_parent() is None)


@contextmanager
def _flow_entered() -> Iterator[Callable[[Any], Any]]:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow is None or context.flow_run is None:
        yield _unchanged
        return
    outer = called_in()
    if getattr(context.flow, INNER, False) and outer is None and run_context.flow_project.get() is None:
        yield _unchanged
        return
    # A wrong configuration raises here, before the first task.
    project = project_of_flow(context.flow)
    _log_configuration(project)
    here: RunContext | None = None
    with body_of_entry(context) as is_entry:
        if project.settings.record.enabled:
            here = _record_flow(project, context, outer, is_entry=is_entry)
            following.install()
        project_token = run_context.flow_project.set(project)
        try:
            with in_flow(context, here):
                yield _unchanged
        except BaseException as error:
            if outer is None and here is not None and isinstance(here.run, Run) and _is_suspended(error):
                here.run.suspended()
            raise
        finally:
            _reset(run_context.flow_project, project_token)


def called_in() -> RunContext | None:
    """The run context in which the current flow was called."""
    from prefect.context import TaskRunContext

    task, around = TaskRunContext.get(), _flow_context.get()
    # The task that called it, or a task further out whose subflow called it.
    by_task = task is not None and (around is None or around.flow_run.id == task.task_run.flow_run_id)
    return scope_of_body(task) if task is not None and by_task else run_context.current.get()


@contextmanager
def in_flow(context: Any, here: RunContext | None) -> Iterator[None]:
    """Wrap the body of a flow.

    Args:
        context: Prefect's context of the flow.
        here: the run context of its calls; ``None`` if it is not recorded.
    """
    token = None if here is None else run_context.current.set(here)
    context_token = _flow_context.set(context)
    watch_submissions(context.task_runner)
    try:
        yield
    finally:
        _reset(_flow_context, context_token)
        if token is not None:
            _reset(run_context.current, token)


def _is_suspended(error: BaseException) -> bool:
    """Whether a flow stops so that it can be resumed, or because another process has taken it over."""
    from prefect.exceptions import Abort, Pause

    return isinstance(error, Abort | Pause)


def _record_flow(project: Project, context: Any, outer: RunContext | None, *, is_entry: bool) -> RunContext | None:
    try:
        if outer is None or not isinstance(outer.run, Run):
            return RunContext(start_run(project, context.flow.name, context.flow_run), None)
        run = outer.run
        if is_entry:
            # It shares the row of the task that stands for it.
            run.contains(context.flow_run.id)
            run.outbox.write(Put(flow_run_key(str(context.flow_run.id)), {"run_id": run.run_id}))
            return outer
        call = begin_subflow(run, outer, context.flow, context.flow_run, context.parameters)
        run.executing(context.flow_run.id)
        return RunContext(run, call)
    except BackendError as error:
        degrade("runs not recorded", f"{error} The flow runs unrecorded, cached where possible.", key=str(error))
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("runs not recorded", repr(error), key=context.flow.name)
    return None


def begin_subflow(run: Run, outer: RunContext, flow: Any, flow_run: Any, parameters: Any) -> Call:
    """The call of a subflow; marks it as begun.

    Args:
        run: its run.
        outer: the run context of the caller.
        flow: the flow.
        flow_run: Prefect's flow run; a retry has the same one.
        parameters: the parameters of the call.
    """
    begun = run.call_of(flow_run.id)
    if begun is not None:
        return begun
    name = getattr(flow, "process", None) or flow.name
    caller = _flow_context.get()
    upstream = () if caller is None else subflow_inputs(caller, parameters)
    call = run.begin(flow_run.id, run.new_call(outer, process_name(name), name, apart=True), upstream)
    run.outbox.write(Put(flow_run_key(str(flow_run.id)), {"run_id": run.run_id}))
    return call


def project_of_flow(flow: Any) -> Project:
    """The project of a flow: the one it names, or the one that contains its file.

    Raises:
        ConfigurationError: its configuration is wrong.
    """
    named = getattr(flow, "project", None)
    if isinstance(named, Project):
        return named
    return project_of_task(flow.fn) if named is None else Project.open(named)


def _task_runner() -> Any:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return None if context is None else context.task_runner


def _log_configuration(project: Project) -> None:
    """Log notices and warnings about the configuration, once."""
    for level, texts in ((logging.INFO, project.settings.notices), (logging.WARNING, project.settings.warnings)):
        for text in texts:
            if first("configuration", text):
                _logger.log(level, text)


def _reset(variable: ContextVar[Any], token: Any) -> None:
    try:
        variable.reset(token)
    except ValueError:
        # A generator flow may be closed in another context than the one it was started in.
        variable.set(() if variable is computing else None)


def _unchanged(result: Any) -> Any:
    return result
