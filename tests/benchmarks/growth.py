"""A project that has grown: a million rows, a hundred thousand cached results, thousands of runs."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import orjson

import expops_prefect
from expops_prefect import Project
from expops_prefect.models import names
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.sqlite.settings import SQLiteSettings
from tests.benchmarks.bench import Bench, seconds
from tests.benchmarks.harness import Goal, Measure, compared, one_round
from tests.benchmarks.small import summarise
from tests.support.server import free_port, wait_until

RUNS = 10_000
RESULTS = 100_000
ROWS = 1_000_000
STARTED = 1_700_000_000.0


def measure(bench: Bench) -> Iterator[Measure]:
    """The same in a project that is all but empty ("empty") and in one that has grown; ours is the latter."""
    scale = 100 if bench.quick else 1
    # The folders' names are the projects' ids, as ExpOps' server has it.
    folders = {name: bench.project(name) for name in ("empty", "grown")}
    hits = _hits(folders)
    one_round({name: hit(0) for name, hit in hits.items()}, 0)
    project = Project.open(folders["grown"])
    _grow(project, RUNS // scale, RESULTS // scale, ROWS // scale)
    rounds = [
        one_round({{"grown": "ours"}.get(name, name): hit(number) for name, hit in hits.items()}, number)
        for number in range(bench.small_rounds)
    ]
    yield compared(rounds, f"hit among {ROWS // scale:,} rows", Goal("overhead", 1.1), against="empty")
    yield from _server(bench, folders)
    yield from _commands(bench, folders)


def _hits(folders: dict[str, Path]) -> dict[str, Callable[[int], Callable[[], float]]]:
    """A flow run each, with one hit that is timed; the first call of all executes."""

    def of(root: Path) -> Callable[[int], Callable[[], float]]:
        task = expops_prefect.task(summarise)
        executed: list[Any] = []

        @expops_prefect.flow(project=root, name="growth")
        def run() -> float:
            task(0.5, 0, ["warm-up"])
            taken = seconds(lambda: executed.append(task(0.5, 1, ["a", "b", "c"])["executed"]))
            if len(set(executed)) != 1:
                raise AssertionError("a task run that should have been a hit was executed")
            return taken

        return lambda number: lambda: run()

    return {name: of(root) for name, root in folders.items()}


def _grow(project: Project, runs: int, results: int, rows: int) -> None:
    """Rows, metrics and records as flows leave them, written in few transactions."""
    project.kv.put("growth", 1)
    record = CacheRecord(
        "completed", "/x", "", "", STARTED, STARTED + 1, 1.0, "cache/steps/x/y/z.pkl", "0" * 64, 200, "", "packed",
        prefect_metadata="{}", inline="A" * 268,
    ).dump()  # fmt: skip

    def pairs() -> Iterator[tuple[str, bytes]]:
        for number in range(results):
            yield f"process:{names.process_path('train')}:{number:064x}:{0:064x}:{0:064x}", orjson.dumps(record)
        each = (rows - results) // runs
        for number in range(runs):
            started = STARTED + 60.0 * number
            run = names.run_id(project.project_id, started, f"{number:08x}")
            own = RunRecord(run, project.project_id, "flow", f"{number:08x}", "", started, started + 9, "completed")
            yield names.run_record_key(run), orjson.dumps(own.dump())
            yield names.run_status_key(run), b'"completed"'
            yield names.run_timestamps_key(run), orjson.dumps({"start": started, "end": started + 9})
            for call in range(1, each - 2):
                path = names.process_path("train", call)
                row = {"process_name": path, "step_name": "__process__", "status": "cached", "run_id": run}
                yield names.row_key(run, path), orjson.dumps(row)

    now = time.time()
    assert isinstance(project.settings.kv, SQLiteSettings)
    with closing(sqlite3.connect(project.settings.kv.path)) as connection, connection:
        connection.executemany(
            "INSERT OR REPLACE INTO kv(key, value, updated_at) VALUES (?, ?, ?)",
            ((key, value.decode(), now) for key, value in pairs()),
        )


def _server(bench: Bench, folders: dict[str, Path]) -> Iterator[Measure]:
    """ExpOps' own server on the newest run of each."""
    with _expops(bench.folder) as url:

        def status(name: str) -> Callable[[], float]:
            newest = Project.open(folders[name]).runs(limit=1)[0].run_id
            address = f"{url}/api/projects/{name}/runs/{newest}/status"
            return lambda: seconds(lambda: urllib.request.urlopen(address, timeout=60).read())

        contestants = {"ours": status("grown"), "empty": status("empty")}
        one_round(contestants, 0)
        rounds = [one_round(contestants, number) for number in range(bench.small_rounds // 2)]
    yield compared(rounds, "/status of ExpOps' server", Goal("overhead", 2.0), against="empty")


@contextmanager
def _expops(workspace: Path) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "expops.web.server:app", "--port", str(port), "--log-level", "error"]
    env = {**os.environ, "MLOPS_WORKSPACE_DIR": str(workspace)}
    server = subprocess.Popen(command, cwd=workspace, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{url}/api/projects"), 60, "ExpOps' server answers")
        yield url
    finally:
        server.terminate()
        server.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _commands(bench: Bench, folders: dict[str, Path]) -> Iterator[Measure]:
    """What the commands read, against one second."""
    from expops_prefect.cli import cache, runs

    grown = folders["grown"]
    calls: dict[str, Callable[[], Any]] = {
        "runs list": lambda: runs.list_runs(project=grown, limit=50),
        "cache list": lambda: cache.list_records(project=grown, limit=50),
        "cache list --task": lambda: cache.list_records(project=grown, task="summarise", limit=50),
    }
    for name, call in calls.items():
        with redirect_stdout(StringIO()):
            rounds = [{"ours": seconds(call), "one second": 1.0} for _ in range(bench.large_rounds)]
        yield compared(rounds, name, Goal("overhead", 1.0), against="one second")
