"""The example flows as deployments: the documents' commands, a worker of a process pool, another checkout, a kill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.record.run_records import RunRecord
from tests.documents.pages import commands, pages
from tests.support.server import clean_environment, wait_until

ROOT = Path(__file__).resolve().parents[2]
SERVER, POOL, DEPLOY, WORKER, *RUNS = commands(pages()["docs/deployments.md"])


class Checkout:
    """A copy of the example in a folder of any name, whose records lie in a folder that outlives it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.root = folder / name
        for part in ("flows", "configs"):
            shutil.copytree(ROOT / part, self.root / part, ignore=shutil.ignore_patterns("__pycache__"))
        self.env = {
            **clean_environment(folder / "home"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "EXPOPS_RUNTIME_DIR": str(folder / "kept"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> str:
        process = self.start(command)
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        return output

    def runs(self) -> list[RunRecord]:
        return Project.open(self.root).runs()

    def executed(self, run: RunRecord) -> Counter[str]:
        """Task bodies that ran, and tasks that were hits, by the status of their calls."""
        total: Counter[str] = Counter()
        for row in Project.open(self.root).rows(run.run_id):
            if sum(row.calls.values()) <= 1 or "partition" in row.path:
                total[row.status] += 1
        return total


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A worker as the documents start it, somewhere else than the code."""
    monkeypatch.setenv("EXPOPS_RUNTIME_DIR", str(tmp_path / "kept"))
    somewhere = Checkout(tmp_path, "where the worker is")
    somewhere.run(POOL)
    process = somewhere.start(WORKER)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def test_a_deployment_is_cached_across_runs_and_checkouts(worker: subprocess.Popen[str], tmp_path: Path) -> None:
    assert SERVER == "prefect server start", "the suite's server stands for it"
    first, *again = RUNS
    clone = Checkout(tmp_path, "a clone")
    clone.run(DEPLOY)
    clone.run(first)
    other = Checkout(tmp_path, "another name")
    shutil.rmtree(clone.root / "flows")
    other.run(DEPLOY)
    for command in again:
        other.run(command)
    *cached, computed = other.runs()
    assert computed.project_id == "expops-demo"
    assert other.executed(computed) == {"completed": 9}
    assert [other.executed(run) for run in cached] == [{"cached": 8}] * len(again), "steps of a hit are skipped"

    # Another seed is computed; its process is killed in the middle, and the worker closes its record.
    running = other.start(f"{first} --param seed=8")
    wait_until(lambda: len(other.runs()) == 2 + len(again), 120, "the run begins")
    killed = other.runs()[0]
    wait_until(lambda: other.executed(killed)["completed"] >= 1, 120, "it computes")
    assert killed.pid not in {os.getpid(), worker.pid}
    os.kill(killed.pid, signal.SIGKILL)
    output, _ = running.communicate(timeout=240)
    assert running.returncode != 0, output
    wait_until(lambda: other.runs()[0].status == "failed", 120, "the record is closed")
    assert other.runs()[0].run_id == killed.run_id
    assert other.executed(killed)["running"] == 0
