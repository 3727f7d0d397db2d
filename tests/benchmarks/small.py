"""Task runs with small inputs and results: what the cache adds to each, executed and hit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import prefect
from prefect import unmapped
from prefect.cache_policies import INPUTS, TASK_SOURCE

import expops_prefect
from tests.benchmarks.bench import Bench, seconds
from tests.benchmarks.harness import Goal, Measure, compared, one_round

EXECUTED = Goal("overhead", 1.1)
HIT = Goal("overhead", 1.0)
FAST_HIT = Goal("overhead", 0.5)
FAST: Final = "fast_hits: true"
ONLY_TOLD = Goal("overhead")
WARM_UP = 4
IN_A_FLOW = 6
"""Task runs of a flow run whose single task runs are measured."""
TASK_RUNS = 20
"""How many a whole flow run has."""
AT_REST = 0.1
"""A server that writes within so many seconds has nothing else to do."""

Result = dict[str, Any]


def summarise(rate: float, epochs: int, labels: list[str]) -> Result:
    """A small result that no second execution gives again, which is how hits are told."""
    return {"rate": rate, "epochs": epochs, "labels": labels, "executed": time.perf_counter_ns()}


def contestants() -> dict[str, Callable[[float, int, list[str]], Result]]:
    """The task with our cache, and with Prefect's own."""
    return {
        # Asked for: a task that gives back a time would be executed each time. It is watched all the same.
        "ours": expops_prefect.task(cache_policy=expops_prefect.EXPOPS)(summarise),
        "Prefect": prefect.task(cache_policy=INPUTS + TASK_SOURCE, persist_result=True)(summarise),
    }


def measure(bench: Bench, cache: str = "", said: str = "", goal: Goal = HIT) -> Iterator[Measure]:
    """Executions, then hits in later flow runs; each contestant in flows of its own decorator.

    A flow of ours also records Prefect's task runs, and would make them slower.

    Args:
        bench: the run of the benchmark.
        cache: settings of our project.
        said: what the measures add for it.
        goal: that of hits.
    """
    tasks = contestants()
    results: list[dict[str, list[Result]]] = []

    def body(name: str, first: int) -> float:
        def run(numbers: range) -> None:
            results[-1][name] += [tasks[name](0.1, number, ["a", "b", "c"]) for number in numbers]

        run(range(first, first + 1))  # with what only the first task run of a flow run costs
        return seconds(lambda: run(range(first + 1, first + IN_A_FLOW))) / (IN_A_FLOW - 1)

    flows: dict[str, Callable[[str, int], float]] = {
        "ours": expops_prefect.flow(project=bench.project(f"small{len(said)}", cache), name="small")(body),
        "Prefect": prefect.flow(name="small")(body),
    }
    samples = []
    for _ in ("executed", "hit"):
        results.append({name: [] for name in tasks})
        rounds = [
            one_round({name: partial(flows[name], name, number * IN_A_FLOW) for name in flows}, number)
            for number in range(bench.small_rounds + WARM_UP)
        ]
        samples.append(rounds[WARM_UP:])
    for name in tasks:
        _check(name, results[0][name], results[1][name])
    yield compared(samples[0], f"small task run, executed and stored{said}", ONLY_TOLD if said else EXECUTED)
    yield compared(samples[1], f"small task run, hit{said}", goal)


def measure_flow(bench: Bench, cache: str = "", said: str = "") -> Iterator[Measure]:
    """Whole flow runs of twenty task runs each, with what only a flow's start and end cost; see :func:`measure`."""
    tasks = contestants()
    results: list[dict[str, list[Result]]] = []

    def body(name: str, first: int) -> list[Result]:
        return [tasks[name](0.2, first + number, ["a", "b", "c"]) for number in range(TASK_RUNS)]

    flows: dict[str, Callable[[str, int], list[Result]]] = {
        "ours": expops_prefect.flow(project=bench.project(f"whole{len(said)}", cache), name="whole")(body),
        "Prefect": prefect.flow(name="whole")(body),
    }

    def timed(name: str, number: int) -> Callable[[], float]:
        def run() -> float:
            settle()
            return seconds(lambda: results[-1].update({name: flows[name](name, number * TASK_RUNS)}))

        return run

    samples: dict[str, list[dict[str, float]]] = {"executed": [], "hit": []}
    for number in range(bench.large_rounds + 1):
        for kind in samples:
            results.append({})
            samples[kind].append(one_round({name: timed(name, number) for name in flows}, number))
        for name in flows:
            _check(name, results[-2][name], results[-1][name])
    for kind, rounds in samples.items():
        yield compared(rounds[1:], f"flow run of {TASK_RUNS} task runs, {kind}{said}", ONLY_TOLD)


def measure_mapped(bench: Bench, cache: str = "", said: str = "", goal: Goal = HIT) -> Iterator[Measure]:
    """Flow runs that map a task over a thousand values, all hits but for the first flow run; see :func:`measure`."""
    tasks, count = contestants(), 50 if bench.quick else 1000
    results: dict[str, list[list[Result]]] = {name: [] for name in tasks}

    def body(name: str) -> list[Result]:
        found = tasks[name].map(0.3, range(count), unmapped(["a", "b", "c"])).result()  # type: ignore[attr-defined]
        results[name].append(found)
        return []

    flows: dict[str, Callable[[str], list[Result]]] = {
        "ours": expops_prefect.flow(project=bench.project(f"mapped{len(said)}", cache), name="mapped")(body),
        "Prefect": prefect.flow(name="mapped")(body),
    }

    def timed(name: str) -> Callable[[], float]:
        def run() -> float:
            settle()
            return seconds(lambda: flows[name](name))

        return run

    rounds = [one_round({name: timed(name) for name in flows}, number) for number in range(bench.large_rounds + 1)]
    for name, found in results.items():
        if any(hits != found[0] for hits in found):
            raise AssertionError(f"{name}: a task run that should have been a hit was executed")
    yield compared(rounds[1:], f"{count:,} mapped task runs, all hits{said}", goal)


def measure_fast(bench: Bench) -> Iterator[Measure]:
    """The same with hits that do not enter Prefect's engine."""
    said = ", fast hits"
    yield from measure(bench, FAST, said, FAST_HIT)
    yield from measure_flow(bench, FAST, said)
    yield from measure_mapped(bench, FAST, said, FAST_HIT)


def settle() -> None:
    """Wait until Prefect's server has dealt with the events of the run before: the next one pays for them otherwise."""
    from prefect.variables import Variable

    quick = 0
    while quick < 5:
        taken = seconds(lambda: Variable.set("benchmark", 1, overwrite=True))
        quick = quick + 1 if taken < AT_REST else 0
        time.sleep(0.2)


def _check(name: str, executed: list[Result], hit: list[Result]) -> None:
    if len({result["executed"] for result in executed}) != len(executed):
        raise AssertionError(f"{name}: a task run that should have been executed was a hit")
    if hit != executed:
        raise AssertionError(f"{name}: a task run that should have been a hit was executed")
