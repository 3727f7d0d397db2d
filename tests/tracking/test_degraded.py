"""What goes wrong beside a flow is counted for the run that it concerns, and for no other of the process."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from expops_prefect import Project, flow, log_metric, task
from expops_prefect._internal.diagnostics import Events, concerning, degrade, events_of_run
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.outbox.changes import Put
from expops_prefect.stores.outbox.outbox import Outbox
from expops_prefect.testing.faults import Faults, FaultyKV
from tests.config.support import make_project

TOGETHER = threading.Barrier(2, timeout=60)


@task
def spoiled(n: int) -> int:
    TOGETHER.wait()
    log_metric("loss", "no number")
    TOGETHER.wait()
    return n


@task
def sound(n: int) -> int:
    TOGETHER.wait()
    log_metric("loss", 0.5)
    TOGETHER.wait()
    return n


def run_in(root: Path, spoil: bool) -> None:
    @flow(project=root)
    def main() -> int:
        # One in the flow's own thread, one that is submitted.
        return spoiled(1) if spoil else sound.submit(1).result()

    assert main() == 1


@pytest.mark.usefixtures("prefect_server")
def test_runs_of_one_process_are_not_mixed(tmp_path: Path) -> None:
    roots = [make_project(tmp_path / name, f"prefect: {{project_id: {name}}}") for name in ("one", "two")]
    threads = [threading.Thread(target=run_in, args=(root, number == 0)) for number, root in enumerate(roots)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    degraded = [Project.open(root).runs()[0].degraded for root in roots]
    assert degraded == [{"metrics refused": 1}, {}]


def test_an_outbox_concerns_the_open_runs_of_its_project(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = Project.open(make_project(tmp_path / "shop", "prefect: {project_id: shop}"))
    kv: KVStore = FaultyKV(project.kv, Faults(down=True))
    outbox = Outbox(kv, project.objects, tmp_path / "outbox", flush_seconds=0.01)
    ours, others = events_of_run(tmp_path / "outbox"), events_of_run(tmp_path / "others")
    outbox.write(Put("a", 1))
    assert not outbox.flush(20, while_failing=False)
    thread = outbox._thread
    outbox.close(0)
    assert thread is not None
    thread.join(20)
    assert ours.counts["record delayed"] >= 1
    assert others.counts == {}
    assert [line.levelname for line in caplog.records if "record delayed" in line.message] == ["WARNING"]


def test_each_run_says_once_what_concerns_it(caplog: pytest.LogCaptureFixture) -> None:
    for run in (Events(), Events()):
        with concerning(run):
            for _ in range(3):
                degrade("something", "went wrong", key="here")
        assert run.counts == {"something": 3}
    assert caplog.text.count("something: went wrong") == 2
