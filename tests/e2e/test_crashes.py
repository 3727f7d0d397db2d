"""Processes that die without a word, and runs that a deployment's runner ends, suspends and takes up again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import textwrap
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.runner._hook_runner import HookRunner
from prefect.states import Cancelling, Crashed

from expops_prefect import flow
from expops_prefect.models.names import readable
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from tests.support.processes import FlowProject
from tests.support.server import wait_until

pytestmark = pytest.mark.xdist_group("crashes")


def seen(shop: FlowProject, record: RunRecord) -> dict[str, str]:
    """The statuses of a run's rows."""
    return {readable(row.path): row.status for row in shop.project().rows(record.run_id)}


def rows(shop: FlowProject, record: RunRecord) -> dict[str, Row]:
    """A run's rows."""
    return {readable(row.path): row for row in shop.project().rows(record.run_id)}


def metrics(shop: FlowProject, record: RunRecord) -> dict[str, Any]:
    """A run's metrics."""
    return {readable(path): series for path, series in shop.project().metrics(record.run_id).items()}


def test_a_process_that_exits_in_the_middle(shop: FlowProject, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(
        "main.py",
        """
        import os
        from executions import ran
        from expops_prefect import Project, flow, log_metric, task

        @task
        def done(x):
            ran("done")
            log_metric("early", x)
            return x

        @task
        def inner(x):
            log_metric("last words", x)
            ran("inner")
            if not os.environ.get("CALM"):
                os._exit(3)
            return x

        @task
        def outer(x):
            log_metric("first words", x)
            assert Project.open().outbox.flush(30)
            return inner(x)

        @flow
        def main():
            outer(done(1))

        if __name__ == "__main__":
            main()
        """,
    )
    crashed = shop.run("main.py")
    assert crashed.returncode == 3
    # Nobody is left to say that it ended. Its last words are not lost, but nobody delivers them either.
    record = shop.last_run()
    assert record.status == "running"
    assert [run.run_id for run in shop.project().reconcile(dry_run=True)] == [record.run_id]

    # A deployment's runner calls the flow's hooks for it, by keyword, in a process of its own.
    for variable, value in shop.environ.items():
        monkeypatch.setenv(variable, value)
    there = flow(name="main", project=shop.root)(lambda: None)
    end_as_a_runner_does(there, record)
    ended = shop.last_run()
    assert (ended.run_id, ended.status, ended.attempt) == (record.run_id, "failed", 1)
    assert ended.ended_at is not None
    assert seen(shop, ended) == {"done": "completed", "outer": "failed", "outer / inner": "failed"}
    for row in rows(shop, ended).values():
        assert row.ended_at is not None
        assert sum(row.calls.values()) == 1
        assert set(row.calls) == {row.status}
    words = {"outer": {"first words": {"1": 1}}, "outer / inner": {"last words": {"1": 1}}}
    assert metrics(shop, ended) == {"done": {"early": {"1": 1}}, **words}

    # To be told twice changes nothing, nor does word of a run that never was.
    end_as_a_runner_does(there, ended)
    end_as_a_runner_does(there, RunRecord("none", "shop", "main", "0" * 8 + "-0000-0000-0000-" + "0" * 12, "", 0.0))
    assert shop.last_run() == ended

    again = shop.run("main.py", env={"CALM": "1"}).ok()
    assert again.executions == {"inner": 1}
    assert seen(shop, shop.last_run()) == {"done": "cached", "outer": "completed", "outer / inner": "completed"}


def end_as_a_runner_does(there: Flow[..., Any], record: RunRecord) -> None:
    class FlowRun:
        id = UUID(record.flow_run_id)
        name = "a name"
        flow_id = deployment_id = start_time = None
        tags: tuple[str, ...] = ()

    async def resolve(flow_run: Any) -> Any:
        return there

    dead: Any = FlowRun()
    asyncio.run(HookRunner(resolve_flow=resolve).run_crashed_hooks(dead, Crashed()))


def test_a_worker_process_that_dies(shop: FlowProject) -> None:
    shop.write(
        "main.py",
        """
        import os, signal
        from prefect.task_runners import ProcessPoolTaskRunner
        from executions import ran
        from expops_prefect import flow, log_metric, task
        from expops_prefect._internal.diagnostics import degrade

        @task
        def work(x):
            log_metric("seen", x)
            ran("work")
            degrade("something of ours", "on purpose")
            if x == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return x

        @flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
        def main():
            done = work.submit(0)
            done.wait()
            work.submit(1).wait()

        if __name__ == "__main__":
            main(return_state=True)
            # A worker that dies may hold a lock of Prefect's queue for its log lines, which the end would wait for.
            os._exit(0)
        """,
    )
    outcome = shop.run("main.py").ok()
    assert outcome.executions == {"work": 2}
    record = shop.last_run()
    assert record.ended_at is not None
    # The worker's own last words are in the record, and its call is not shown as running for ever.
    assert seen(shop, record) == {"work": "failed", "work #2": "failed"}
    assert dict(rows(shop, record)["work"].calls) == {"completed": 1, "failed": 1}
    assert metrics(shop, record) == {"work": {"seen": {"1": 0}}, "work #2": {"seen": {"1": 1}}}
    assert "2 executed, 0 from the cache" in outcome.output
    # What went wrong in a worker process is part of the run's summary.
    assert "; degraded: something of ours 1x since " in outcome.output
    assert record.degraded == {"something of ours": 1}
    assert record.started_at <= record.degraded_since["something of ours"] <= record.ended_at


SERVED = """
import os, signal, time
from executions import ran
from prefect.flow_runs import suspend_flow_run
from expops_prefect import flow, log_metric, task


@task
def begin(what):
    ran(f"begin-{what}")
    return what


@task
def lingers(what):
    log_metric("before", 1)
    ran("lingers")
    while True:
        time.sleep(0.02)


@task
def dies(what):
    log_metric("before", 1)
    ran("dies")
    os.kill(os.getpid(), signal.SIGKILL)


@task
def after(what):
    ran("after")
    return what


@flow
def main(what: str):
    begin(what)
    if what == "cancel":
        lingers(what)
    if what == "die":
        dies(what)
    log_metric("rounds", 1)
    suspend_flow_run(timeout=600, key="once")
    after(what)


if __name__ == "__main__":
    main.serve(name="served-and-killed", pause_on_shutdown=False)
"""


@pytest.fixture
def served(shop: FlowProject) -> Iterator[subprocess.Popen[str]]:
    """A process that serves the flow, as `flow.serve()` does, and runs each of its runs in a process of its own."""
    shop.write("main.py", textwrap.dedent(SERVED))
    process = shop.start("main.py", env={"PREFECT_RUNNER_POLL_FREQUENCY": "1"})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def test_runs_of_a_deployment(shop: FlowProject, served: subprocess.Popen[str]) -> None:
    client = get_client(sync_client=True)

    def deployment() -> Any:
        return next((found for found in client.read_deployments() if found.name == "served-and-killed"), None)

    wait_until(lambda: deployment() is not None, 90, "the flow is served")
    started = {}
    for what in ("cancel", "die", "suspend"):
        started[what] = client.create_flow_run_from_deployment(deployment().id, parameters={"what": what}).id

    def record(what: str) -> RunRecord:
        (found,) = [run for run in shop.project().runs() if run.flow_run_id == str(started[what])]
        return found

    def recorded_as(what: str) -> str | None:
        return next((run.status for run in shop.project().runs() if run.flow_run_id == str(started[what])), None)

    def state(what: str) -> Any:
        return client.read_flow_run(started[what]).state

    def ends(what: str, status: str) -> RunRecord:
        # The runner sets Prefect's state first and calls the hooks then.
        wait_until(lambda: recorded_as(what) == status, 60, f"{what} is recorded as {status}")
        return record(what)

    # Killed: the runner notices, and calls our hook in its own process.
    wait_until(lambda: state("die").is_crashed(), 120, "the runner sees that a process died")
    died = ends("die", "failed")
    assert seen(shop, died) == {"begin": "completed", "dies": "failed"}
    assert metrics(shop, died) == {"dies": {"before": {"1": 1}}}

    # Cancelled from outside.
    wait_until(lambda: shop.executions()["lingers"] == 1, 120, "a run lingers")
    client.set_flow_run_state(started["cancel"], Cancelling(), force=True)
    cancelled = ends("cancel", "failed")
    assert seen(shop, cancelled) == {"begin": "completed", "lingers": "failed"}
    assert metrics(shop, cancelled) == {"lingers": {"before": {"1": 1}}}

    # Suspended: its process has ended, the run has not.
    wait_until(lambda: state("suspend").is_paused(), 120, "a run is suspended")
    wait_until(lambda: recorded_as("suspend") is not None, 60, "the run that is suspended is there")
    wait_until(lambda: "main" in metrics(shop, record("suspend")), 60, "what it logged is there")
    suspended = record("suspend")
    assert (suspended.status, suspended.ended_at, suspended.attempt) == ("running", None, 1)
    assert seen(shop, suspended) == {"begin": "completed"}
    assert shop.project().reconcile() == []
    resume(client, started["suspend"])
    resumed = ends("suspend", "completed")
    # One run with one start, taken up again by another process.
    assert (resumed.run_id, resumed.started_at, resumed.attempt) == (suspended.run_id, suspended.started_at, 2)
    assert resumed.pid != suspended.pid
    assert seen(shop, resumed) == {"begin": "cached", "after": "completed"}
    assert metrics(shop, resumed) == {"main": {"rounds": {"1": 1, "2": 1}}}
    expected = {"begin-cancel": 1, "begin-die": 1, "begin-suspend": 1, "dies": 1, "lingers": 1, "after": 1}
    assert dict(shop.executions()) == expected


def resume(client: SyncPrefectClient, flow_run: UUID) -> None:
    answer = client.resume_flow_run(flow_run)
    assert answer.state is not None
    assert answer.state.is_scheduled()
