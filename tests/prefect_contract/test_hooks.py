"""When Prefect calls hooks, with what, and what it logs of it: what the recorder relies on."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Crashed

from tests.prefect_contract.facts import Lines, Stores, check

pytestmark = pytest.mark.usefixtures("prefect_server")

USED_BY = "recording.hooks"
NAMES = ("call_hooks", "setup_run_context")


def test_hooks_of_tasks(lines: Lines) -> None:
    stores = Stores()
    events: list[str] = []

    def noting(kind: str) -> Any:
        def hook(task: Any, task_run: Any, state: Any) -> None:
            started = "" if task_run.start_time is None else ", started"
            events.append(f"{kind} {task.name} {state.name}{started}")

        return hook

    def raising(task: Any, task_run: Any, state: Any) -> None:
        raise RuntimeError("in a hook")

    hooks: dict[str, Any] = {"on_completion": [noting("completion")], "on_failure": [noting("failure")]}

    @task(cache_policy=stores.policy, persist_result=True, on_running=[noting("running")], **hooks)
    def cached() -> int:
        return 1

    @task(cache_policy=NO_CACHE, retries=1, **hooks)
    def failing() -> None:
        raise ValueError("on purpose")

    @task(cache_policy=NO_CACHE, on_completion=[raising, noting("after one that raises")])
    def disturbed() -> int:
        return 2

    @task(cache_policy=NO_CACHE, **hooks)
    def crashing() -> None:
        raise KeyboardInterrupt

    @flow
    def run() -> None:
        cached()
        cached()
        failing(return_state=True)
        disturbed()
        crashing()

    with pytest.raises(KeyboardInterrupt):
        run()
    check(
        events,
        [
            "running cached Running, started",
            "completion cached Completed, started",
            "running cached Running, started",
            "completion cached Cached, started",
            "failure failing Failed, started",
            "after one that raises disturbed Completed, started",
        ],
        "a hit calls the completion hooks, in a state named Cached; failure hooks run once, after the last retry; a "
        "hook that raises does not stop the next; a crash calls no hook of the task's",
        USED_BY,
    )
    said = [line for line in lines.of(logging.INFO) if "hook" in line.lower()]
    check(
        said[:2],
        [
            "Running hook 'hook' in response to entering state 'Running'",
            "Hook 'hook' finished running successfully",
        ],
        "each call of a hook logs two INFO lines that name it in quotes (our filter looks for ours)",
        USED_BY,
    )
    check(
        {record.name.split(".")[1] for record in lines.records if "hook" in record.getMessage().lower()},
        {"task_runs"},
        "lines about hooks of tasks come from the logger prefect.task_runs",
        USED_BY,
    )
    check(len(lines.of(logging.ERROR)) >= 1, True, "a hook that raises is logged as an error", USED_BY)
    ends = [
        (record.name, place, str(getattr(record, "task_run_id", "")))
        for place, record in enumerate(lines.records)
        if record.getMessage().startswith("Finished in state ") and "task_runs" in record.name
    ]
    called = {
        str(getattr(record, "task_run_id", "")): place
        for place, record in enumerate(lines.records)
        if "'hook' finished" in record.getMessage()
    }
    check(
        [name for name, _, _ in ends],
        ["prefect.task_runs"] * 5,
        "a task run that ends has one line in prefect.task_runs that says in which state (ours is added to it)",
        USED_BY,
    )
    check(
        [called[task_run] < place for _, place, task_run in ends if task_run in called],
        [True] * 4,
        "that line names the task run in task_run_id, and comes after the hooks",
        USED_BY,
    )


def test_hooks_of_flows(lines: Lines) -> None:
    events: list[str] = []
    release = threading.Event()
    started = threading.Event()

    def running(flow: Any, flow_run: Any, state: Any) -> None:
        events.append(f"running, start time {flow_run.start_time is not None}")

    def completed(flow: Any, flow_run: Any, state: Any) -> None:
        events.append(f"completed {state.name}")
        release.set()

    @task(cache_policy=NO_CACHE)
    def straggler() -> None:
        started.set()
        assert release.wait(60), "the flow's completion hook waited for a submitted task"
        events.append("submitted task ended")

    @flow(on_running=[running], on_completion=[completed])
    def run() -> int:
        straggler.submit()
        assert started.wait(60)
        return 1

    assert run() == 1
    check(
        events,
        ["running, start time False", "completed Completed", "submitted task ended"],
        "the first on_running hook sees no start time, and a flow's completion hook runs before submitted tasks that "
        "nobody waited for have ended",
        "recording.run",
    )
    names = {record.name.split(".")[1] for record in lines.records if "'completed'" in record.getMessage()}
    check(names, {"flow_runs"}, "lines about hooks of flows come from the logger prefect.flow_runs", USED_BY)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_hooks_of_a_flow_that_crashes(error: type[BaseException]) -> None:
    events: list[str] = []

    def crashed(flow: Any, flow_run: Any, state: Any) -> None:
        events.append(state.type.value)

    @flow(on_crashed=[crashed], on_failure=[crashed])
    def run() -> None:
        raise error

    with pytest.raises(error):
        run()
    check(events, ["CRASHED"], f"{error.__name__} in a flow calls its on_crashed hooks, in this process", USED_BY)


def test_a_flow_that_is_retried_calls_no_hook_in_between() -> None:
    events: list[str] = []
    bodies: list[object] = []

    def ended(flow: Any, flow_run: Any, state: Any) -> None:
        events.append(state.name)

    @flow(retries=1, on_completion=[ended], on_failure=[ended])
    def run() -> int:
        from prefect.runtime import flow_run

        bodies.append(flow_run.id)
        if len(bodies) == 1:
            raise ValueError("the first time")
        return 1

    assert run() == 1
    check(events, ["Completed"], "a flow's failure hooks do not run for an attempt that is retried", "recording.run")
    check(len(set(bodies)), 1, "a flow that is retried keeps its flow run id", "recording.run")


def test_hooks_that_the_runner_of_a_deployment_calls() -> None:
    from prefect.runner._hook_runner import HookRunner

    calls: list[Any] = []

    def crashed(*positional: Any, **named: Any) -> None:
        calls.append((positional, sorted(named), named["flow"].name, named["flow_run"].id, named["state"].name))

    @flow(on_crashed=[crashed])
    def run() -> None: ...

    async def resolve(flow_run: Any) -> Any:
        return run

    flow_run: Any = SimpleNamespace(id="x", name="n", flow_id=None, deployment_id=None, tags=[])
    asyncio.run(HookRunner(resolve_flow=resolve).run_crashed_hooks(flow_run, Crashed()))
    check(
        calls,
        [((), ["flow", "flow_run", "state"], "run", "x", "Crashed")],
        "a runner calls on_crashed hooks for a process that died, by keyword: flow, flow_run, state",
        USED_BY,
    )


def test_the_engine_tells_of_each_state() -> None:
    """What ``recording.states`` looks on at: one call for each state, in the task run's context but for a crash."""
    import prefect.task_engine
    from prefect.context import TaskRunContext
    from prefect.transactions import get_transaction

    stores = Stores()
    events: list[str] = []
    engine: Any = prefect.task_engine
    send = engine.emit_task_run_state_change_event

    def noting(*args: Any, **named: Any) -> Any:
        assert not args
        context, transaction = TaskRunContext.get(), get_transaction()
        inside = context is not None and context.task_run.id == named["task_run"].id
        found = " found" if transaction is not None and transaction.key and transaction.is_committed() else ""
        events.append(f"{named['validated_state'].name}{'' if inside else ' outside'}{found}")
        return send(*args, **named)

    @task(cache_policy=stores.policy, persist_result=True)
    def kept(after: object = None) -> int:
        return 1

    @task(cache_policy=NO_CACHE)
    def failing() -> None:
        raise ValueError("on purpose")

    @task(cache_policy=NO_CACHE)
    async def waiting() -> int:
        return 1

    @task(cache_policy=NO_CACHE)
    def crashing() -> None:
        raise KeyboardInterrupt

    @flow
    def run() -> None:
        for each in (kept, kept, failing, waiting):
            state: Any = each(return_state=True)
            if asyncio.iscoroutine(state):
                asyncio.run(state)
        kept.submit(failing.submit()).wait()
        crashing()

    engine.emit_task_run_state_change_event = noting
    try:
        run(return_state=True)
    except KeyboardInterrupt:
        pass
    finally:
        engine.emit_task_run_state_change_event = send
    begins = ["Pending", "Running"]
    expected = [*begins, "Completed", *begins, "Cached found", *begins, "Failed", *begins, "Completed"]
    expected += [*begins, "Failed", "Pending", "NotReady", *begins, "Crashed outside"]
    check(events, expected, "each state of a task run goes through one function of the engine", "recording.states")


def test_the_flow_engines_tell_of_each_state_and_body() -> None:
    """What ``recording.flow_states`` looks on at: one call for each state, and a context around each try of a body."""
    from contextlib import asynccontextmanager, contextmanager

    from prefect.context import FlowRunContext
    from prefect.flow_engine import AsyncFlowRunEngine, FlowRunEngine

    events: list[str] = []
    kept = {(engine, name): vars(engine)[name] for engine in (FlowRunEngine, AsyncFlowRunEngine) for name in NAMES}

    def note(self: Any, what: str) -> None:
        context = FlowRunContext.get()
        inside = context is not None and context.flow_run is not None and context.flow_run.id == self.flow_run.id
        events.append(f"{self.flow.name} {what} {'inside' if inside else 'outside'}")

    def call_hooks(self: Any, state: Any = None) -> Any:
        note(self, state.name)
        return kept[type(self), "call_hooks"](self, state)

    async def call_hooks_async(self: Any, state: Any = None) -> Any:
        note(self, state.name)
        return await kept[type(self), "call_hooks"](self, state)

    @contextmanager
    def setup(self: Any, *args: Any) -> Any:
        note(self, "begins")
        with kept[type(self), "setup_run_context"](self, *args):
            note(self, "runs")
            yield

    @asynccontextmanager
    async def setup_async(self: Any, *args: Any) -> Any:
        note(self, "begins")
        async with kept[type(self), "setup_run_context"](self, *args):
            note(self, "runs")
            yield

    @flow(retries=1)
    def again() -> None:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        if context.flow_run.run_count == 1:
            raise ValueError("on purpose")

    @flow
    def typed(number: int) -> None: ...

    @flow
    async def waiting() -> None: ...

    @flow
    def outer() -> None:
        again()
        typed("many", return_state=True)
        asyncio.run(waiting())

    replaced: Any = {FlowRunEngine: (call_hooks, setup), AsyncFlowRunEngine: (call_hooks_async, setup_async)}
    try:
        for engine, methods in replaced.items():
            for name, method in zip(NAMES, methods, strict=True):
                setattr(engine, name, method)
        outer()
    finally:
        for (engine, name), original in kept.items():
            setattr(engine, name, original)
    begins = ["Running outside", "begins outside", "runs inside"]
    expected = {
        "again": [*begins, "AwaitingRetry inside", "Running inside", *begins[1:], "Completed inside"],
        "typed": ["Failed outside"],
        "waiting": [*begins, "Completed inside"],
    }
    for name, told in expected.items():
        check(
            [event.removeprefix(f"{name} ") for event in events if event.startswith(f"{name} ")],
            told,
            f"each state and each body of a flow run go through two methods of the engine ({name})",
            "recording.flow_states",
        )
