"""Names in the configuration that no task has, and which setting switched a task's caching off."""

from __future__ import annotations

from tests.support.processes import FlowProject

CONFIG = """
prefect:
  project_id: shop
  cache:
    enabled: false
    processes:
      Trian: {ttl: 1d}
      zebra: {enabled: true}
      train: {enabled: true}
      load: {enabled: true}
      other: {enabled: true}
      report: {enabled: false}
"""
FLOW = """
import sys
from expops_prefect import flow, task


@task
def load(x):
    return [x]


@task
def train(x):
    return load(x)


@task
def report(x):
    return x


@task
def clean(x):
    return x


@task(name="other")
def other_task(x):
    return x


@flow
def other():
    return other_task(1)


@flow
def main():
    return train(1), report(1), clean(1)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""
NEAR = "prefect.cache.processes names Trian, which no task of the latest runs is called; did you mean train?"
UNLIKE = "prefect.cache.processes names zebra, which no task of the latest runs is called"


def test_a_name_that_no_task_has_is_told(shop: FlowProject) -> None:
    shop.configure(CONFIG)
    shop.write("flow.py", FLOW)
    doctor = ("-m", "expops_prefect.cli.main", "doctor")
    assert "which no task" not in shop.run(*doctor).ok().output
    first = shop.run("flow.py", "other").ok().output
    assert "names Trian" in first
    first = shop.run("flow.py", "main").ok().output
    assert first.count(NEAR) == first.count(UNLIKE) == 1
    assert first.count("which no task") == 2
    rows = shop.rows()
    for name, setting in (("report", "prefect.cache.processes.report.enabled"), ("clean", "prefect.cache.enabled")):
        why = rows[f"//process[@name='{name}']"].fields["miss_reason"]
        assert why == f"caching is switched off: {setting} is false in project_config.yaml"
    told = shop.run(*doctor).ok().output
    assert told.count(NEAR) == told.count(UNLIKE) == 1
    assert told.count("which no task") == 2
    # Of a hit nobody sees which tasks it spared.
    again = shop.run("flow.py", "main").ok().output
    assert (again.count(NEAR), again.count("which no task")) == (1, 1)
