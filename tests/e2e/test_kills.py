"""Flow processes that are killed at random moments, and the runs that come after them."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.run_records import RunRecord
from tests.support.processes import FlowProject
from tests.support.server import wait_until

LEASE_SECONDS = 2
CONFIG = (
    f"prefect: {{project_id: shop, cache: {{default: all, single_flight: true, lease_seconds: {LEASE_SECONDS}}}}}\n"
)
FLOW = """
import json
import os
import resource
import sys
import time

import numpy as np
from expops_prefect import flow, log_metric, task

PARTS = 3


def note(line):
    with open(os.environ["EXECUTION_LOG"], "a") as log:
        log.write(line + "\\n")


def logged(name, value):
    log_metric(name, value)
    note(f"logged:{name}")


@task
def load(number):
    note("load")
    logged("rows", 100_000)
    return np.arange(100_000.0) + number


@task
def scaled(values, factor):
    note("scaled")
    for epoch in range(20):
        logged("loss", 1 / (epoch + 1))
    while os.path.exists("hold"):
        time.sleep(0.01)
    if os.path.exists("hungry"):
        return np.ones(10**12)
    return values * factor


@task
def train(values):
    note("train")
    return {"weights": scaled(values, 2.0), "note": "trained"}


@task
def part(model, number):
    note("part")
    logged("part", number)
    return float(model["weights"][number])


@task
def total(parts):
    note("total")
    return sum(parts)


@flow
def main(number):
    model = train(load(number))
    return total([future.result() for future in part.map([model] * PARTS, list(range(PARTS)))])


# A process that has imported everything is forked for each run, which is then as new as it is cheap.
for line in sys.stdin:
    number, log, answer, limit = json.loads(line)
    child = os.fork()
    if child == 0:
        os.environ["EXECUTION_LOG"] = log
        if limit is not None:  # as a disk that is full
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            result = main(number)
            with open(answer, "w") as out:
                json.dump(result, out)
        finally:
            # Not the way of a thread's end: what is delivered at the end of a process is delivered.
            sys.exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(status, flush=True)
"""
CALLS = {"load": 1, "train": 1, "scaled": 1, "part": 3, "total": 1}


@dataclass
class Figures:
    """What came of the rounds.

    Attributes:
        rounds: how many.
        cut: in how many the flow was really cut off.
        lost: what was logged or recorded before a kill, and is not there.
        wrong: results, executions and statuses that are not what they should be.
        waited: seconds that the longest run after a kill took.
    """

    rounds: int = 0
    cut: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waited: float = 0.0

    def __str__(self) -> str:
        said = f"{self.rounds} rounds, {self.cut} cut off, {len(self.lost)} lost, {len(self.wrong)} wrong"
        return "\n".join([f"{said}; the longest run after a kill took {self.waited:.1f} s", *self.lost, *self.wrong])


class Ended:
    """A run's process that has ended: what it noted, and returned if it did."""

    def __init__(self, status: int, log: Path, answer: Path) -> None:
        self.status = status
        lines = log.read_text().splitlines() if log.exists() else []
        self.executed = Counter(line for line in lines if ":" not in line)
        self.logged = Counter(line.partition(":")[2] for line in lines if ":" in line)
        self.result = json.loads(answer.read_text()) if answer.exists() else None


class Runs:
    """The process that is forked for each run."""

    def __init__(self, shop: FlowProject, process: subprocess.Popen[str]) -> None:
        self._shop = shop
        self._process = process
        self._count = 0

    def run(self, number: int, kill_after: float | None = None) -> Ended:
        """Run the flow, to its end or until it is killed so many seconds after it was started."""
        child, log, answer = self.start(number)
        if kill_after is not None:
            time.sleep(kill_after)
            if not answer.exists():
                os.kill(child, signal.SIGKILL)
        return self.end(log, answer)

    def start(self, number: int, limit: int | None = None) -> tuple[int, Path, Path]:
        """Start a run: its process, where it notes what it does, and where its result will be.

        Args:
            number: what the flow is called with.
            limit: the longest file, in bytes, that it can write.
        """
        assert self._process.stdin is not None
        self._count += 1
        log, answer = (self._shop.folder / f"{kind}-{self._count}" for kind in ("log", "answer"))
        log.touch()
        self._process.stdin.write(json.dumps([number, str(log), str(answer), limit]) + "\n")
        self._process.stdin.flush()
        return int(self._line()), log, answer

    def end(self, log: Path, answer: Path) -> Ended:
        """Wait for the end of the run that was started."""
        return Ended(int(self._line()), log, answer)

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process that is forked has ended"
        return line


@contextmanager
def running(shop: FlowProject) -> Iterator[Runs]:
    shop.configure(CONFIG)
    shop.write("main.py", FLOW)
    with (shop.folder / "output.log").open("w") as log:
        process = shop.start("main.py", stdin=subprocess.PIPE, stderr=log.fileno())
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Runs(shop, process)
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()


def chain(shop: FlowProject, rounds: int, seed: int) -> Figures:
    """Rounds of a run that is killed, and the same once more."""
    figures, chance = Figures(), random.Random(seed)
    project = shop.project()
    print(f"seed {seed}")
    with running(shop) as runs:
        assert runs.run(0).result == expected(0)
        began = time.monotonic()
        assert runs.run(-1).result == expected(-1)
        whole = time.monotonic() - began
        before = {run.run_id for run in project.runs()}
        for number in range(1, rounds + 1):
            what = f"round {number}"
            cut = runs.run(number, chance.uniform(0, whole))
            killed = [run for run in project.runs() if run.run_id not in before]
            committed = committed_by(shop, killed)
            began = time.monotonic()
            again = runs.run(number)
            figures.waited = max(figures.waited, time.monotonic() - began)
            figures.rounds += 1
            figures.cut += cut.result is None
            check(figures, what, shop, cut, again, committed, number)
            before = {run.run_id for run in project.runs()}
    with sqlite3.connect(str(project.kv.path)) as database:  # type: ignore[attr-defined]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    print(figures)
    return figures


def expected(number: int) -> float:
    return sum(2.0 * (part + number) for part in range(3))


def committed_by(shop: FlowProject, killed: list[RunRecord]) -> Counter[str]:
    """Tasks whose results the killed runs had published."""
    found: Counter[str] = Counter()
    of = {run.run_id for run in killed}
    for key, value in shop.project().kv.scan("process:"):
        record = CacheRecord.load(value)
        if record.run_id in of:
            found[key.split("'")[1]] += 1
    return found


def check(
    figures: Figures, what: str, shop: FlowProject, cut: Ended, again: Ended, committed: Counter[str], number: int
) -> None:
    """Compare a round with what it should be."""
    if again.result != expected(number):
        figures.wrong.append(f"{what}: {again.result}")
    wanted = {name: count - committed[name] for name, count in CALLS.items()}
    if committed["train"]:
        wanted["scaled"] = 0  # a step of a process that is not executed
    if again.executed != Counter({name: count for name, count in wanted.items() if count}):
        figures.wrong.append(f"{what}: committed {dict(committed)}, then executed {dict(again.executed)}")
    newest, *older = shop.project().runs()
    if newest.status != "completed" or newest.degraded:
        figures.wrong.append(f"{what}: {newest}")
    if alive := [run.run_id for run in older if run.status not in ("completed", "failed")]:
        figures.wrong.append(f"{what}: still running: {alive}")
    if cut.result is None and cut.logged:
        points = Counter[str]()
        for series in shop.project().metrics(older[0].run_id).values():
            for name, values in series.items():
                points[name] += len(values)
        # The last one may have been logged, but not noted.
        if cut.logged - points or (points - cut.logged).total() > 3:
            figures.lost.append(f"{what}: logged {dict(cut.logged)}, recorded {dict(points)}")


def outcome(figures: Figures) -> tuple[list[str], list[str]]:
    return figures.lost, figures.wrong


@pytest.mark.local
def test_kills_at_random_moments(shop: FlowProject) -> None:
    figures = chain(shop, 20, seed=random.SystemRandom().randrange(10**6))
    assert figures.cut >= 5
    assert outcome(figures) == ([], [])


@pytest.mark.local
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end(shop: FlowProject, by: signal.Signals) -> None:
    """In the middle of a step: what was committed before stays, and the run has failed."""
    with running(shop) as runs:
        (shop.root / "hold").touch()
        child, log, answer = runs.start(1)
        wait_until(lambda: log.read_text().count("logged:loss") == 20, 60, "the step is executed")
        os.kill(child, by)
        cut = runs.end(log, answer)
        (shop.root / "hold").unlink()
        if by == signal.SIGINT:
            # Ctrl-C leaves the flow time to say so itself.
            assert shop.last_run().status == "failed"
        again = runs.run(1)
    assert cut.result is None
    assert again.result == expected(1)
    assert again.executed == Counter(train=1, scaled=1, part=3, total=1)
    assert [run.status for run in shop.project().runs()] == ["completed", "failed"]
    assert shop.project().metrics(shop.project().runs()[1].run_id)["//process[@name='load']"] == {"rows": {"1": 100000}}


@pytest.mark.local
def test_a_task_that_takes_all_memory(shop: FlowProject) -> None:
    with running(shop) as runs:
        (shop.root / "hungry").touch()
        first = runs.run(1)
        (shop.root / "hungry").unlink()
        again = runs.run(1)
    assert first.result is None
    assert first.executed == Counter(load=1, train=1, scaled=1)
    assert again.result == expected(1)
    assert again.executed == Counter(train=1, scaled=1, part=3, total=1)
    assert [run.status for run in shop.project().runs()] == ["completed", "failed"]


@pytest.mark.local
def test_a_disk_that_is_full(shop: FlowProject) -> None:
    """Every file ends at 40 kB, those of the database too: the flow is right, and later runs are."""
    with running(shop) as runs:
        _, log, answer = runs.start(1, 40_000)
        full = runs.end(log, answer)
        again, cached = runs.run(1), runs.run(1)
    assert full.result == again.result == cached.result == expected(1)
    assert full.executed == Counter(CALLS)
    assert again.executed["load"] == again.executed["scaled"] == 1, "arrays that were too large for the disk"
    assert cached.executed == Counter()
    assert {run.status for run in shop.project().runs()} == {"completed"}
    with sqlite3.connect(str(shop.project().kv.path)) as database:  # type: ignore[attr-defined]
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.local
def test_a_folder_that_cannot_be_written(shop: FlowProject) -> None:
    """Not even by root: below /proc."""
    shop.environ["EXPOPS_RUNTIME_DIR"] = "/proc/no-such-folder"
    with running(shop) as runs:
        first, again = runs.run(1), runs.run(1)
    assert first.result == again.result == expected(1)
    assert first.executed == again.executed == Counter(CALLS)
    assert "they are lost when it ends" in (shop.folder / "output.log").read_text()


@pytest.mark.local
@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_many_kills_at_random_moments(shop: FlowProject) -> None:
    figures = chain(shop, 200, seed=random.SystemRandom().randrange(10**6))
    assert figures.cut >= 50
    assert outcome(figures) == ([], [])
