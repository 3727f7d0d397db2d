"""The same flow again and again, in separate processes: exactly what depends on a change between runs."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.processes import FlowProject, short

CONFIG = """
reproducibility: {random_seed: 1}
data: {path: data.csv}
experiment:
  pipeline:
    process_adjlist: "load train\\ntrain score"
    processes:
      - name: train
        hyperparameters: {rate: 0.5}
      - name: score
        parameters: {unit: percent}
prefect: {project_id: shop}
"""

TASKS = """
from executions import ran
from shop.maths import centred


def _load(text):
    ran("load")
    return {"numbers": [float(part) for part in text.split(",")], "tags": {"a", "b", "c"}}


def _train(data, offset):
    ran("train")
    return [number * RATE + offset for number in centred(data["numbers"])]


def _score(values):
    ran("score")
    return sum(values)


RATE = 2.0
"""

MATHS = """
from shop.deep import mean


def centred(numbers):
    middle = mean(numbers)
    return [number - middle for number in numbers]
"""

DEEP = """
SHIFT = 0.0


def mean(numbers):
    # the average
    return sum(numbers) / len(numbers) + SHIFT
"""

SYNC = """
import sys
from expops_prefect import flow, task
from shop.work import _load, _train, _score

load, train, score = task(_load, name="load"), task(_train, name="train"), task(_score, name="score")


@flow
def main(text, offset=0.0):
    return score(train(load(text), offset))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "1,2,3")
"""

ASYNC = """
import asyncio, sys
from expops_prefect import flow, task
from shop.work import _load, _train, _score


@task(name="load")
async def load(text):
    return _load(text)


@task(name="train")
async def train(data, offset):
    return _train(data, offset)


@task(name="score")
async def score(values):
    return _score(values)


@flow
async def main(text, offset=0.0):
    return await score(await train(await load(text), offset))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "1,2,3"))
"""

PLAIN = SYNC.replace("from expops_prefect import flow, task", "from prefect import flow, task")
INSTRUMENTED = """
import sys
from expops_prefect import instrument
from shop.plain import main

instrument(main)
main(sys.argv[1] if len(sys.argv) > 1 else "1,2,3")
"""

ALL = {"load": 1, "train": 1, "score": 1}


def make_shop(folder: Path) -> FlowProject:
    shop = FlowProject(folder, CONFIG)
    shop.write("data.csv", "a,b\n1,2\n")
    shop.write("shop/__init__.py", "")
    shop.write("shop/work.py", TASKS)
    shop.write("shop/maths.py", MATHS)
    shop.write("shop/deep.py", DEEP)
    shop.write("shop/plain.py", PLAIN)
    shop.write("sync_flow.py", SYNC)
    shop.write("async_flow.py", ASYNC)
    shop.write("instrumented_flow.py", INSTRUMENTED)
    return shop


@pytest.mark.parametrize(
    "script", ["sync_flow.py", pytest.param("async_flow.py", marks=pytest.mark.nightly), "instrumented_flow.py"]
)
def test_exactly_what_depends_on_a_change_runs(tmp_path: Path, script: str) -> None:
    shop = make_shop(tmp_path)

    def executed(*arguments: str, hashseed: int = 0) -> dict[str, int]:
        return dict(shop.run(script, *arguments, hashseed=hashseed).ok().executions)

    def why() -> dict[str, list[str]]:
        """Of the newest run by process: the differences, or else why it was executed, or that it was not."""
        project = shop.project()
        items = project.explain("latest")
        assert all((item.because == "hit") == (item.status == "cached") for item in items)
        assert all(item.compared_with is not None for item in items if item.differences)
        return {short(item.path): [part.text for part in item.differences] or [item.because] for item in items}

    assert executed() == ALL
    assert why() == {name: ["new"] for name in ALL}
    assert executed() == {}
    assert why() == {name: ["hit"] for name in ALL}
    first, second = reversed(shop.project().runs())
    (hit,) = shop.project().explain(second.run_id, "train")
    assert hit.computed_by is not None
    assert (hit.computed_by.run_id, hit.computed_by.host) == (first.run_id, socket.gethostname())
    assert hit.computed_by.ended_at is not None
    assert first.started_at < hit.computed_by.ended_at < second.started_at
    assert hit.saved is not None
    assert shop.statuses() == {"load": "cached", "train": "cached", "score": "cached"}
    assert executed(hashseed=1) == {}
    assert executed(hashseed=2) == {}

    # Another input: everything that it reaches. The old one is still there afterwards.
    assert executed("1,2,4") == ALL
    assert why() == {
        "load": ["parameter `text` changed: '1,2,3' -> '1,2,4'"],
        "train": ["parameter `data`: `['numbers'][2]` changed: 3.0 -> 4.0"],
        "score": [
            "parameter `values`: `[0]` changed: -2.0 -> -2.666666666666667",
            "parameter `values`: `[1]` changed: 0.0 -> -0.666666666666667",
            "parameter `values`: `[2]` changed: 2.0 -> 3.333333333333333",
        ],
    }
    assert executed("1,2,3") == {}

    # A parameter of one process in the configuration.
    shop.configure(CONFIG.replace("rate: 0.5", "rate: 0.6"))
    assert executed() == {"train": 1}
    (changed,) = shop.project().explain("latest", "train")
    (difference,) = changed.differences
    assert difference.text == changed.reason == "configuration hyperparameters.rate: 0.5 -> 0.6"
    assert (difference.kind, difference.name) == ("config", "hyperparameters.rate")
    assert (difference.before, difference.after) == ("0.5", "0.6")
    assert executed() == {}

    # A helper function two calls away, in another module.
    shop.edit("shop/deep.py", "sum(numbers) / len(numbers)", "sum(numbers) * 1.0 / len(numbers)")
    assert executed() == {"train": 1}
    assert why()["train"] == ["code of shop.deep:mean changed"]
    (changed,) = shop.project().explain("latest", "train")
    assert [line[:1] + line[1:].strip() for line in changed.differences[0].diff if line[:1] in "-+"] == [
        "-return sum(numbers) / len(numbers) + SHIFT",
        "+return sum(numbers) * 1.0 / len(numbers) + SHIFT",
    ]

    # A module constant, of the task's own module and of a helper's.
    shop.edit("shop/work.py", "RATE = 2.0", "RATE = 3.0")
    assert executed() == {"train": 1, "score": 1}
    assert why()["train"] == ["constant shop.work:RATE: 2.0 -> 3.0"]
    assert why()["load"] == ["hit"]
    shop.edit("shop/deep.py", "SHIFT = 0.0", "SHIFT = 1.0")
    assert executed() == {"train": 1, "score": 1}
    assert why()["train"] == ["constant shop.deep:SHIFT: 0.0 -> 1.0"]

    # Comments, docstrings, blank lines, formatting: nothing.
    shop.edit("shop/deep.py", "# the average", "# the arithmetic mean\n\n")
    shop.edit(
        "shop/maths.py", "    middle = mean(numbers)", '    """Centre numbers."""\n\n    middle = mean( numbers )'
    )
    shop.edit("shop/work.py", '    ran("score")', '    # score\n\n    ran(\n        "score"\n    )')
    assert executed() == {}
    assert why() == {name: ["hit"] for name in ALL}

    # The project's data file: everything.
    shop.write("data.csv", "a,b\n1,3\n")
    assert executed() == ALL
    assert why() == {name: ["the data file data.csv (data.path) changed"] for name in ALL}
    assert executed() == {}


def test_another_input_runs_what_it_reaches(tmp_path: Path) -> None:
    shop = make_shop(tmp_path)
    assert shop.run("sync_flow.py", "1,2,3").ok().executions == ALL
    # 11,12,13 centred is the same as 1,2,3 centred: score takes an equal value and does not run.
    assert shop.run("sync_flow.py", "11,12,13").ok().executions == {"load": 1, "train": 1}
    assert {item.label: item.reason for item in shop.project().explain("latest") if item.because != "hit"} == {
        "load": "parameter `text` changed: '1,2,3' -> '11,12,13'",
        "train": "parameter `data`: `['numbers'][0]` changed: 1.0 -> 11.0 (and 2 more)",
    }
    assert shop.run("sync_flow.py", "1,2,4").ok().executions == ALL


def test_a_step_survives_its_process(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path)
    shop.write(
        "steps.py",
        """
        import os
        from executions import ran
        from expops_prefect import flow, task

        @task
        def prepare(number):
            ran("prepare")
            return number + 1

        @task
        def train(number):
            ran("train")
            value = prepare(number)
            if os.environ.get("FAIL"):
                raise ValueError("on purpose")
            return value * 2

        @flow
        def main():
            return train(20)

        if __name__ == "__main__":
            print("result", main())
        """,
    )
    failed = shop.run("steps.py", env={"FAIL": "1"})
    assert failed.returncode != 0
    assert failed.executions == {"prepare": 1, "train": 1}
    assert shop.statuses() == {"train": "failed", "train/prepare": "completed"}
    assert shop.last_run().status == "failed"

    again = shop.run("steps.py").ok()
    assert again.executions == {"train": 1}
    assert "result 42" in again.output
    assert shop.statuses() == {"train": "completed", "train/prepare": "cached"}
    (process,) = shop.project().explain("latest", "train")
    assert process.because == "failed"
    (step,) = shop.project().explain("latest", "prepare")
    assert step.computed_by is not None
    assert step.computed_by.run_id == shop.project().runs()[1].run_id

    third = shop.run("steps.py").ok()
    assert third.total == 0
    assert shop.statuses() == {"train": "cached"}


def test_a_step_survives_a_kill_of_its_process(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path)
    shop.write(
        "steps.py",
        """
        import os, signal, time
        from executions import ran
        from expops_prefect import flow, task

        @task
        async def prepare(number):
            ran("prepare")
            return number + 1

        @task
        async def train(number):
            ran("train")
            value = await prepare(number)
            if os.environ.get("DIE"):
                os.kill(os.getpid(), signal.SIGKILL)
            return value * 2

        @flow
        async def main():
            return await train(20)

        if __name__ == "__main__":
            import asyncio
            print("result", asyncio.run(main()))
        """,
    )
    killed = shop.run("steps.py", env={"DIE": "1"})
    assert killed.returncode == -9
    assert killed.executions == {"prepare": 1, "train": 1}
    again = shop.run("steps.py").ok()
    assert again.executions == {"train": 1}
    assert "result 42" in again.output
    assert {item.label: item.because for item in shop.project().explain("latest")} == {
        "train": "failed",
        "prepare": "hit",
    }


METHODS = """
from executions import ran
from expops_prefect import flow, task
from model import Model


@task
def use(model, n):
    ran("use")
    return model.predict(n)


@flow
def main():
    print("result", use(Model(), 1))


if __name__ == "__main__":
    main()
"""


def test_the_code_of_an_arguments_class_counts(shop: FlowProject) -> None:
    shop.write("main.py", METHODS)
    shop.write("model.py", "class Model:\n    def predict(self, n):\n        return n + 1\n")
    assert "result 2" in shop.run("main.py").ok().output
    assert shop.run("main.py").ok().total == 0
    shop.edit("model.py", "n + 1", "n + 100")
    changed = shop.run("main.py").ok()
    assert changed.executions == {"use": 1}
    assert "result 101" in changed.output
    (explained,) = shop.project().explain("latest")
    assert explained.reason == "code of model:Model changed (and 1 more)"
    method = explained.differences[1]
    assert (method.name, [line for line in method.diff if line[0] in "-+"]) == (
        "model:Model.predict",
        ["-    return n + 1", "+    return n + 100"],
    )
