"""Record subflows made with Prefect's own decorator by watching the engine that runs them.

The flow, its states and its hooks stay unchanged, as with tasks in :mod:`expops_prefect.tracking.task_states`.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from uuid import UUID

from expops_prefect._internal.diagnostics import degrade
from expops_prefect.cache import reasons
from expops_prefect.record.process_rows import Status
from expops_prefect.run_context import RunContext
from expops_prefect.tracking import instrumentation
from expops_prefect.tracking.hooks import failure_of, flow_ended
from expops_prefect.tracking.run import Run
from expops_prefect.tracking.runs import open_runs
from expops_prefect.tracking.subflows import is_inside_entry
from expops_prefect.tracking.wrapping import Surrounded

_HOOKS: Final = "call_hooks"
_SETS_UP: Final = "setup_run_context"
_WATCHED: Final = "_expops_watched"
_BEGAN: Final = "_expops_began"


def watch() -> None:
    """Watch the engine of this process from now on."""
    from prefect.flow_engine import AsyncFlowRunEngine, FlowRunEngine

    _replace(FlowRunEngine, _SETS_UP, _observe_setup)
    _replace(AsyncFlowRunEngine, _SETS_UP, _observe_setup_async)
    _replace(FlowRunEngine, _HOOKS, _observe_hooks)
    _replace(AsyncFlowRunEngine, _HOOKS, _observe_hooks_async)


def _replace(engine: Any, name: str, replacement: Callable[[Any], Any]) -> None:
    original = getattr(engine, name)
    if not getattr(original, _WATCHED, False):
        replaced = functools.wraps(original)(replacement(original))
        setattr(replaced, _WATCHED, True)
        setattr(engine, name, replaced)


def _observe_setup(original: Any) -> Any:
    @contextmanager
    def setup_run_context(self: Any, *args: Any, **named: Any) -> Iterator[None]:
        # Ask for the caller before the subflow has a context of its own.
        outer = _called_in(self)
        with original(self, *args, **named), _subflow_body(self, outer):
            yield

    return setup_run_context


def _observe_setup_async(original: Any) -> Any:
    @asynccontextmanager
    async def setup_run_context(self: Any, *args: Any, **named: Any) -> AsyncIterator[None]:
        outer = _called_in(self)
        async with original(self, *args, **named):
            with _subflow_body(self, outer):
                yield

    return setup_run_context


def _observe_hooks(original: Any) -> Any:
    def call_hooks(self: Any, state: Any = None) -> Any:
        called = original(self, state)
        _handle_state(self, state or self.state)
        return called

    return call_hooks


def _observe_hooks_async(original: Any) -> Any:
    async def call_hooks(self: Any, state: Any = None) -> Any:
        called = await original(self, state)
        _handle_state(self, state or self.state)
        return called

    return call_hooks


def _called_in(engine: Any) -> RunContext | None:
    """The caller of a subflow made with Prefect's own decorator; ``None`` for other flows and outside recorded runs."""
    setattr(engine, _BEGAN, True)
    return None if isinstance(engine.flow, Surrounded) else instrumentation.called_in()


@contextmanager
def _subflow_body(engine: Any, outer: RunContext | None) -> Iterator[None]:
    """Mark a subflow as running while its body runs, and record the calls in it below it."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if outer is None or context is None or not isinstance(outer.run, Run):
        yield
        return
    here = outer
    try:
        call = instrumentation.begin_subflow(outer.run, outer, engine.flow, engine.flow_run, engine.parameters)
        outer.run.executing(engine.flow_run.id)
        here = RunContext(outer.run, call)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("flow states not recorded", repr(error), key=engine.flow.name)
    with instrumentation.in_flow(context, here):
        yield


def _handle_state(engine: Any, state: Any) -> None:
    """Handle a state that a flow run of this process has reached."""
    try:
        if not getattr(engine, _BEGAN, False):
            _record_failed_start(engine, state)
        if state.is_final() and not isinstance(engine.flow, Surrounded):
            _ended(engine.flow_run.id, state)
        elif state.is_cancelled():
            # The flow itself returned it. Prefect calls no hook for that: the cancellation hooks are for its runner.
            flow_ended(engine.flow, engine.flow_run, state)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("flow states not recorded", repr(error), key=engine.flow.name)


def _record_failed_start(engine: Any, state: Any) -> None:
    """Record a subflow that fails before its body: its parameters are wrong, or its dependencies failed."""
    if not (state.is_failed() or state.name == "NotReady") or is_inside_entry(engine.flow):
        return
    outer = instrumentation.called_in()
    if outer is None or not isinstance(outer.run, Run):
        return
    instrumentation.begin_subflow(outer.run, outer, engine.flow, engine.flow_run, engine.parameters)
    if state.is_failed():
        outer.run.end(engine.flow_run.id, "failed", failure=failure_of(state), kind="flow-run")
    else:
        outer.run.never_began(engine.flow_run.id, reasons.NOT_READY)


def _ended(flow_run_id: UUID, state: Any) -> None:
    status: Status = "completed" if state.is_completed() else "failed"
    for run in open_runs():
        if run.call_of(flow_run_id) is not None:
            run.end(flow_run_id, status, failure=failure_of(state), kind="flow-run")
