"""``instrument``: the flow, the tasks and subflows that it uses, and nothing else."""

from __future__ import annotations

from tests.support.processes import FlowProject

LIBRARY = """
from executions import ran
from prefect import flow, task


@task
def shared(x, caller):
    ran(caller)
    return x


@flow
def far(x):
    return shared(x, "far")
"""

PIPELINES = """
import library
from library import shared
from prefect import flow


@flow
def child(x):
    return shared(x, "child")


def helper(x):
    return child(x)


class Steps:
    @staticmethod
    def last(x):
        return CHOICES["last"](x)


@flow
def chosen(x):
    return shared(x, "chosen")


@flow
def other(x):
    return shared(x, "other")


@flow
def main(x):
    return shared(x, "main"), helper(x), library.far(x), Steps.last(x)


CHOICES = {"last": chosen}
"""

MAIN = """
import library, pipelines
from expops_prefect import instrument

instrument(pipelines.main)

if __name__ == "__main__":
    for _ in range(2):
        assert pipelines.main(1) == (1, 1, 1, 1)
        assert pipelines.other(1) == pipelines.child(1) == library.far(1) == 1
    instrument(library.far)
    for _ in range(2):
        library.far(2)
    instrument(pipelines.main)
    library.far(2)
"""


def test_other_flows_with_the_same_tasks_are_left_alone(shop: FlowProject) -> None:
    shop.write("library.py", LIBRARY)
    shop.write("pipelines.py", PIPELINES)
    shop.write("main.py", MAIN)
    executions = shop.run("main.py").ok().executions
    # By themselves a subflow and a flow in the same file keep Prefect's behaviour: executed in every run.
    assert executions == {
        "main": 1,
        "child": 1 + 2,
        "far": 1 + 2 + 1,
        "chosen": 1,
        "other": 2,
    }
    runs = shop.project().runs()
    assert sorted(run.flow for run in runs) == ["far", "far", "far", "main", "main"]
    first = runs[-1]
    statuses = {row.label: row.status for row in shop.project().rows(first.run_id)}
    assert statuses == dict.fromkeys(["shared", "child", "far", "chosen"], "completed")
