"""Hits that are answered before Prefect's engine is entered (``prefect.cache.fast_hits``).

The engine takes several times as long as the cache for a hit. A task whose options need nothing of the engine is
therefore looked up where it is called or submitted. On a hit its task run goes to Prefect's server with a single
event, in the state ``Cached``; on a miss the engine runs it as usual.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.results import get_result_store
from prefect.states import Completed
from prefect.transactions import get_transaction
from prefect.utilities.callables import get_call_parameters
from prefect.utilities.collections import visit_collection
from prefect.utilities.engine import link_state_to_task_run_result, resolve_to_final_result

from expops_prefect._internal.diagnostics import degrade, first
from expops_prefect._internal.formatting import age
from expops_prefect.cache import storage_handlers
from expops_prefect.cache.context import CacheContext
from expops_prefect.cache.policy import ExpOpsCachePolicy
from expops_prefect.cache.session import session
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.tracking import hooks, task_states
from expops_prefect.tracking.submissions import Submission, numbered

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.schemas.objects import State

    from expops_prefect.run_context import RunContext
    from expops_prefect.tracking.run import Run

_logger = logging.getLogger("prefect.expops")
_PLAIN: Final = (str, int, float, bool, bytes, type(None))
_OF_ENGINE: Final = (
    *("on_running_hooks", "on_rollback_hooks", "on_commit_hooks", "refresh_cache", "task_run_name", "assets"),
    *("result_storage", "result_serializer", "result_storage_key"),
)
"""Options of a task that only the engine can serve."""


@dataclass(slots=True)
class _Attempt:
    """A task run that is looked up.

    Attributes:
        task: the task, with its call.
        context: Prefect's context of the task run.
        found: what the cache knows of it.
    """

    task: Any
    context: TaskRunContext
    found: CacheContext


def call(task: Any, here: RunContext, args: Any, options: dict[str, Any], *, return_state: bool) -> Any:
    """Call a task of a flow: answer from the cache, or let the engine run it.

    Args:
        task: the task.
        here: the run context of the flow's body.
        args, options: the arguments of the call.
        return_state: whether the caller wants the state instead of the result.

    Returns:
        What Prefect's call returns; a coroutine for an async task.
    """
    from prefect.task_engine import run_task

    run: Any = here.run
    parameters = get_call_parameters(task.fn, args, options)
    marked = numbered(run, here, task)
    return_type: Any = "state" if return_state else "result"

    if task.isasync:

        async def called() -> Any:
            state, known = await asyncio.to_thread(_answer_call, run, Submission(marked, parameters))
            if state is None:
                return await run_task(marked, known, parameters=parameters, return_type=return_type)
            return state if return_state else state.data.result

        return called()
    state, known = _answer_call(run, Submission(marked, parameters))
    if state is None:
        return run_task(marked, known, parameters=parameters, return_type=return_type)
    return state if return_state else state.data.result


def submitted(run: Run, submissions: Sequence[Submission]) -> list[PrefectConcurrentFuture[Any] | None]:
    """The futures of hits, for calls that are submitted to threads; ``None`` for each that the engine must run.

    Only results in their records are answered: others are downloads, which threads do side by side.
    """
    if len(submissions) == 1 and run.project.settings.kv.is_shared:
        return [None]  # so are reads of a KV store that is far away
    ready = [one if allowed(one.task) and _are_done([one.parameters, one.wait_for]) else None for one in submissions]
    states = iter(_answer_all(run, [one for one in ready if one is not None]))
    return [None if one is None else _future(next(states)) for one in ready]


def _future(state: Any) -> PrefectConcurrentFuture[Any] | None:
    if state is None:
        return None
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()
    done.set_result(state)
    return PrefectConcurrentFuture(state.state_details.task_run_id, done)


def allowed(task: Any) -> bool:
    """Whether a task that is called here may be answered without the engine."""
    flow, policy = FlowRunContext.get(), task.cache_policy
    return (
        isinstance(policy, ExpOpsCachePolicy)
        and not (policy.also or policy.key_storage or policy.lock_manager or policy.isolation_level)
        and not task.isgenerator
        and task.persist_result is not False
        and not any(getattr(task, name, None) for name in _OF_ENGINE)
        and hooks.are_ours(task.on_completion_hooks)
        and flow is not None
        and flow.flow_run is not None
        and flow.flow_run.run_count <= 1
        and not any(flow.task_run_assets.values())
        and not _is_suspended(flow)
        and TaskRunContext.get() is None
        and get_transaction() is None
        and not _is_drawn()
        and not _refreshes()
    )


def _answer_call(run: Run, given: Submission) -> tuple[Any, UUID | None]:
    """The final state of a call that is a hit; else ``None``, and the task run that was looked up, if any.

    The engine goes on with that task run, and does not compute its key again.
    """
    attempt = _attempt(run, given)
    if attempt is None:
        return None, None
    (is_hit,) = _look_up(run, [attempt], whole=False)
    state = _answer(run, attempt) if is_hit else None
    if state is not None or is_hit:
        return state, None
    attempt.found.ahead = True
    return None, attempt.context.task_run.id


def _answer_all(run: Run, given: Sequence[Submission]) -> list[Any]:
    """The final states of submitted calls that are hits; ``None`` for the others, of which nothing remains."""
    attempts = [_attempt(run, one) for one in given]
    hits = iter(_look_up(run, [one for one in attempts if one is not None], whole=True))
    states: list[Any] = []
    for attempt in attempts:
        is_hit = attempt is not None and next(hits)
        if attempt is not None and not is_hit:
            _forget(run, attempt.context.task_run)
        states.append(_answer(run, attempt) if attempt is not None and is_hit else None)
    return states


def _look_up(run: Run, attempts: Sequence[_Attempt], *, whole: bool) -> list[bool]:
    try:
        return storage_handlers.are_hits(run.project, [one.found for one in attempts], whole=whole)
    except ExpOpsPrefectError:
        return [False] * len(attempts)  # the engine looks again, and reports it


def _attempt(run: Run, given: Submission) -> _Attempt | None:
    """Begin a task run and compute its key; ``None`` if it cannot be looked up here."""
    from prefect.task_engine import _create_task_run_locally

    task, task_run = given.task, None
    flow: Any = FlowRunContext.get()
    try:
        task_run = _create_task_run_locally(
            task=task,
            parameters=given.parameters,
            wait_for=given.wait_for,
            extra_task_inputs=given.dependencies,
        )
        resolved = {name: _resolved(value) for name, value in given.parameters.items()}
        store: Any = get_result_store()
        context = TaskRunContext(
            task=task,
            task_run=task_run,
            parameters=resolved,
            result_store=store.update_for_task(task, _sync=True),
            client=flow.client,
            persist_result=True,
        )
        with context:
            task.cache_policy.compute_key(context, resolved, flow.parameters or {})
        found = session().of_task_run(task_run.id)
        if found is not None and found.paired:
            return _Attempt(task, context, found)
    except Exception as error:  # noqa: BLE001 - the engine does it again, and reports what it finds
        _logger.debug("%s: not looked up before the engine: %r", task.name, error)
    if task_run is not None:
        _forget(run, task_run)
    return None


def _answer(run: Run, attempt: _Attempt) -> State[Any] | None:
    """The final state of a hit; ``None``, and nothing of it remains, if it cannot be read."""
    task, context, found = attempt.task, attempt.context, attempt.found
    try:
        with context:
            record = context.result_store.read(found.key, holder=found.holder)
            hit = found.hit
            state = _finished(task, context.task_run, record)
        if hit is not None and first("fast hit", f"{run.run_id} {task.name}"):
            by = hit.run_id or "a task outside runs"
            said = "%s: from the cache: computed %s by %s; its further hits have no line of their own"
            _logger.info(said, task.name, age(hit.ended_at), by)
        return state
    except Exception as error:  # noqa: BLE001 - the engine does it again
        degrade("hits not answered at once", repr(error), key=task.name, about=task.name)
    _forget(run, context.task_run)
    return None


def _finished(task: Any, task_run: Any, record: Any) -> State[Any]:
    """Report a hit to Prefect and to the recorder; returns its final state."""
    from prefect import task_engine

    before, flow = task_run.state, FlowRunContext.get()
    state: State[Any] = Completed(name="Cached", data=record)
    state.state_details.task_run_id, state.state_details.flow_run_id = task_run.id, task_run.flow_run_id
    task_run.start_time, task_run.end_time, task_run.run_count = before.timestamp, state.timestamp, 1
    task_run.flow_run_run_count = flow.flow_run.run_count if flow is not None and flow.flow_run is not None else 0
    task_run.state, task_run.state_id = state, state.id
    task_run.state_type, task_run.state_name = state.type, state.name
    link_state_to_task_run_result(state, record.result)
    send: Any = getattr(task_engine, task_states.SENDS)
    send(task_run=task_run, initial_state=before, validated_state=state)
    for hook in task.on_completion_hooks:
        hook(task, task_run, state)
    return state


def _forget(run: Run, task_run: Any) -> None:
    session().forget(task_run.id)
    run.forget(task_run.id)


def _resolved(value: Any) -> Any:
    """An argument as the engine hands it to the body: without futures, states and annotations."""
    if isinstance(value, _PLAIN):
        return value
    return visit_collection(
        value, visit_fn=resolve_to_final_result, return_data=True, max_depth=-1, remove_annotations=True, context={}
    )


def _are_done(values: Any) -> bool:
    """Whether all futures in a collection have completed."""
    waiting = False

    def visit(part: Any) -> Any:
        nonlocal waiting
        if isinstance(part, PrefectFuture) and not _is_done(part):
            waiting = True
        return part

    visit_collection(values, visit_fn=visit, return_data=False)
    return not waiting


def _is_done(future: Any) -> bool:
    """Whether a future of a thread has completed; asks nobody, as the state of one that has not would."""
    inner = getattr(future, "wrapped_future", None)
    return inner is not None and inner.done() and bool(future.state.is_completed())


def _is_drawn() -> bool:
    """Whether Prefect draws the flow instead of running it."""
    from prefect.utilities.visualization import get_task_viz_tracker

    return get_task_viz_tracker() is not None


def _is_suspended(flow: Any) -> bool:
    """Whether somebody has suspended the flow run: the engine stops it."""
    request = getattr(flow, "flow_run_suspension_request", None)  # not before Prefect 3.9
    return request is not None and request.is_requested()


def _refreshes() -> bool:
    from prefect.settings.context import get_current_settings

    return bool(get_current_settings().tasks.refresh_cache)
