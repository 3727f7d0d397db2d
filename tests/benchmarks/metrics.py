"""Logging a long series of metrics, until it stands in the store that a UI reads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import expops_prefect
from expops_prefect import Project
from tests.benchmarks import expops_peer
from tests.benchmarks.bench import Bench, seconds
from tests.benchmarks.harness import Goal, Measure, compared, one_round

POINTS = 100_000
PEERS = Path(sys.prefix) / "peers" / "bin" / "python"
"""MLflow wants older versions of libraries than the ones that are pinned here, so it has an environment of its own."""
MLFLOW = """
import sys, time
from mlflow.tracking import MlflowClient

client = MlflowClient(sys.argv[1])
run = client.create_run(client.create_experiment("bench")).info.run_id
client.log_metric(run, "warm-up", 1.0, step=0)
begun = time.perf_counter()
for step in range(int(sys.argv[2])):
    client.log_metric(run, "loss", 1 / (step + 1), step=step)
print(time.perf_counter() - begun)
"""


def measure(bench: Bench) -> Iterator[Measure]:
    """Our ``log_metric`` in a task, ExpOps' on its SQLite store, MLflow's on a SQLite store.

    The peers log fewer points, and their time is taken times the rest. That favours ExpOps: it writes the
    whole series again for each point, so that the last twentieth would take it many times the first, which
    is measured, and all of them hours.
    """
    points = POINTS // 100 if bench.quick else POINTS
    twentieth, hundredth = points // 20, points // 100
    rounds = []
    for number in range(bench.large_rounds):
        folder = bench.folder / f"metrics-{number}"
        folder.mkdir()
        contestants = {
            "ours": lambda folder=folder: _ours(bench.project(f"{folder.name}-ours"), points),
            "ExpOps": lambda folder=folder: 20 * _expops(folder, twentieth),
            "MLflow": lambda folder=folder: 100 * _mlflow(folder, hundredth),
        }
        rounds.append(one_round(contestants, number))
    name = f"log_metric, {points:,} points"
    yield compared(rounds, name, Goal("speedup", 50), against="ExpOps")
    yield compared(rounds, name, Goal("speedup", 20), against="MLflow")


def _ours(root: Path, points: int) -> float:
    taken = []

    @expops_prefect.task
    def log() -> int:
        def all_of_them() -> None:
            for step in range(points):
                expops_prefect.log_metric("loss", 1 / (step + 1), step=step)
            if not Project.open(root).outbox.flush(600):
                raise AssertionError("the points are not delivered")

        taken.append(seconds(all_of_them))
        return points

    @expops_prefect.flow(project=root, name="metrics")
    def run() -> None:
        log()

    run()
    project = Project.open(root)
    (series,) = project.metrics(project.runs()[0].run_id).values()
    if len(series["loss"]) != points:
        raise AssertionError(f"{len(series['loss'])} of {points} points")
    return taken[0]


def _expops(folder: Path, points: int) -> float:
    state = expops_peer.manager(folder / "expops")

    def all_of_them() -> None:
        for step in range(points):
            state.log_metric(expops_peer.RUN, expops_peer.PROCESS, None, "loss", 1 / (step + 1), step=step)

    return seconds(all_of_them)


def _mlflow(folder: Path, points: int) -> float:
    if not PEERS.exists():
        raise SystemExit("MLflow is not installed; make bench does that")
    done = subprocess.run(
        [str(PEERS), "-c", MLFLOW, f"sqlite:///{folder / 'mlflow.db'}", str(points)],
        env={**os.environ, "PYTHONPATH": ""},
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])
