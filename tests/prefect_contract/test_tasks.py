"""How Prefect makes, calls and submits tasks: what the decorators and the recorder rely on."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from prefect import Flow, flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.client.schemas.objects import State, TaskRunResult
from prefect.context import FlowRunContext, TaskRunContext
from prefect.tasks import Task
from prefect.transactions import CommitMode, get_transaction
from prefect.utilities.annotations import NotSet

from expops_prefect.tracking.wrapping import _CALLS, _SCOPES
from tests.prefect_contract.facts import Stores, check

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_what_with_options_keeps() -> None:
    def hook(task: Any, run: Any, state: Any) -> None: ...

    def body() -> None: ...

    used_by = "decorators"
    silent, chosen = Task(body), Task(body, cache_policy=NO_CACHE, on_completion=[hook])
    check(silent._user_cache_policy, NotSet, "a task without a cache policy says NotSet in _user_cache_policy", used_by)
    check(chosen._user_cache_policy, NO_CACHE, "_user_cache_policy is the policy that the user gave", used_by)
    check(silent._user_persist_result, None, "_user_persist_result is what the user gave", used_by)
    check(
        [chosen.with_options(name="n")._user_cache_policy, chosen.with_options(name="n").cache_policy],
        [NO_CACHE, NO_CACHE],
        "with_options keeps the policy that the user gave",
        used_by,
    )
    silent.cache_policy = cast("Any", INPUTS)
    check(
        cast("Any", silent.with_options(name="n").cache_policy) == INPUTS,
        False,
        "with_options drops a policy that was set afterwards",
        used_by,
    )
    check(
        chosen.with_options(name="n").on_completion_hooks,
        [hook],
        "with_options keeps the hooks of a task",
        "recording.hooks",
    )


def test_defaults_of_the_decorators_are_those_of_the_classes() -> None:
    def defaults(function: Any) -> dict[str, object]:
        parameters = inspect.signature(function).parameters.values()
        return {
            parameter.name: parameter.default
            for parameter in parameters
            if parameter.kind is parameter.KEYWORD_ONLY or parameter.name in ("name", "log_prints", "version")
        }

    for decorator, cls, except_for in ((task, Task, {"log_prints": None}), (flow.__call__, Flow, {})):
        by_class = defaults(cls.__init__)
        differing = {name: value for name, value in defaults(decorator).items() if value != by_class.get(name, value)}
        check(
            differing,
            except_for,
            f"the {cls.__name__.lower()} decorator's defaults are the class's, but for a task's log_prints",
            "decorators",
        )


def test_the_function_of_a_task_may_be_replaced() -> None:
    seen: dict[str, Any] = {}

    @task
    def work(x: int) -> int:
        return x

    def other(x: int) -> int:
        context = TaskRunContext.get()
        assert context is not None
        seen["fn"] = context.task.fn is other
        seen["task run"] = context.task_run.id is not None
        return x + 100

    work.fn = other

    @flow
    def run() -> int:
        context = FlowRunContext.get()
        assert context is not None
        seen["flow"] = context.flow is run
        seen["flow run"] = context.flow_run is not None
        seen["runner"] = context.task_runner is not run.task_runner
        return work(1)

    used_by = "recording.body"
    check(run(), 101, "the engine calls task.fn as it is at that moment", used_by)
    check(seen["fn"], True, "TaskRunContext holds the task itself", used_by)
    check([seen["flow"], seen["flow run"]], [True, True], "FlowRunContext holds the flow and its run", used_by)
    check(seen["runner"], True, "each flow run has a task runner of its own", "recording.calls")


def test_where_the_engines_take_functions_and_time_outs() -> None:
    taken: dict[str, set[str]] = {"fn": set(), "timeout_seconds": set()}

    def noting(name: str) -> Any:
        def read(self: Any) -> Any:
            caller = sys._getframe(1)
            if caller.f_globals["__name__"] in ("prefect.task_engine", "prefect.flow_engine"):
                taken[name].add(caller.f_code.co_name)
            return self.__dict__[name]

        return property(read, lambda self, value: self.__dict__.update({name: value}))

    class NotingTask(Task[..., Any]):
        fn, timeout_seconds = noting("fn"), noting("timeout_seconds")

    class NotingFlow(Flow[..., Any]):
        fn, timeout_seconds = noting("fn"), noting("timeout_seconds")

    def plain() -> None: ...

    async def awaited() -> None: ...

    def yielded() -> Iterator[int]:
        yield 1

    async def yielded_later() -> AsyncIterator[int]:
        yield 1

    async def drained(items: Any) -> None:
        async for _ in items:
            pass

    kinds: tuple[Any, ...] = (NotingTask, NotingFlow)
    for kind in kinds:
        kind(plain)()
        asyncio.run(kind(awaited)())
        list(kind(yielded)())
        asyncio.run(drained(kind(yielded_later)()))
    calls = {"call_task_fn", "run_generator_task_sync", "run_generator_task_async"}
    calls |= {"call_flow_fn", "run_generator_flow_sync", "run_generator_flow_async"}
    used_by = "recording.wrapping"
    check(taken["fn"] - {"create_flow_run"} - {"_flow_parameters"}, calls, "these call the function", used_by)
    check(calls - _CALLS, set(), "these are all", used_by)
    check(taken["timeout_seconds"], _SCOPES, "run_context opens the scope of a time-out", used_by)


def test_what_a_task_run_says_of_its_inputs() -> None:
    found: dict[str, Any] = {}

    def note(name: str) -> Any:
        context = TaskRunContext.get()
        assert context is not None
        found[name] = context.task_run.task_inputs
        return context.task_run.id

    @task(cache_policy=NO_CACHE)
    def load() -> list[Any]:
        return ["loaded", note("load")]

    @task(cache_policy=NO_CACHE)
    def inner() -> str:
        return str(note("inner"))

    @task(cache_policy=NO_CACHE)
    def train(data: list[Any], plain: int) -> Any:
        inner()
        return note("train")

    @task(cache_policy=NO_CACHE)
    def after() -> Any:
        return note("after")

    @flow
    def run() -> tuple[Any, Any]:
        data = load()
        trained = train.submit(data, 1)
        after.submit(wait_for=trained, return_state=False).wait()
        return data[1], trained.result()

    loaded, trained = run()
    used_by = "recording.calls"
    names = {name: {parameter for parameter, items in inputs.items() if items} for name, inputs in found.items()}
    check(
        names,
        {"load": set(), "train": {"data"}, "inner": {"__parents__"}, "after": {"wait_for"}},
        "task_inputs has the upstream task runs by parameter, wait_for, and __parents__ for the task that calls",
        used_by,
    )
    check(
        [list(found["train"]["data"]), list(found["after"]["wait_for"])],
        [[TaskRunResult(id=loaded)], [TaskRunResult(id=trained)]],
        "task_inputs names task runs by TaskRunResult(id=…)",
        used_by,
    )


def test_how_calls_are_handed_to_a_task_runner() -> None:
    calls: list[tuple[Any, ...]] = []
    submitted: list[Any] = []
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("contract", default="unset")
    seen: list[str] = []

    @task(cache_policy=NO_CACHE)
    def work(x: int, y: int = 0) -> int:
        seen.append(variable.get())
        context = TaskRunContext.get()
        assert context is not None
        submitted.append(getattr(context.task, "noted", None))
        return x

    @flow
    def run() -> list[int]:
        context = FlowRunContext.get()
        assert context is not None
        runner: Any = context.task_runner
        real: Callable[..., Any] = runner.submit

        def submit(task: Any, parameters: Any, wait_for: Any = None, *args: Any, **kwargs: Any) -> Any:
            calls.append((task is work, parameters, kwargs.get("dependencies") is not None or bool(args)))
            copy = task.with_options()
            copy.noted = f"noted {len(calls)}"
            return real(copy, parameters, wait_for, *args, **kwargs)

        runner.submit = submit
        variable.set("set in the flow")
        first = work.submit(1, y=5)
        done = threading.Event()
        first.add_done_callback(lambda future: done.set())
        first.wait()
        assert done.wait(10)
        return [first.result(), *(future.result() for future in work.map([2, 3]))]

    assert run() == [1, 2, 3]
    used_by = "recording.calls"
    check(
        calls,
        [(True, {"x": 1, "y": 5}, False), (True, {"x": 2, "y": 0}, True), (True, {"x": 3, "y": 0}, True)],
        "task.submit calls the runner's submit(task, parameters, wait_for); map calls it once for each element, in "
        "order, with dependencies",
        used_by,
    )
    check(
        sorted(submitted),
        ["noted 1", "noted 2", "noted 3"],
        "the task that is handed over is the one that runs",
        used_by,
    )
    check(
        set(seen),
        {"set in the flow"},
        "submitted tasks see the context variables of where they were submitted",
        "scope",
    )


def test_generators_always_run_and_end_as_cached() -> None:
    stores = Stores()
    ran, names = [], []

    @task(cache_policy=stores.policy, persist_result=True, on_completion=[lambda t, r, state: names.append(state.name)])
    def numbers() -> Iterator[int]:
        ran.append(1)
        yield from (1, 2)

    @task(cache_policy=stores.policy.configure(), persist_result=True)
    async def later() -> AsyncIterator[int]:
        yield 3

    made: list[Any] = [numbers, later]  # Prefect's annotations do not know generator tasks

    @flow
    def run() -> list[int]:
        return list(made[0]())

    @flow
    async def arun() -> list[int]:
        return [number async for number in made[1]()]

    assert [run(), run(), asyncio.run(arun())] == [[1, 2], [1, 2], [3]]
    check([numbers.isgenerator, later.isgenerator], [True, True], "isgenerator says it of both kinds", "caching.policy")
    check(len(ran), 2, "generator tasks are executed always", "caching.policy")
    check(
        names,
        ["Completed", "Cached"],
        "a generator task ends in a state named Cached although it was executed (so the name means nothing to us)",
        "recording.run",
    )


def test_a_step_that_commits_by_itself_outlives_its_parent() -> None:
    eager, lazy = Stores(key="eager"), Stores(key="lazy")
    seen: dict[str, Any] = {}

    @task(cache_policy=eager.policy, persist_result=True)
    def commits_itself() -> int:
        transaction = get_transaction()
        assert transaction is not None
        seen["mode"] = transaction.commit_mode
        seen["parent"] = transaction.get_parent() is seen["outer"]
        transaction.commit_mode = CommitMode.EAGER
        return 1

    @task(cache_policy=lazy.policy, persist_result=True)
    def waits_for_its_parent() -> int:
        return 2

    @task(cache_policy=NO_CACHE)
    def process() -> None:
        seen["outer"] = get_transaction()
        commits_itself()
        waits_for_its_parent()
        raise ValueError("on purpose")

    @flow
    def run() -> State[Any]:
        return process(return_state=True)

    run(return_state=True)
    used_by = "recording.body"
    check(seen["mode"], CommitMode.LAZY, "a task's transaction is lazy", used_by)
    check(seen["parent"], True, "the transaction of a task called in a task has the caller's as its parent", used_by)
    check(
        [list(eager.results.files), list(lazy.results.files)],
        [["eager"], []],
        "a nested task's result is lost when its parent fails, unless its own commit mode was set to EAGER meanwhile",
        used_by,
    )


def test_a_task_run_that_does_not_enter_the_engine() -> None:
    """Hits that are answered at once begin like this; misses go on in the engine as the same task run."""
    from prefect.task_engine import _create_task_run_locally, run_task

    seen: dict[str, Any] = {}

    @task(tags=["red"])
    def body(x: int) -> Any:
        context = TaskRunContext.get()
        assert context is not None
        return context.task_run.id

    @flow
    def main() -> None:
        around = FlowRunContext.get()
        assert around is not None
        assert around.flow_run is not None
        begun = _create_task_run_locally(
            task=body, parameters={"x": body(1)}, wait_for=None, extra_task_inputs={"x": set()}
        )
        seen["begun"] = (begun.flow_run_id == around.flow_run.id, begun.state.name, begun.tags, begun.name[:5])  # type: ignore[union-attr]
        seen["inputs"] = sorted(begun.task_inputs)
        seen["same"] = run_task(body, begun.id, parameters={"x": 1}) == begun.id
        seen["context"] = (around.client is not None, around.task_run_assets.get(begun.id) or set())

    main()
    used_by = "tracking.fast_hits"
    check(seen["begun"], (True, "Pending", ["red"], "body-"), "a local task run is pending, with its tags", used_by)
    check(seen["inputs"], ["x"], "a local task run has its inputs by parameter", used_by)
    check(seen["same"], True, "the engine goes on with the id that it is given", used_by)
    check(seen["context"], (True, set()), "the flow's context has its client, and the assets of task runs", used_by)


def test_map_submits_one_by_one() -> None:
    calls: list[dict[str, Any]] = []

    @task
    def body(x: int, y: int) -> int:
        return x + y

    @flow
    def main() -> None:
        runner = cast("Any", FlowRunContext.get()).task_runner
        runner.submit = lambda **kwargs: calls.append(kwargs)
        body.map([1, 2], 3)

    main()
    check(
        [(call["parameters"], isinstance(call["dependencies"], dict)) for call in calls],
        [({"x": 1, "y": 3}, True), ({"x": 2, "y": 3}, True)],
        "map calls its runner's submit for each element in order, with the dependencies by name, and keeps no result",
        "tracking.submissions",
    )
