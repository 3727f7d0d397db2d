"""Watch the states of all task runs in Prefect's engine, so that uninstrumented tasks are recorded too.

A task made with Prefect's own decorator, or one whose result comes from Prefect's own cache, runs none of our code.
The engine sends an event with each state of each task run. In a recorded run, this module observes those events.
It changes neither the task, its state, nor the event.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache import reasons
from expops_prefect.cache.session import session
from expops_prefect.errors import BackendError, ExpOpsPrefectError
from expops_prefect.models import names
from expops_prefect.record.cache_records import COMPLETED, CacheRecord
from expops_prefect.record.process_rows import Status
from expops_prefect.stores.outbox.changes import Put
from expops_prefect.tracking.calls import call_of_context, is_ours, run_of_task
from expops_prefect.tracking.hooks import failure_of
from expops_prefect.tracking.submissions import watch_submissions
from expops_prefect.tracking.wrapping import Surrounded

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

    from expops_prefect.run_context import Call
    from expops_prefect.tracking.run import Run

SENDS: Final = "emit_task_run_state_change_event"
_WATCHED: Final = "_expops_watched"


def watch() -> None:
    """Watch the engine of this process from now on."""
    from prefect import task_engine

    from expops_prefect.tracking import flow_states

    flow_states.watch()
    send: Callable[..., Any] = getattr(task_engine, SENDS)
    if getattr(send, _WATCHED, False):
        return

    @functools.wraps(send)
    def send_and_look(*args: Any, **named: Any) -> Any:
        sent = send(*args, **named)
        _handle_state(named.get("task_run"), named.get("validated_state"))
        return sent

    setattr(send_and_look, _WATCHED, True)
    setattr(task_engine, SENDS, send_and_look)


def _handle_state(task_run: Any, state: Any) -> None:
    """Handle a state that a task run of this process has reached."""
    from prefect.context import TaskRunContext

    from expops_prefect.tracking.runs import open_runs

    try:
        context = TaskRunContext.get()
        if context is None or context.task_run.id != task_run.id:
            if state.is_crashed():  # the engine has already left the task's context
                for run in open_runs():
                    run.end(task_run.id, "failed", failure=failure_of(state))
            return
        found = run_of_task(context.task)
        if found is None:
            return
        if state.is_running():
            _handle_start(found, context)
        elif state.is_final():
            _handle_end(found, context, state)
        elif state.name == "NotReady":
            call_of_context(found, context)
            found.never_began(task_run.id, reasons.NOT_READY)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("task states not recorded", repr(error), key=str(getattr(task_run, "name", "")))


def _handle_start(run: Run, context: TaskRunContext) -> None:
    call_of_context(run, context)
    if isinstance(context.task, Surrounded):
        return
    run.plain(context.task_run.id)
    watch_submissions(_task_runner())
    if not is_ours(context.task):  # otherwise the cache look-up tells whether it is executed
        run.executing(context.task_run.id)


def _handle_end(run: Run, context: TaskRunContext, state: Any) -> None:
    """Record the end of a task run that has none of our hooks, or a result from Prefect's own cache."""
    task, task_run = context.task, context.task_run
    if session().of_task_run(task_run.id) is not None:
        return  # our cache has looked it up
    from prefect.transactions import get_transaction

    transaction = get_transaction()
    key = None if transaction is None else transaction.key
    status: Status = "completed" if state.is_completed() else "failed"
    started = getattr(task_run.start_time, "timestamp", time.time)()
    if transaction is not None and key is not None and status == "completed" and not task.isgenerator:
        if transaction.is_committed():
            run.found_by_prefect(task_run.id, _find_result_record(run, key))
            run.end(task_run.id, status, started=started)
            return
        call = run.call_of(task_run.id)
        if call is not None and _is_shared_between_runs(context):
            _record_result(run, call, context, key)
    if not isinstance(task, Surrounded):
        run.uncached(context, reasons.plain(task))
        run.end(task_run.id, status, started=started, failure=failure_of(state))


def _is_shared_between_runs(context: TaskRunContext) -> bool:
    """Whether Prefect persists the result of a task run for other flow runs."""
    from prefect.cache_policies import RunId

    policy = context.task.cache_policy
    parts = getattr(policy, "policies", None) or [policy]
    return bool(context.persist_result) and not any(isinstance(part, RunId) for part in parts)


def _record_result(run: Run, call: Call, context: TaskRunContext, key: str) -> None:
    """Record which call computed a result that Prefect persists, and its metrics and charts."""
    started = getattr(context.task_run.start_time, "timestamp", time.time)()
    ended = time.time()
    made = CacheRecord(
        *(COMPLETED, "", run.run_id, call.path, started, ended, ended - started),
        *("", "", 0, "", "raw"),  # Prefect has it
        outputs=run.outputs(call),
        task_run_id=str(context.task_run.id),
    )
    run.outbox.write(Put(names.prefect_result_key(key), made.dump()))


def _find_result_record(run: Run, key: str) -> CacheRecord | None:
    """The record of a result from Prefect's own cache; ``None`` if it was computed outside recorded runs."""
    try:
        with run.project.kv_availability.watch():
            value = run.project.kv.get(names.prefect_result_key(key))
        return None if value is None else CacheRecord.load(value)
    except BackendError as error:
        degrade("sources of hits not recorded", str(error), key=run.run_id)
    except ExpOpsPrefectError:
        pass  # written by a newer release, or damaged
    return None


def _task_runner() -> Any:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return None if context is None else context.task_runner
