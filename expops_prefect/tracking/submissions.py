"""Calls that go to a task runner: numbered where they are made, and sent along with the task."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Final

from prefect.futures import PrefectFutureList
from prefect.task_runners import ThreadPoolTaskRunner

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache.keys import key_name
from expops_prefect.run_context import CALL_ATTRIBUTE, PLACE_ATTRIBUTE, PROJECT_ATTRIBUTE, Call, RunContext
from expops_prefect.tracking.calls import is_ours, run_ids, scope_here
from expops_prefect.tracking.run import Run

_WRAPPED: Final = "_expops_submits"
_TOGETHER: Final = 200
"""Mapped calls that are looked up together: the first of many must not wait for the last."""


@dataclass(slots=True)
class Submission:
    """A call as a task runner gets it.

    Attributes:
        task: the task, with its call.
        parameters: the arguments by name.
        wait_for: what it waits for.
        dependencies: the inputs of mapped parameters, which only map passes.
    """

    task: Any
    parameters: dict[str, Any]
    wait_for: Any = None
    dependencies: Any = None


_collected: ContextVar[list[Submission] | None] = ContextVar("expops_collected", default=None)
"""The calls of the map that is being split here."""


def watch_submissions(runner: Any) -> None:
    """Let a task runner's ``submit`` and ``map`` number each call and send it along with the task.

    ``map`` calls ``submit``, once for each element in order. Prefect makes a task runner for each flow run, so the
    methods are replaced on the instance.

    Args:
        runner: Prefect's task runner of the flow run, or ``None``.
    """
    if runner is None or getattr(runner, _WRAPPED, False):
        return
    submit, split = runner.submit, runner.map
    in_threads = isinstance(runner, ThreadPoolTaskRunner)

    def submit_numbered(task: Any, parameters: Any, wait_for: Any = None, *args: Any, **kwargs: Any) -> Any:
        here = scope_here()
        run = here.run if here is not None else None
        if not isinstance(run, Run):
            return submit(_with_project(task), parameters, wait_for, *args, **kwargs)
        dependencies = kwargs.get("dependencies") or (args[0] if args else None)
        mapped = kwargs.get("dependencies") is not None or bool(args)
        marked = numbered(run, here, task, mapped=mapped, apart=not in_threads)
        given = Submission(marked, parameters, wait_for, dependencies)
        collected = _collected.get()
        if collected is not None:
            collected.append(given)
            return None
        (hit,) = _hits(run, [given]) if in_threads else [None]
        return hit or _to_engine(run, given, submit, in_threads=in_threads)

    def map_together(task: Any, parameters: Any, wait_for: Any = None) -> Any:
        here = run_context.answers_fast()
        if here is None or not isinstance(here.run, Run) or not in_threads:
            return split(task, parameters, wait_for)
        given: list[Submission] = []
        token = _collected.set(given)
        try:
            split(task, parameters, wait_for)
        finally:
            _collected.reset(token)
        futures: list[Any] = []
        for start in range(0, len(given), _TOGETHER):
            part = given[start : start + _TOGETHER]
            for one, hit in zip(part, _hits(here.run, part), strict=True):
                futures.append(hit or _to_engine(here.run, one, submit, in_threads=True))
        return PrefectFutureList(futures)  # type: ignore[abstract]

    runner.submit, runner.map = submit_numbered, map_together
    setattr(runner, _WRAPPED, True)


def _hits(run: Run, given: Sequence[Submission]) -> Sequence[Any]:
    """The futures of the calls that are answered at once; ``None`` for the others."""
    if not run.project.settings.cache.fast_hits:
        return [None] * len(given)
    from expops_prefect.tracking import fast_hits

    return fast_hits.submitted(run, given)


def _to_engine(run: Run, given: Submission, submit: Callable[..., Any], *, in_threads: bool) -> Any:
    """Submit a call to the task runner; returns its future."""
    task = given.task
    call: Call = getattr(task, CALL_ATTRIBUTE)
    if not in_threads:
        call = replace(call, upstream=_upstream(run, given))
        setattr(task, CALL_ATTRIBUTE, call)
    run.submitted(call)
    try:
        more = {} if given.dependencies is None else {"dependencies": given.dependencies}
        future = submit(task, given.parameters, given.wait_for, **more)
    except BaseException:
        run.submission_done()
        raise
    if not in_threads:
        run.producers.add(future.task_run_id, call)
    try:
        future.add_done_callback(lambda _: run.submission_done())
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: the task runs, so its future is the caller's
        degrade("task ends not recorded", repr(error), key=task.name)
        run.submission_done()
    return future


def _upstream(run: Run, given: Submission) -> tuple[str, ...]:
    """The processes whose data a submitted call uses. In another process its futures have become values."""
    from prefect.utilities.engine import collect_task_run_inputs_sync

    found = collect_task_run_inputs_sync([given.parameters, list(given.wait_for or ())])
    found = found.union(*(given.dependencies or {}).values())
    return tuple(sorted(run.producers.of(run_ids(found))))


def numbered(run: Run, here: RunContext | None, task: Any, *, mapped: bool = False, apart: bool = False) -> Any:
    """A copy of a task that is called here, with its call, whose number it has from now on.

    Args:
        run: the recorded run.
        here: the run context of the caller.
        task: the task.
        mapped: whether the call belongs to a group.
        apart: whether its own calls go below it, see :meth:`Run.new_call`.
    """
    marked = copy.copy(task)
    place = getattr(task, PLACE_ATTRIBUTE, None)
    call = run.new_call(here, key_name(task), task.name, mapped=mapped, place=place, apart=apart)
    setattr(marked, CALL_ATTRIBUTE, call)
    return marked


def _with_project(task: Any) -> Any:
    """A task submitted by an unrecorded flow, marked with the flow's project for the worker process."""
    project = run_context.flow_project.get()
    if project is None or not is_ours(task):
        return task
    submitted = copy.copy(task)
    setattr(submitted, PROJECT_ATTRIBUTE, project)
    return submitted
