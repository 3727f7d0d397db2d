"""Prefect's state hooks, and their lines in the user's log.

A hook never raises: its failures are counted as degraded. The hooks' names start with
:data:`HOOK_PREFIX`, which identifies their log lines. Every decorator imports this module, so imports that
only a run needs are in the hooks.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import of_process
from expops_prefect.errors import ConfigurationError

if TYPE_CHECKING:
    from expops_prefect.cache.context import Outcome
    from expops_prefect.record.process_rows import Status

HOOK_PREFIX: Final = "_expops_record_"
_OWN: Final = f"'{HOOK_PREFIX}"
_LOGGERS: Final = ("prefect.engine", "prefect.flow_runs", "prefect.task_runs")
_END: Final = "Finished in state "
_MOST: Final = 1000


class _Endings(dict[str, str]):
    """Texts to add to the lines with which Prefect ends task runs. Separate log lines would cost more."""


def _expops_record_task_end(task: Any, task_run: Any, state: Any) -> None:
    """Record that a task run completed or failed for good."""
    try:
        from expops_prefect.cache.session import session
        from expops_prefect.tracking.calls import run_of_task

        run = run_of_task(task)
        if run is not None:
            status: Status = "completed" if state.is_completed() else "failed"
            begun = getattr(task_run.start_time, "timestamp", None)
            run.end(task_run.id, status, started=None if begun is None else begun(), failure=failure_of(state))
        cache_context = session().ended(task_run.id)
        if cache_context is not None:
            cache_context.release_lease()
            outcome = cache_context.outcome
            _note_outcome(task_run, outcome)
            if outcome.hit is not None and state.is_completed():
                from expops_prefect.tracking import asset_events

                asset_events.send(task, task_run, state, outcome.hit)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("task ends not recorded", repr(error), key=task.name)


def failure_of(state: Any) -> str:
    """The reason why a run failed, from its state, without secrets; empty if it did not fail."""
    if state.is_completed():
        return ""
    from expops_prefect._internal.redaction import masked_error, masked_message

    error = getattr(state.data, "result", state.data)  # a persisted result also holds the error
    return masked_error(error) if isinstance(error, BaseException) else masked_message(state.message or state.name)


def _note_outcome(task_run: Any, outcome: Outcome) -> None:
    """Note for a task run where its result comes from, or why it was executed if that is not obvious."""
    hit, why = outcome.hit, outcome.why
    if hit is not None:
        from expops_prefect._internal.formatting import age

        text = f"from the cache: computed {age(hit.ended_at)} by {hit.run_id or 'a task outside runs'}"
    elif why is not None and not why.is_usual:
        text = f"executed: {why.text}"
    else:
        return
    endings = of_process(_Endings)
    endings[str(task_run.id)] = text
    while len(endings) > _MOST:  # left by silent loggers
        endings.pop(next(iter(endings)), None)


def _expops_record_flow_end(flow: Any, flow_run: Any, state: Any) -> None:
    """Record the end of a flow run. The runner of a deployment calls this hook too, by keyword."""
    flow_ended(flow, flow_run, state)


def flow_ended(flow: Any, flow_run: Any, state: Any) -> None:
    """Record that a flow run, or a subflow run, has reached a final state."""
    try:
        from expops_prefect.tracking.instrumentation import project_of_flow
        from expops_prefect.tracking.runs import end_from_outside, open_runs

        status: Status = "completed" if state.is_completed() else "failed"
        for run in open_runs():
            if run.owner and run.record.flow_run_id == str(flow_run.id):
                run.flow_ended(status, failure_of(state))
                return
            if run.call_of(flow_run.id) is not None:
                run.end(flow_run.id, status, failure=failure_of(state), kind="flow-run")
                return
            if run.is_inside(flow_run.id):
                return  # The task around it ends now too.
        if status == "failed":
            end_from_outside(project_of_flow(flow), str(flow_run.id), status, failure_of(state))
    except ConfigurationError:
        pass  # the flow has failed with it, and reports it
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("flow ends not recorded", repr(error), key=flow.name)


@cache
def _quiet_logger_class(kind: Any) -> Any:
    """A logger class without Prefect's INFO lines about this package's hooks; other lines and warnings stay.

    Prefect's line for the end of a task run says more: see :func:`_note_outcome`. A filter would run only after the
    record was made, which costs more than the hook itself.
    """

    class WithoutOwnHooks(kind):  # type: ignore[misc]
        def _log(self, level: int, msg: object, args: Any, *more: Any, stacklevel: int = 1, **named: Any) -> None:
            if isinstance(msg, str):
                if level < logging.WARNING and _OWN in msg:
                    return
                if msg.startswith(_END) and (extra := named.get("extra")) is not None and not args:
                    ending = of_process(_Endings).pop(str(extra.get("task_run_id")), None)
                    msg = msg if ending is None else f"{msg}; {ending}"
            # Skip this frame.
            super()._log(level, msg, args, *more, stacklevel=stacklevel + 1, **named)

    return WithoutOwnHooks


def add_task_hooks(task: Any) -> None:
    """Add this package's hooks after the user's, in lists of the task's own (Prefect shares lists between clones)."""
    task.on_completion_hooks = _with_hook(task.on_completion_hooks, _expops_record_task_end)
    task.on_failure_hooks = _with_hook(task.on_failure_hooks, _expops_record_task_end)


def add_flow_hooks(flow: Any) -> None:
    """Add this package's hooks after the user's, in lists of the flow's own."""
    for kind in ("completion", "failure", "cancellation", "crashed"):
        name = f"on_{kind}_hooks"
        setattr(flow, name, _with_hook(getattr(flow, name), _expops_record_flow_end))


def are_ours(hooks: list[Any]) -> bool:
    """Whether a task has no other hooks than this package's."""
    return all(hook is _expops_record_task_end for hook in hooks)


def _with_hook(hooks: list[Any], ours: Any) -> list[Any]:
    return [*(hook for hook in hooks if getattr(hook, "__name__", "") != ours.__name__), ours]


def _silence_own_hooks() -> None:
    """Keep lines about this package's hooks out of Prefect's loggers in this process."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if type(logger).__name__ != "WithoutOwnHooks":
            kind: Any = type(logger)
            logger.__class__ = _quiet_logger_class(kind)


# At import, because worker processes get tasks with these hooks without running a decorator.
_silence_own_hooks()
