"""``prefect.record.enabled: false`` switches the record off, and nothing else."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import sys
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
import expops_prefect
from executions import ran
from expops_prefect import instrument, log_metric, process_parameters


@expops_prefect.task
def ours(x):
    ran("ours")
    log_metric("x", x)
    return x * process_parameters("ours")["factor"]


@task
def plain(x):
    ran("plain")
    return x


@expops_prefect.flow(project=sys.argv[1])
def main():
    return ours(2)


@expops_prefect.flow(project=sys.argv[1], task_runner=ProcessPoolTaskRunner(max_workers=1))
def pooled():
    return ours.submit(3).result()


@flow
def instrumented():
    return plain(4)


if __name__ == "__main__":
    instrument(instrumented)
    print("results", main(), pooled(), instrumented())
"""
CONFIG = """
experiment: {pipeline: {processes: [{name: ours, parameters: {factor: %s}}]}}
prefect: {project_id: %s, record: {enabled: false}}
"""


def test_an_unrecorded_flow_is_cached_in_its_own_project(shop: FlowProject) -> None:
    shop.configure(CONFIG % ("100", "shop"))
    shop.write("other/configs/project_config.yaml", CONFIG % ("10", "other"))
    shop.write("main.py", FLOW)
    other = str(shop.root / "other")
    first = shop.run("main.py", other).ok()
    assert "results 20 30 4" in first.output
    assert first.executions == {"ours": 2, "plain": 1}
    second = shop.run("main.py", other).ok()
    assert "results 20 30 4" in second.output
    assert second.executions == {}
    assert shop.project().runs() == []
