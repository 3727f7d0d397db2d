"""Backends that go away while a flow runs: the flow succeeds, and nothing that was recorded is lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.backends import Cloud
from tests.support.processes import FlowProject, short
from tests.support.proxy import Proxy
from tests.support.refusals import refusing_firestore
from tests.support.server import wait_until

FLOW = """
import os
import time
from executions import ran
from expops_prefect import flow, log_chart, log_metric, task

PNG = b"\\x89PNG\\r\\n\\x1a\\n a small picture"


def pass_gate(name):
    here = os.environ["GATES"]
    open(os.path.join(here, name + "-reached"), "w").close()
    while not os.path.exists(os.path.join(here, name)):
        time.sleep(0.02)


@task
def before(x):
    ran("before")
    log_metric("loss", 0.5)
    return x


@task
def during(x, number):
    ran("during")
    for step in range(50):
        log_metric("loss", step)
        time.sleep(0.01)
    log_chart("curve", PNG)
    return x + number


@task
def after(x):
    ran("after")
    log_metric("loss", 9.5)
    return x


@flow
def main():
    x = before(1)
    pass_gate("first")
    x = during(x, 1) + during(x, 2)
    pass_gate("second")
    print("result", after(x))


if __name__ == "__main__":
    main()
"""
ALL = {"before": 1, "during": 2, "after": 1}
SERIES = {str(step + 1): step for step in range(50)}


class Drill:
    """A project behind proxies, whose flow stops at gates."""

    def __init__(self, folder: Path, cloud: Cloud, more: str = "", combination: str = "gcp-gcs") -> None:
        self.firestore, self.gcs, self.redis = Proxy(cloud.firestore), Proxy(cloud.gcs), Proxy(cloud.redis)
        behind = replace(cloud, firestore=self.firestore.address, gcs=self.gcs.address, redis=self.redis.address)
        self.shop: FlowProject = behind.project(folder, combination, f"shop-{uuid.uuid4().hex[:8]}", more)
        self.shop.write("main.py", FLOW)
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.env = {"GATES": str(self.gates)}

    def reached(self, gate: str) -> None:
        wait_until(lambda: (self.gates / f"{gate}-reached").exists(), 90, f"gate {gate} is reached")

    def open(self, gate: str) -> None:
        (self.gates / gate).touch()

    def check_everything(self) -> None:
        """Statuses, metrics and charts of the newest run are all there, and a next run executes nothing."""
        project = self.shop.project()
        run = self.shop.last_run()
        assert run.status == "completed"
        assert set(self.shop.statuses().values()) == {"completed"}
        metrics = self.shop.metrics()
        assert metrics["before"] == {"loss": {"1": 0.5}}
        assert metrics["during"] == {"loss": SERIES} == metrics["p2/during"]
        assert metrics["after"] == {"loss": {"1": 9.5}}
        for path in ("//process[@name='during']", "//*[@partition='p2']/process[@name='during']"):
            (chart,) = project.charts(run.run_id)[path]
            assert project.objects.get(chart["object_key"]) == b"\x89PNG\r\n\x1a\n a small picture"
        again = self.shop.run("main.py", env=self.env).ok()
        assert again.total == 0
        assert "result 5" in again.output

    def close(self) -> None:
        """End the proxies."""
        for proxy in (self.firestore, self.gcs, self.redis):
            proxy.close()


@pytest.fixture
def drill(tmp_path: Path, cloud: Cloud) -> Iterator[Drill]:
    made = Drill(tmp_path, cloud)
    yield made
    made.close()


def away_in_the_middle_of_a_run(drill: Drill, store: Proxy) -> None:
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    store.switch("refuse")
    drill.open("first")
    drill.reached("second")
    wait_until(lambda: store.refused > 2, 30, "the store was asked while it was away")
    store.switch("pass")
    drill.open("second")
    outcome = drill.shop.finish(process).ok()
    assert outcome.executions == ALL
    assert "result 5" in outcome.output
    assert outcome.output.count("record delayed:") == 1
    drill.check_everything()


def test_firestore_is_away_in_the_middle_of_a_run(drill: Drill) -> None:
    away_in_the_middle_of_a_run(drill, drill.firestore)


def test_redis_is_away_in_the_middle_of_a_run(tmp_path: Path, cloud: Cloud) -> None:
    drill = Drill(tmp_path, cloud, combination="redis-gcs")
    away_in_the_middle_of_a_run(drill, drill.redis)
    drill.close()


def test_firestore_does_not_come_back_before_the_run_ends(tmp_path: Path, cloud: Cloud) -> None:
    drill = Drill(tmp_path, cloud, "  record: {final_flush_seconds: 1}\n")
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    drill.firestore.switch("refuse")
    drill.open("first")
    drill.open("second")
    outcome = drill.shop.finish(process).ok()
    assert outcome.executions == ALL
    assert "are not yet delivered" in outcome.output
    drill.firestore.switch("pass")
    delivered = drill.shop.run("-m", "expops_prefect.cli.main", "sync").ok()
    assert "delivered" in delivered.output
    drill.check_everything()


def test_gcs_answers_503_for_a_while(drill: Drill) -> None:
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    drill.gcs.switch("answer")
    drill.open("first")
    wait_until(lambda: drill.gcs.refused >= 3, 60, "an upload was tried again")
    drill.gcs.switch("pass")
    drill.open("second")
    outcome = drill.shop.finish(process).ok()
    assert outcome.executions == ALL
    assert "degraded" not in outcome.output
    drill.check_everything()


def test_a_denied_bucket_leaves_the_flow_uncached_and_says_so_once(drill: Drill) -> None:
    drill.gcs.answer = "403 Forbidden"
    drill.gcs.switch("answer")
    drill.open("first")
    drill.open("second")
    outcome = drill.shop.run("main.py", env=drill.env).ok()
    assert outcome.executions == ALL
    warnings = [line for line in outcome.output.splitlines() if "results not stored:" in line]
    assert len(warnings) == 1
    assert "Storage Object Admin" in warnings[0]
    assert set(drill.shop.statuses().values()) == {"completed"}
    again = drill.shop.run("main.py", env=drill.env).ok()
    assert again.executions == ALL


def _lasts(seconds: float) -> None:
    """An outage of that length."""
    since = time.monotonic()
    wait_until(lambda: time.monotonic() - since >= seconds, seconds + 60, "the outage is over")


@pytest.mark.nightly
def test_firestore_is_away_for_half_a_minute(drill: Drill) -> None:
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    drill.firestore.switch("refuse")
    drill.open("first")
    _lasts(30)
    drill.firestore.switch("pass")
    drill.open("second")
    outcome = drill.shop.finish(process).ok()
    assert outcome.executions == ALL
    assert outcome.output.count("record delayed:") == 1
    drill.check_everything()


@pytest.mark.nightly
def test_gcs_answers_503_for_twenty_seconds(drill: Drill) -> None:
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    drill.gcs.switch("answer")
    drill.open("first")
    _lasts(20)
    drill.gcs.switch("pass")
    drill.open("second")
    outcome = drill.shop.finish(process).ok()
    assert outcome.executions == ALL
    assert "degraded" not in outcome.output
    drill.check_everything()


@pytest.mark.nightly
def test_a_run_ends_in_time_without_firestore_and_the_next_one_delivers_its_record(
    tmp_path: Path, cloud: Cloud
) -> None:
    drill = Drill(tmp_path, cloud, "  record: {final_flush_seconds: 2}\n")
    drill.open("second")
    process = drill.shop.start("main.py", env=drill.env)
    drill.reached("first")
    drill.firestore.switch("hang")
    drill.open("first")
    # A few calls wait for their timeout of 10 s, and then the run for its 2 s.
    outcome = drill.shop.finish(process, timeout=90).ok()
    assert outcome.executions == ALL
    assert "are not yet delivered" in outcome.output
    drill.firestore.switch("pass")
    first = drill.shop.last_run()
    assert first.status == "running", "what was known before"
    again = drill.shop.run("main.py", env=drill.env).ok()
    assert "delivered" in again.output
    project = drill.shop.project()
    assert {run.status for run in project.runs()} == {"completed"}
    metrics = {short(path): value for path, value in project.metrics(first.run_id).items()}
    assert metrics["during"] == {"loss": SERIES} == metrics["p2/during"]
    assert metrics["after"] == {"loss": {"1": 9.5}}
    # While the next run began, its records were still on their way.
    assert drill.shop.run("main.py", env=drill.env).ok().total == 0


def test_a_denied_database_leaves_the_flow_uncached_and_says_so_once(tmp_path: Path, cloud: Cloud) -> None:
    with refusing_firestore("PERMISSION_DENIED", "Missing or insufficient permissions.") as address:
        drill = Drill(tmp_path, replace(cloud, firestore=address), "  record: {final_flush_seconds: 1}\n")
        drill.open("first")
        drill.open("second")
        outcome = drill.shop.run("main.py", env=drill.env).ok()
    assert outcome.executions == ALL
    assert "result 5" in outcome.output
    warnings = [line for line in outcome.output.splitlines() if "WARNING" in line]
    assert len([line for line in warnings if "roles/datastore.user" in line]) == 1, outcome.output
    assert "Missing or insufficient permissions" in warnings[0]
    assert any("are not yet delivered" in line for line in warnings[1:])
