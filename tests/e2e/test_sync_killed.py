"""A copy to other stores that is killed in the middle: the next one goes on, and nothing half is ever there."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.support.backends import Cloud
from tests.support.processes import FlowProject
from tests.support.proxy import Proxy
from tests.support.server import wait_until

FLOW = """
import numpy as np
from executions import ran
from expops_prefect import flow, log_metric, task


@task
def make(n):
    ran("make")
    log_metric("n", n)
    return [n] * 20_000, np.full(40_000, float(n))


@flow
def main():
    print("sum", sum(future.result()[1].sum() for future in make.map(list(range(30)))))


if __name__ == "__main__":
    main()
"""
TASKS = 30
SYNC = ("-m", "expops_prefect.cli.main", "sync", "--json")


@pytest.mark.nightly
def test_a_killed_copy_goes_on_where_it_stopped(tmp_path: Path, cloud: Cloud) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    shop = cloud.project(tmp_path / "one", "local-local", name)
    shop.write("main.py", FLOW)
    assert shop.run("main.py").ok().executions == {"make": TASKS}
    there = cloud.project(tmp_path / "two", "gcp-gcs", name)
    there.write("main.py", FLOW)
    _killed_then_finished(
        shop, there, cloud, (*SYNC, "--to", "gcp", "--gcp-project", "demo-test", "--bucket", cloud.bucket)
    )
    assert there.run("main.py").ok().total == 0

    home = cloud.project(tmp_path / "three", "gcp-gcs", name)
    home.write("main.py", FLOW)
    runtime_dir = f"  runtime_dir: {json.dumps(str(home.root / f'.{name}'))}\n"
    local = FlowProject(tmp_path / "look", cloud.config("local-local", name, runtime_dir))
    _killed_then_finished(home, local, cloud, (*SYNC, "--to", "local"))
    home.configure(cloud.config("local-local", name))
    assert home.run("main.py").ok().total == 0
    assert len(home.project().runs()) == 3


def _killed_then_finished(source: FlowProject, target: FlowProject, cloud: Cloud, command: tuple[str, ...]) -> None:
    """Kill the command once part of the objects are in the target; check that; run it again."""
    slow = Proxy(cloud.gcs)
    slow.delay = 0.25
    objects = target.project().objects
    process = source.start(*command, env={"STORAGE_EMULATOR_HOST": slow.address})
    try:
        wait_until(lambda: len(list(objects.list("cache/"))) >= 8, 90, "some objects are copied")
    finally:
        process.kill()
        process.communicate()
        slow.close()
    found = {info.key: info.size for info in objects.list("cache/")}
    wanted = {info.key: info.size for info in source.project().objects.list("cache/")}
    assert 8 <= len(found) < len(wanted), "it was killed in the middle"
    assert found.items() <= wanted.items(), "what is there is whole"
    assert not target.project().runs(), "a run is there when all that it refers to is"

    again: dict[str, int] = json.loads(source.run(*command).ok().output)
    assert again["skipped"] >= len(found)
    assert again["damaged"] == 0
    assert again["objects"] + again["skipped"] >= len(wanted)
    assert {info.key: info.size for info in objects.list("cache/")} == wanted
    assert again["runs"] == len(source.project().runs())
