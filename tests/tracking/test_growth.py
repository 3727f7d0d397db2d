"""What a long flow and a long-lived project must not make slower or larger."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, Output, read_cache_records
from expops_prefect.record.run_lookup import newest_runs
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.base import JSON, KVStore
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.testing.faults import Faults, FaultyKV
from expops_prefect.tracking.data_producers import DataProducers
from expops_prefect.tracking.outputs import Outputs
from expops_prefect.tracking.run import Run
from expops_prefect.tracking.run_summary import LINKED_HITS, READ_DOCUMENTS, SHOWN_METRICS, RunSummary
from tests.config.support import settings_of
from tests.support.cached import Cache
from tests.support.firestore import new_store

PROCESS = names.process_path("train")


def run_record(project: Project, started: float, number: int) -> RunRecord:
    run_id = names.run_id(project.project_id, started, f"{number:08x}")
    return RunRecord(run_id, project.project_id, "flow", f"{number:08x}", "", started, status="completed")


def cache_record(object_key: str) -> CacheRecord:
    return CacheRecord("completed", "", "", "", 0.0, 1.0, 1.0, object_key, "", 0, "", "raw")


def make_project(folder: Path) -> Project:
    return Project(settings_of(folder / "shop", "prefect: {project_id: shop}"))


class Counted(FaultyKV):
    """Counts the records that are read."""

    def __init__(self, inner: KVStore) -> None:
        super().__init__(inner, Faults())
        self.read = 0

    def take(self) -> int:
        """How many since it was asked last."""
        read, self.read = self.read, 0
        return read

    def scan(self, prefix: str, *, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, JSON]]:
        for item in super().scan(prefix, after=after, limit=limit):
            self.read += 1
            yield item

    def get(self, key: str) -> JSON | None:
        self.read += 1
        return super().get(key)


def test_a_recorder_keeps_nothing_of_calls_that_have_ended(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    run = Run(project, run_record(project, time.time(), 1), owner=True)

    def calls(count: int) -> int:
        for _ in range(count):
            call = run.begin(run_uuid := uuid4(), run.new_call(None, "train", "train"))
            run.executing(run_uuid)
            run.add_metrics(call.path, [LoggedPoint("loss", 0.5, 1)])
            assert run.outputs(call) == (Output("", metrics=True, charts=False),)
            run.end(run_uuid, "completed")
        return sum(
            len(value) for value in vars(run).values() if isinstance(value, dict | set | Outputs | DataProducers)
        )

    # That outputs waits for the delivery is not what is looked at.
    run.outbox.flush = lambda *_, **__: True  # type: ignore[method-assign]
    few = calls(3)
    assert calls(300) == few + 300, "nothing but the names by task run, which are bounded"
    assert project.outbox.close(30)


def test_a_summary_keeps_as_much_as_it_shows() -> None:
    """Of many calls, hits with metrics among them, each with a key of its own."""
    overview, train = RunSummary(), PROCESS

    def calls(begin: int, end: int) -> int:
        tracemalloc.start()
        for number in range(begin, end):
            path = names.process_path("train", number + 1)
            overview.points(path, [LoggedPoint("loss", number / 7, None)])
            overview.carry(path)
            overview.hit(str(uuid4()), cache_record(f"cache/{number}.pkl"))
            fields = {"started_at": number, "ended_at": number + 1.0, "cache_key": f"train/{number}"}
            overview.ended(train, "train", "completed", fields, f"cache/{number}.pkl")
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return used

    calls(0, 1_000)
    assert calls(1_000, 20_000) < 300_000
    (line,) = overview.lines
    assert (line.calls, line.key, line.object_key) == ({"completed": 20_000}, "train/19999", "cache/19999.pkl")
    everything = sorted((names.process_path("train", number + 1), "loss") for number in range(20_000))
    assert sorted(overview.series) == everything[:SHOWN_METRICS]
    assert len(overview.carried) == READ_DOCUMENTS
    assert len(overview.hits) == LINKED_HITS


def test_names_by_task_run_are_bounded(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    run = Run(project, run_record(project, time.time(), 1), owner=True)
    call, first = run.new_call(None, "train", "train"), uuid4()
    run.producers.add(first, call)
    assert run.producers.of([first]) == {"train"}
    tracemalloc.start()
    for _ in range(20_000):
        run.producers.add(uuid4(), call)
    full, _ = tracemalloc.get_traced_memory()
    for _ in range(40_000):
        run.producers.add(last := uuid4(), call)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < 1.3 * full
    assert run.producers.of([first, last]) == {"train"}
    assert run.producers.of([first]) == set()


def test_outputs_of_a_process_and_its_steps() -> None:
    outputs, other = Outputs(), names.process_path("train", 2)
    step = names.step_path(PROCESS, "load")
    outputs.add_metrics(PROCESS)
    outputs.add_charts(PROCESS)
    outputs.add_charts(step)
    outputs.add_metrics(other)
    own = Output("", metrics=True, charts=True)
    assert outputs.of(PROCESS) == (own, Output(step[len(PROCESS) :], metrics=False, charts=True))
    assert outputs.of(step) == (Output("", metrics=False, charts=True),)
    outputs.forget(PROCESS)
    assert outputs.of(PROCESS) == outputs.of(step) == ()
    assert outputs.of(other) == (Output("", metrics=True, charts=False),)
    assert outputs.of(names.process_path("nothing")) == ()


def test_the_newest_runs_are_found_without_reading_all(tmp_path: Path) -> None:
    project, now = make_project(tmp_path), time.time()
    ages = [1.0, 100.0, 7_000.0, 90_000.0, 86_400.0 * 40, 86_400.0 * 5_000]
    made = [run_record(project, now - age, number) for number, age in enumerate(ages)]
    project.kv.put_many({names.run_record_key(run.run_id): run.dump() for run in made})
    assert project.runs() == made
    for limit in range(1, 9):
        assert project.runs(limit=limit) == made[:limit]
    assert project.run("latest") == made[0]
    read: list[str | None] = []
    scan = project.kv.scan
    project.kv.scan = lambda prefix, **page: read.append(page.get("after")) or scan(prefix, **page)  # type: ignore
    project.runs(limit=2)
    assert None not in read


@pytest.mark.parametrize("seconds", [0.01, 30.0, 100_000.0])
@pytest.mark.parametrize("remote", [False, pytest.param(True, marks=pytest.mark.integration)])
def test_few_records_are_read_whatever_the_number_of_runs(tmp_path: Path, remote: bool, seconds: float) -> None:
    project, now = make_project(tmp_path), time.time()
    project.kv = counted = Counted(new_store() if remote else project.kv)
    made = [run_record(project, now - 5 - number * seconds, number) for number in range(600)]
    for start in range(0, 600, 200):
        counted.put_many({names.run_record_key(run.run_id): run.dump() for run in made[start : start + 200]})
    assert project.run("latest") == made[0]
    # Runs of one second cannot be told apart by their ids.
    dense = seconds < 1
    assert counted.take() <= (300 if dense else 150)
    assert project.run(made[300].run_id) == project.run(made[300]) == made[300]
    assert counted.take() <= 1
    assert project.runs(limit=20) == made[:20]
    assert counted.take() <= 600
    assert newest_runs(counted, "shop", 5, before=made[300])[:5] == made[301:306]
    assert dense or counted.take() <= 300
    counted.close()


def test_cached_results_of_one_task_are_found_without_reading_others(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for task in ("train", "train_final", "score"):
        cache.store(task, task=task)
    project = cache.project
    assert [key.task for key, _ in read_cache_records(project.kv)] == ["score", "train", "train_final"]
    assert [key.task for key, _ in read_cache_records(project.kv, beginning="train")] == ["train", "train_final"]
    assert [key.task for key, _ in read_cache_records(project.kv, beginning="train_f")] == ["train_final"]
    assert list(read_cache_records(project.kv, beginning="x")) == []
