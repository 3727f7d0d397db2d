"""Processes that all want the same many results: each is computed once, whoever is killed or paused meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from expops_prefect.models.names import LEASE_PREFIX
from tests.support.backends import Cloud
from tests.support.processes import FlowProject
from tests.support.server import wait_until

LEASE_SECONDS = 2.0
CONFIG = f"prefect: {{cache: {{default: all, single_flight: true, lease_seconds: {LEASE_SECONDS}}}}}\n"
FLOW = """
import json
import logging
import os
import sys
import time
import traceback

from prefect.task_runners import ThreadPoolTaskRunner
from expops_prefect import flow, task


def note(*words):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(" ".join(map(str, words)) + "\\n")


class Waits(logging.Handler):
    def emit(self, record):
        if " waits: " in record.getMessage():
            note("waits", -1, os.getpid(), time.monotonic())


logging.getLogger("prefect.expops").addHandler(Waits())


@task
def compute(key):
    note("begin", key, os.getpid(), time.monotonic())
    time.sleep(0.01)
    while not os.path.exists(os.environ["NOTES"] + ".go"):
        time.sleep(0.01)
    note("end", key, os.getpid(), time.monotonic())
    return {"key": key, "by": os.getpid()}


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def main(keys):
    return [future.result() for future in compute.map(keys)]


# A process that has imported everything is forked for each run, which is then as new as it is cheap.
for line in sys.stdin:
    asked = json.loads(line)
    os.environ["NOTES"] = asked["notes"]
    for keys in asked["runs"]:
        if os.fork() == 0:
            try:
                found = main(keys)
                with open(f"{asked['notes']}-{os.getpid()}", "w") as out:
                    json.dump(found, out)
            except BaseException:
                traceback.print_exc()  # the exit below would hide it
            finally:
                sys.exit(0)
    for _ in asked["runs"]:
        os.wait()
    print("done", flush=True)
"""


@dataclass
class Figures:
    """What came of the rounds.

    Attributes:
        keys: how many results were wanted.
        executed: how often one was computed by a process that was not disturbed.
        lost: results that somebody did not get.
        wrong: what was computed twice, or is not what was published.
        stuck: seconds from a kill to the next computation of what the killed process was computing, the longest.
    """

    rounds: int = 0
    keys: int = 0
    executed: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: float = 0.0

    def __str__(self) -> str:
        said = f"{self.rounds} rounds, {self.keys} keys, {self.executed} executions by undisturbed processes"
        said += f", {len(self.lost)} lost, {len(self.wrong)} wrong; the longest wait for a lease that ended"
        return "\n".join([f"{said} {self.stuck:.1f} s of {LEASE_SECONDS:.0f}", *self.lost, *self.wrong])


class Crowd:
    """Flow processes that want the same keys."""

    def __init__(self, shop: FlowProject, process: subprocess.Popen[str], figures: Figures) -> None:
        self.figures = figures
        self._shop = shop
        self._process = process

    def start(self, processes: int, keys: list[int], *, shuffled: bool) -> Path:
        """Start a round, in which nobody ends before :func:`go`; where it is noted who computes what."""
        notes = self._shop.folder / f"notes-{self.figures.rounds}"
        notes.touch()
        runs = [random.sample(keys, len(keys)) if shuffled else keys for _ in range(processes)]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"notes": str(notes), "runs": runs}) + "\n")
        self._process.stdin.flush()
        self.figures.rounds += 1
        self.figures.keys += len(keys)
        return notes

    def end(self, notes: Path, keys: list[int], disturbed: int | None, undisturbed: int, *, killed: bool) -> None:
        """Wait for a round's end and see what came of it."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"
        figures, what = self.figures, f"round {self.figures.rounds}"
        executions: dict[int, list[int]] = defaultdict(list)
        for word, key, pid, _ in noted(notes):
            if word == "begin":
                executions[key].append(pid)
        by: dict[int, set[int]] = defaultdict(set)
        answers = [path for path in notes.parent.glob(f"{notes.name}-*") if int(path.name.split("-")[-1]) != disturbed]
        if len(answers) != undisturbed:
            figures.lost.append(f"{what}: {undisturbed - len(answers)} runs have no result")
        for answer in answers:
            for found in json.loads(answer.read_text()):
                by[found["key"]].add(found["by"])
        for key in keys:
            alive = [pid for pid in executions[key] if pid != disturbed]
            figures.executed += len(alive)
            if len(alive) > 1 or len(executions[key]) > 1 + (disturbed in executions[key]):
                figures.wrong.append(
                    f"{what}: {key} was computed by {executions[key]}, of which {disturbed} had to stop"
                )
            if len(by[key]) != 1 or not by[key] <= set(executions[key]):
                figures.wrong.append(f"{what}: {key} is {by[key]}'s, and was computed by {executions[key]}")
            if not killed and disturbed in by[key] and alive:
                figures.wrong.append(f"{what}: {key} was published by {disturbed}, which was paused for too long")
        if held := list(self._shop.project().kv.scan(LEASE_PREFIX)):
            figures.wrong.append(f"{what}: leases that are left: {held}")

    def whoever_computes(self, notes: Path, processes: int) -> tuple[int, set[int]]:
        """A process that is computing now, and what, once all the others compute or wait."""
        wait_until(lambda: len({pid for _, _, pid, _ in noted(notes)}) == processes, 120, "all compute or wait")
        inside = computing(notes)
        pid = random.choice(sorted(set(inside.values())))
        return pid, {key for key, holder in inside.items() if holder == pid}


def go(notes: Path) -> None:
    notes.with_name(f"{notes.name}.go").touch()


def noted(notes: Path) -> list[tuple[str, int, int, float]]:
    lines = [line.split() for line in notes.read_text().splitlines()]
    return [(word, int(key), int(pid), float(at)) for word, key, pid, at in lines]


def computing(notes: Path) -> dict[int, int]:
    inside: dict[int, int] = {}
    for word, key, pid, _ in noted(notes):
        if word == "begin":
            inside[key] = pid
        elif word == "end":
            inside.pop(key, None)
    return inside


@contextmanager
def crowd(cloud: Cloud, folder: Path, combination: str) -> Iterator[Crowd]:
    shop = cloud.anywhere(folder, combination)
    shop.configure(CONFIG)
    shop.write("main.py", FLOW)
    with (folder / "output.log").open("w") as log:
        process = shop.start("main.py", stdin=subprocess.PIPE, stderr=log.fileno())
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Crowd(shop, process, Figures())
        finally:
            process.stdin.close()
            process.wait(120)
            process.stdout.close()


def undisturbed(asked: Crowd, processes: int, count: int) -> None:
    """Everybody wants everything, each in an order of its own."""
    keys = list(range(count))
    notes = asked.start(processes, keys, shuffled=True)
    go(notes)
    asked.end(notes, keys, None, processes, killed=False)


def with_a_kill(asked: Crowd, processes: int, keys: list[int]) -> None:
    """One process that computes is killed; the others wait for the same, or compute too."""
    notes = asked.start(processes, keys, shuffled=False)
    pid, inside = asked.whoever_computes(notes, processes)
    os.kill(pid, signal.SIGKILL)
    at = time.monotonic()
    go(notes)
    asked.end(notes, keys, pid, processes - 1, killed=True)
    for key in inside:
        following = [
            when for word, begun, other, when in noted(notes) if (word, begun) == ("begin", key) and other != pid
        ]
        if following:
            asked.figures.stuck = max(asked.figures.stuck, following[0] - at)


def with_a_pause(asked: Crowd, processes: int, keys: list[int]) -> None:
    """One process that computes is paused until another one computes the same."""
    notes = asked.start(processes, keys, shuffled=False)
    pid, inside = asked.whoever_computes(notes, processes)
    os.kill(pid, signal.SIGSTOP)
    go(notes)
    try:
        wait_until(lambda: _others_computed(notes, pid) >= inside - _ended(notes, pid), 120, "others compute it")
    finally:
        os.kill(pid, signal.SIGCONT)
    asked.end(notes, keys, pid, processes - 1, killed=False)


def _others_computed(notes: Path, pid: int) -> set[int]:
    return {key for word, key, other, _ in noted(notes) if word == "begin" and other != pid}


def _ended(notes: Path, pid: int) -> set[int]:
    return {key for word, key, other, _ in noted(notes) if word == "end" and other == pid}


def outcome(asked: Crowd) -> tuple[list[str], list[str]]:
    print(asked.figures)
    return asked.figures.lost, asked.figures.wrong


@pytest.mark.parametrize("combination", ["local-local", "gcp-gcs"])
def test_some_flights(cloud: Cloud, tmp_path: Path, combination: str) -> None:
    with crowd(cloud, tmp_path, combination) as asked:
        undisturbed(asked, 3, 12)
        assert asked.figures.executed == 12
        with_a_kill(asked, 3, list(range(100, 106)))
        assert outcome(asked) == ([], [])


@pytest.mark.nightly
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("combination", ["local-local", "gcp-gcs"])
def test_many_flights(cloud: Cloud, tmp_path: Path, combination: str) -> None:
    with crowd(cloud, tmp_path, combination) as asked:
        undisturbed(asked, 8, 200)
        assert asked.figures.executed == 200
        for number in range(1, 11):
            with_a_kill(asked, 8, list(range(1000 * number, 1000 * number + 8)))
            with_a_pause(asked, 8, list(range(1000 * number + 500, 1000 * number + 508)))
        assert outcome(asked) == ([], [])
        assert asked.figures.stuck <= LEASE_SECONDS + 1
