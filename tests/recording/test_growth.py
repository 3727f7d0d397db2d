"""What a long flow and a long-lived project must not make slower or larger."""

from __future__ import annotations

import time
import tracemalloc
from pathlib import Path
from uuid import uuid4

from expops_prefect import names
from expops_prefect.kv.base import MetricPoint
from expops_prefect.project import Project
from expops_prefect.recording.makers import Makers
from expops_prefect.recording.outputs import Outputs
from expops_prefect.recording.overview import LINKED_HITS, READ_DOCUMENTS, SHOWN_METRICS, Overview
from expops_prefect.recording.run import Run
from expops_prefect.records import CacheRecord, Output, RunRecord, read_cache_records
from tests.config.support import settings_of
from tests.support.cached import Cache

PROCESS = names.process_path("train")


def run_record(project: Project, started: float, number: int) -> RunRecord:
    run_id = names.run_id(project.project_id, started, f"{number:08x}")
    return RunRecord(run_id, project.project_id, "flow", f"{number:08x}", "", started, status="completed")


def cache_record(object_key: str) -> CacheRecord:
    return CacheRecord("completed", "", "", "", 0.0, 1.0, 1.0, object_key, "", 0, "", "raw")


def make_project(folder: Path) -> Project:
    return Project(settings_of(folder / "shop", "prefect: {project_id: shop}"))


def test_a_recorder_keeps_nothing_of_calls_that_have_ended(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    run = Run(project, run_record(project, time.time(), 1), owner=True)

    def calls(count: int) -> int:
        for _ in range(count):
            call = run.begin(run_uuid := uuid4(), run.new_call(None, "train", "train"))
            run.executing(run_uuid)
            run.add_metrics(call.path, [MetricPoint("loss", 0.5, 1)])
            assert run.outputs(call) == (Output("", metrics=True, charts=False),)
            run.end(run_uuid, "completed")
        return sum(len(value) for value in vars(run).values() if isinstance(value, dict | set | Outputs | Makers))

    # That outputs waits for the delivery is not what is looked at.
    run.outbox.flush = lambda *_, **__: True  # type: ignore[method-assign]
    few = calls(3)
    assert calls(300) == few + 300, "nothing but the names by task run, which are bounded"
    assert project.outbox.close(30)


def test_a_summary_keeps_as_much_as_it_shows() -> None:
    """Of many calls, hits with metrics among them, each with a key of its own."""
    overview, train = Overview(), PROCESS

    def calls(begin: int, end: int) -> int:
        tracemalloc.start()
        for number in range(begin, end):
            path = names.process_path("train", number + 1)
            overview.points(path, [MetricPoint("loss", number / 7, None)])
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
    run.makers.add(first, call)
    assert run.makers.of([first]) == {"train"}
    tracemalloc.start()
    for _ in range(20_000):
        run.makers.add(uuid4(), call)
    full, _ = tracemalloc.get_traced_memory()
    for _ in range(40_000):
        run.makers.add(last := uuid4(), call)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < 1.3 * full
    assert run.makers.of([first, last]) == {"train"}
    assert run.makers.of([first]) == set()


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


def test_cached_results_of_one_task_are_found_without_reading_others(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for task in ("train", "train_final", "score"):
        cache.store(task, task=task)
    project = cache.project
    assert [key.task for key, _ in read_cache_records(project.kv)] == ["score", "train", "train_final"]
    assert [key.task for key, _ in read_cache_records(project.kv, beginning="train")] == ["train", "train_final"]
    assert [key.task for key, _ in read_cache_records(project.kv, beginning="train_f")] == ["train_final"]
    assert list(read_cache_records(project.kv, beginning="x")) == []
