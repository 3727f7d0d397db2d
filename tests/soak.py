"""``make soak``: one process that runs flows for half an hour. What it takes up must not grow.

``python -m tests.soak [MINUTES]`` prints a line every tenth of the time, and exits with 1 if memory, open
files, threads or what waits in the outbox are more at the end than after the first third.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil  # type: ignore[import-untyped]
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings

from expops_prefect import EXPOPS, Project, flow, log_chart, log_metric, task
from tests.support.server import start_prefect_server

PNG = b"\x89PNG\r\n\x1a\n a small picture"
ROUNDS = 30
"""How often is measured."""
MORE_MEMORY = 32 << 20
"""Bytes that count as none: what Python and its libraries keep to themselves comes and goes."""
MORE_FILES = 4
MORE_THREADS = 2
WAITING = 1 << 20


@task(ignore=["ran"], cache_policy=EXPOPS)
def load(turn: int, ran: list[int]) -> np.ndarray:
    """A payload; every other turn it is a hit."""
    ran.append(turn)
    log_metric("rows", 50_000)
    return np.arange(50_000.0) + turn


@task
def part(values: np.ndarray, number: int) -> float:
    """A small result."""
    for step in range(10):
        log_metric("loss", step)
    return float(values[number])


@task
def fails(turn: int) -> None:
    """Nothing of it may stay behind."""
    raise ValueError(turn)


@task
def report(parts: list[float]) -> float:
    """A chart."""
    log_chart("parts", PNG)
    return sum(parts)


@dataclass(frozen=True)
class Taken:
    """What this process takes up.

    Attributes:
        memory: bytes.
        files: open ones, sockets included.
        threads: how many.
        waiting: bytes in the outbox.
    """

    memory: int
    files: int
    threads: int
    waiting: int

    def __str__(self) -> str:
        return f"{self.memory >> 20} MiB, {self.files} files, {self.threads} threads, {self.waiting} bytes waiting"


def taken(project: Project) -> Taken:
    """What this process takes up now."""
    process = psutil.Process()
    waiting = sum(file.stat().st_size for file in project.outbox.folder.glob("**/*") if file.is_file())
    return Taken(process.memory_info().rss, process.num_fds(), process.num_threads(), waiting)


def middle(samples: Sequence[Taken]) -> Taken:
    """The medians."""
    names = Taken.__dataclass_fields__
    return Taken(**{name: int(median(getattr(sample, name) for sample in samples)) for name in names})


def main(minutes: float) -> int:
    """Run flows, measure, compare."""
    logging.disable(logging.CRITICAL)
    ran: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "shop"
        (root / "configs").mkdir(parents=True)
        (root / "configs" / "project_config.yaml").write_text("prefect: {project_id: soak}\n")
        os.environ["EXPOPS_PROJECT_ROOT"] = str(root)
        server, api = start_prefect_server(Path(folder))
        try:
            values = {PREFECT_API_URL: api, PREFECT_HOME: Path(folder) / "home", PREFECT_LOGGING_TO_API_ENABLED: False}
            with temporary_settings(values):
                samples, turns = _run(root, minutes, ran)
        finally:
            server.stop()
    third = len(samples) // 3
    before, after = middle(samples[third : 2 * third]), middle(samples[-third:])
    print(f"{turns} flow runs in {minutes:g} minutes\nin the middle: {before}\nat the end:    {after}")
    if len(ran) != (turns + 1) // 2:
        print(f"executed {len(ran)} times in {turns} turns: every other one is to be a hit")
        return 1
    grown = [
        name
        for name, more in (("memory", MORE_MEMORY), ("files", MORE_FILES), ("threads", MORE_THREADS))
        if getattr(after, name) > getattr(before, name) + more
    ]
    if after.waiting > WAITING:
        grown.append("what waits")
    print(f"more than before: {', '.join(grown)}" if grown else "nothing grew")
    return bool(grown)


def _run(root: Path, minutes: float, ran: list[int]) -> tuple[list[Taken], int]:
    @flow(project=root, name="soak")
    def soak(turn: int) -> float:
        values = load(turn // 2, ran)
        fails(turn, return_state=True)
        return report(part.map([values] * 4, range(4)).result())

    samples: list[Taken] = []
    turns, began = 0, time.monotonic()
    while (now := time.monotonic() - began) < 60 * minutes:
        expected = float(sum(number + turns // 2 for number in range(4)))
        if soak(turns) != expected:
            raise AssertionError(f"turn {turns} gave a wrong result")
        turns += 1
        if len(samples) < now / (60 * minutes) * ROUNDS:
            samples.append(taken(Project.open(root)))
            if len(samples) % 3 == 0:
                print(f"{now / 60:5.1f} min, {turns} flow runs: {samples[-1]}", flush=True)
    return samples, turns


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30))
