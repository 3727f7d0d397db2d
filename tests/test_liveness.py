"""Runs of dead processes are shown as failed, on their machine at once; runs that live, or are suspended, never."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from expops_prefect._internal import diagnostics
from expops_prefect._internal.file_locks import FileLocks
from expops_prefect._internal.process import of_process
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record import liveness
from expops_prefect.record.liveness import BEAT_SECONDS, SILENT_BEATS, Heartbeat
from expops_prefect.record.reconcile import end_dead_runs
from expops_prefect.record.run_records import RunRecord
from expops_prefect.run_context import Call
from expops_prefect.stores.kv.base import KVStore
from expops_prefect.stores.outbox.changes import Delete, Put
from expops_prefect.tracking import runs
from expops_prefect.tracking.heartbeat import RunHeartbeat
from expops_prefect.tracking.run import Run
from expops_prefect.tracking.runs import _OpenRuns, end_from_outside, join_run, start_run
from tests.config.support import settings_of
from tests.support.firestore import new_store
from tests.support.server import wait_until

TRAIN = names.process_path("train")
FORK = multiprocessing.get_context("fork")


@pytest.fixture(params=["sqlite", pytest.param("firestore", marks=pytest.mark.integration)])
def project(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    made = opened(tmp_path)
    if request.param == "firestore":
        made.kv.close()
        made.kv = new_store()
    yield made
    made.outbox.close(20)
    made.kv.close()
    of_process(_OpenRuns).in_forked_child()


def opened(folder: Path) -> Project:
    return Project(settings_of(folder / "shop", "prefect: {project_id: shop}\n"))


def begin(project: Project) -> Run:
    """A run with a call that runs and one that is done, all of it delivered."""
    run = start_run(project, "main", SimpleNamespace(id=uuid.uuid4(), name="a-run", parameters={}))
    for number in range(2):
        task_run = uuid.uuid4()
        run.begin(task_run, run.new_call(None, "train", "train"))
        run.executing(task_run)
        if number == 0:
            run.end(task_run, "completed")
    assert run.outbox.flush(30)
    return run


def in_a_process_that_is_killed(body: Callable[[], None]) -> None:
    def child() -> None:
        body()
        os.kill(os.getpid(), signal.SIGKILL)

    process = FORK.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def sign_of(kv: KVStore, run: RunRecord) -> Heartbeat:
    return Heartbeat.load(kv.get(names.sign_key(run.run_id)))


def lock_files(project: Project) -> list[str]:
    folder = project.settings.runtime_dir / liveness.FOLDER
    return [path.name for path in folder.iterdir()] if folder.exists() else []


def statuses(project: Project, run: RunRecord) -> dict[str, tuple[str, Any]]:
    return {row.path: (row.status, dict(row.calls)) for row in project.rows(run.run_id)}


DONE = {TRAIN: ("failed", {"completed": 1, "failed": 1}), names.process_path("train", 2): ("failed", {})}


def test_a_killed_run_is_seen_at_once_on_its_machine(project: Project) -> None:
    in_a_process_that_is_killed(lambda: void(begin(project)))
    (run,) = project.runs()
    assert run.status == "running"
    (would,) = project.reconcile(dry_run=True)
    assert (would.run_id, would.status, would.died) == (run.run_id, "failed", True)
    assert project.runs() == [run]
    assert project.reconcile() == [would]
    (ended,) = project.runs()
    assert ended == would
    assert ended.ended_at is not None
    assert ended.ended_at >= run.started_at
    assert statuses(project, run) == DONE
    assert project.kv.get(names.run_status_key(run.run_id)) == "failed"
    assert project.kv.get(names.run_timestamps_key(run.run_id)) == {"start": run.started_at, "end": ended.ended_at}
    assert project.kv.get(names.sign_key(run.run_id)) is None
    assert lock_files(project) == []
    assert project.reconcile() == []


def test_a_killed_run_ends_no_earlier_than_its_calls(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    # A sign of life is given every 15 s: a call may begin after the last one, and another one end.
    begun = time.time()

    def calls_after_the_sign() -> None:
        run = begin(project)
        for number in range(2):
            monkeypatch.setattr("time.time", lambda: begun + 10)
            task_run = uuid.uuid4()
            run.begin(task_run, run.new_call(None, "late", "late"))
            run.executing(task_run)
            if number == 0:
                monkeypatch.setattr("time.time", lambda: begun + 12)
                run.end(task_run, "completed")
        assert run.outbox.flush(30)

    in_a_process_that_is_killed(calls_after_the_sign)
    (would,) = project.reconcile(dry_run=True)
    (ended,) = project.reconcile()
    assert ended == would
    assert ended.ended_at == begun + 12
    rows = {row.path: row for row in project.rows(ended.run_id)}
    assert all(row.status == "failed" for row in rows.values())
    assert rows[names.process_path("late", 2)].ended_at == begun + 12
    assert {row.execution_time for row in rows.values()} >= {2.0}
    assert all(row.ended_at is not None and row.ended_at <= ended.ended_at for row in rows.values())


def test_the_next_run_shows_a_killed_one_as_failed(tmp_path: Path) -> None:
    project = opened(tmp_path)
    in_a_process_that_is_killed(lambda: void(begin(project)))
    (killed,) = project.runs()
    run = begin(project)
    run.flow_ended("completed")
    by_id = {found.run_id: found for found in project.runs()}
    assert (by_id[killed.run_id].status, by_id[killed.run_id].died) == ("failed", True)
    assert (by_id[run.run_id].status, by_id[run.run_id].died) == ("completed", False)
    assert lock_files(project) == []
    project.outbox.close(10)


def test_a_run_that_lives_is_left_alone_however_old_it_is(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, done = FORK.Event(), FORK.Event()

    def child() -> None:
        run = begin(project)
        ready.set()
        done.wait(60)
        run.flow_ended("completed")
        project.outbox.close(20)
        os._exit(0)

    process = FORK.Process(target=child)
    process.start()
    assert ready.wait(60)
    own = begin(project)
    # No sign arrives any more, for years: but its process holds its lock.
    later = time.time() + 1e8
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: later)
        assert project.reconcile() == []
    done.set()
    process.join(60)
    assert process.exitcode == 0
    own.flow_ended("completed")
    assert {run.status for run in project.runs()} == {"completed"}
    assert list(project.kv.scan(names.SIGN_PREFIX)) == []
    assert lock_files(project) == []


def on_another_machine(project: Project, run: Run, at: float) -> Heartbeat:
    """What is seen of a run whose machine is another one; its lock is not seen."""
    sign = replace(sign_of(project.kv, run.record), host="elsewhere", boot="another", lock="not-here", at=at)
    project.kv.put(names.sign_key(run.run_id), sign.dump())
    return sign


def test_a_run_lives_by_whatever_path_its_project_is_reached(project: Project, tmp_path: Path) -> None:
    run = begin(project)
    (tmp_path / "current").symlink_to(project.settings.runtime_dir)
    (lock,) = (tmp_path / "current" / liveness.FOLDER).iterdir()
    assert of_process(FileLocks).state(lock) == "held"
    assert end_dead_runs(project.kv, tmp_path / "current") == []
    # Nor is the lock lost by the look at it.
    assert of_a_child(lambda: of_process(FileLocks).state(lock)) == "held"
    run.flow_ended("completed")
    assert lock_files(project) == []


def of_a_child(look: Callable[[], str]) -> str:
    """What another process finds."""
    found = FORK.SimpleQueue()
    process = FORK.Process(target=lambda: found.put(look()))
    process.start()
    process.join(60)
    return str(found.get())


def test_a_run_of_another_machine_is_dead_when_it_has_fallen_silent(project: Project) -> None:
    run = begin(project)
    silence = BEAT_SECONDS * SILENT_BEATS
    on_another_machine(project, run, time.time() - silence + 30)
    assert project.reconcile() == []
    last = on_another_machine(project, run, time.time() - silence - 1)
    (ended,) = project.reconcile()
    assert (ended.run_id, ended.status, ended.died) == (run.run_id, "failed", True)
    assert last.at < run.record.started_at
    assert ended.ended_at == max(row.started_at or 0.0 for row in project.rows(run.run_id)), "the last that is known"
    assert statuses(project, run.record) == DONE

    # It was only cut off: what it says later is what holds.
    for task_run in list(run._open):
        run.end(task_run, "completed")
    run.flow_ended("completed")
    (record,) = project.runs()
    assert (record.status, record.died) == ("completed", False)
    both = {TRAIN: ("completed", {"completed": 2}), names.process_path("train", 2): ("completed", {})}
    assert statuses(project, run.record) == both


def test_a_lock_that_another_machine_left_says_nothing(project: Project) -> None:
    run = begin(project)
    sign = replace(on_another_machine(project, run, time.time()), lock="theirs")
    project.kv.put(names.sign_key(run.run_id), sign.dump())
    (project.settings.runtime_dir / liveness.FOLDER / "theirs").touch()
    assert project.reconcile() == []
    run.flow_ended("completed")


def test_signs_are_renewed_while_a_run_lives(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(project)
    first = sign_of(project.kv, run.record)
    later = time.time() + 100
    life = run.life
    assert life is not None
    with monkeypatch.context() as patch:
        patch.setattr("time.time", lambda: later)
        life.beat()
    assert run.outbox.flush(30)
    assert sign_of(project.kv, run.record) == replace(first, at=later)
    run.flow_ended("completed")
    life.beat()
    assert run.outbox.flush(30)
    assert project.kv.get(names.sign_key(run.run_id)) is None


def test_a_suspended_run_is_not_dead(project: Project) -> None:
    run = begin(project)
    run.suspended()
    assert run.outbox.flush(30)
    assert lock_files(project) == []
    assert project.reconcile() == []
    assert [found.status for found in project.runs()] == ["running"]


def test_a_run_that_is_started_again_lives_once(project: Project) -> None:
    run = begin(project)
    flow_run = SimpleNamespace(id=uuid.UUID(run.record.flow_run_id), name="a-run", parameters={})
    again = start_run(project, "main", flow_run)
    assert (again.run_id, again.record.attempt) == (run.run_id, 2)
    assert len(lock_files(project)) == 1
    assert run.life is not None
    assert not run.life.renewing
    again.flow_ended("completed")
    assert lock_files(project) == []


def test_a_deployments_runner_cleans_up_after_a_crash(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    in_a_process_that_is_killed(lambda: void(begin(project)))
    (run,) = project.runs()
    with caplog.at_level(logging.INFO, "prefect.expops"):
        end_from_outside(project, run.flow_run_id, "failed")
    # What this process did not see is counted all the same.
    assert f"run {run.run_id} failed: 2 executed, 0 from the cache" in caplog.text
    assert project.outbox.flush(30)
    assert project.kv.get(names.sign_key(run.run_id)) is None
    assert lock_files(project) == []
    assert statuses(project, run) == DONE


def test_signs_that_are_not_understood_are_left_alone(project: Project) -> None:
    newer = {**Heartbeat("newer", 0.0).dump(), "format": 2}
    for run_id, value in {"newer": newer, "odd": {"format": 1}, "text": "x"}.items():
        project.kv.put(names.sign_key(run_id), value)
    # A run whose record was never delivered, or is of a newer release.
    project.kv.put(names.sign_key("gone"), Heartbeat("gone", 0.0).dump())
    project.kv.put(names.sign_key("new"), Heartbeat("new", 0.0).dump())
    project.kv.put(names.run_record_key("new"), {"format": 99})
    assert project.reconcile() == []
    left = {key.removeprefix(names.SIGN_PREFIX) for key, _ in project.kv.scan(names.SIGN_PREFIX)}
    assert left == {"newer", "odd", "text", "new"}


def test_a_folder_that_cannot_be_written_leaves_the_beats(tmp_path: Path) -> None:
    project = opened(tmp_path)
    (tmp_path / "shop" / ".shop").mkdir(parents=True)
    (tmp_path / "shop" / ".shop" / liveness.FOLDER).write_text("in the way")
    run = begin(project)
    assert project.reconcile() == []
    on_another_machine(project, run, 0.0)
    assert [ended.run_id for ended in project.reconcile()] == [run.run_id]
    run.flow_ended("completed")
    project.outbox.close(10)


def test_the_last_of_writing_and_removing_a_key_holds(project: Project) -> None:
    project.outbox.write(Put("a", 1), Delete("a"), Delete("b"), Put("b", 2))
    assert project.outbox.flush(30)
    assert project.kv.get_many(["a", "b"]) == {"b": 2}
    project.outbox.write(Delete("b"))
    assert project.outbox.flush(30)
    assert project.kv.get("b") is None


def void(_: object) -> None:
    """What a child's body gives back is not needed."""


def test_a_worker_forgets_runs_of_others_that_it_has_not_seen_for_long(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(run: int) -> Call:
        path = "//process[@name='work']"
        return Call(f"run-{run}", project, "work", "work", path, path, path, None, 1, path)

    clock = [0.0]
    monkeypatch.setattr(runs, "_clock", lambda: clock[0])
    busy = uuid.uuid4()
    join_run(call(0)).begin(busy, call(0))
    for number in range(1, 100):
        clock[0] += 60
        join_run(call(number))
    assert "run-0" in of_process(_OpenRuns).by_id, "a task of it is still executed here"
    others = {run_id for run_id in of_process(_OpenRuns).by_id if run_id.startswith("run-")}
    assert "run-99" in others
    assert len(others) < 15
    join_run(call(0)).end(busy, "completed")
    clock[0] += 3600
    join_run(call(100))
    assert {run_id for run_id in of_process(_OpenRuns).by_id if run_id.startswith("run-")} == {"run-100"}
    of_process(_OpenRuns).by_id.pop("run-100")


def test_a_sign_of_life_that_cannot_be_given_is_called_that(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # It is said once in a process and for the runs of a project, and this test runs for each store.
    here = of_process(diagnostics._Diagnostics)
    monkeypatch.setattr(here.process, "said", set())
    monkeypatch.setattr(here, "watching", weakref.WeakSet())
    monkeypatch.setattr("expops_prefect.tracking.heartbeat.BEAT_SECONDS", 0.0)
    monkeypatch.setattr("expops_prefect.tracking.heartbeat.RunHeartbeat.sign", lambda _: 1 / 0)
    with diagnostics.concerning(None):  # not a run that another test has left open
        life = RunHeartbeat(project.outbox, project.settings.runtime_dir, "run")
    wait_until(lambda: not life.renewing, 30, "the beat that fails")
    life.end()
    assert "heartbeats not written: ZeroDivisionError" in caplog.text
    assert "leases" not in caplog.text
