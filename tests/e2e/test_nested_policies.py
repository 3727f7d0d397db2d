"""Tasks inside a task whose cache policy is their author's own, and tasks that return states: as with Prefect alone."""

from __future__ import annotations

import json

import pytest

from tests.support.processes import FlowProject
from tests.support.server import clean_environment

FLOW = """
import json
from executions import ran
from {module} import flow, task
from prefect.tasks import task_input_hash


@task(cache_key_fn=task_input_hash)
def inner(x):
    ran("inner")
    return x * 2


@task
def outer(x):
    ran("outer")
    return {returned}


@flow
def main():
    state = outer(2, return_state=True)
    states = state.result()
    states = states.values() if isinstance(states, dict) else states
    print("TOLD", json.dumps([part.name for part in states]))


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    "returned",
    [
        "(inner(x, return_state=True), inner(x, return_state=True))",
        "[inner(x, return_state=True) for _ in range(2)]",
        "{'a': inner(x, return_state=True), 'b': inner(x, return_state=True)}",
    ],
)
def test_states_of_tasks_with_a_policy_of_their_own(shop: FlowProject, returned: str) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    told = {}
    for module in ("prefect", "expops_prefect"):
        script = f"{module}_flow.py"
        shop.write(script, FLOW.format(module=module, returned=returned))
        home = clean_environment(shop.folder / f"home-{module}")
        runs = [shop.run(script, env=home).ok() for _ in range(2)]
        told[module] = [
            (json.loads(run.output.split("TOLD ", 1)[1].splitlines()[0]), dict(run.executions)) for run in runs
        ]
    assert told["expops_prefect"] == told["prefect"]
    assert told["prefect"] == [
        (["Completed", "Completed"], {"outer": 1, "inner": 2}),
        (["Cached", "Cached"], {"outer": 1}),
    ]
