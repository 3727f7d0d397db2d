"""Outages of every shape, each with its figures: flows that succeeded, what was lost, seconds that it took longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from expops_prefect.record.process_rows import TERMINAL
from tests.e2e.test_outages import ALL, SERIES, Drill
from tests.support.backends import Cloud
from tests.support.processes import short

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(600)]

WAIT: Final = 5
"""``final_flush_seconds`` of the drills."""
CALLS: Final = 10 + 10 + 30
"""Seconds after which calls are given up: two of Firestore, for a run's start and a task, one of Cloud Storage.

The next ones are not made at once.
"""
MARGIN: Final = 20
STATUSES: Final = {"before", "during", "p2/during", "after"}
METRICS: Final[dict[str, dict[str, Any]]] = {
    "before": {"loss": {"1": 0.5}},
    "during": {"loss": SERIES},
    "p2/during": {"loss": SERIES},
    "after": {"loss": {"1": 9.5}},
}


@dataclass(frozen=True)
class Figures:
    """What came of a drill.

    Attributes:
        name: which.
        succeeded: whether the flow did.
        statuses, metrics: how many were lost: not there once the stores are back.
        added: seconds that the flow's process took longer than without an outage.
        again: how many task bodies a next run executed.
    """

    name: str
    succeeded: bool
    statuses: int
    metrics: int
    added: float
    again: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {int(self.succeeded)} of 1 flows succeeded, {self.statuses} statuses lost, "
            f"{self.metrics} metric points lost, {self.added:.1f} s longer, a next run executed {self.again} tasks"
        )


Outage = Callable[[Drill], AbstractContextManager[None]]


def away(drill: Drill) -> None:
    drill.firestore.switch("refuse")
    drill.gcs.switch("refuse")


def back(drill: Drill) -> None:
    drill.firestore.switch("pass")
    drill.gcs.switch("pass")


@contextmanager
def at_the_start(drill: Drill) -> Iterator[None]:
    def disturb() -> None:
        drill.reached("first")
        time.sleep(3)
        back(drill)
        drill.open("first")

    away(drill)
    drill.open("second")
    with beside(disturb):
        yield


@contextmanager
def in_the_middle(drill: Drill) -> Iterator[None]:
    def disturb() -> None:
        drill.reached("first")
        away(drill)
        drill.open("first")
        drill.reached("second")
        back(drill)
        drill.open("second")

    with beside(disturb):
        yield


@contextmanager
def at_the_end(drill: Drill) -> Iterator[None]:
    def disturb() -> None:
        drill.open("first")
        drill.reached("second")
        away(drill)
        drill.open("second")

    with beside(disturb):
        yield
    back(drill)


@contextmanager
def until_after_the_end(drill: Drill) -> Iterator[None]:
    """Nothing answers, and nothing says so: calls wait for their own limits."""

    def disturb() -> None:
        drill.reached("first")
        drill.firestore.switch("hang")
        drill.gcs.switch("hang")
        drill.open("first")
        drill.open("second")

    with beside(disturb):
        yield
    back(drill)


@contextmanager
def slow(drill: Drill) -> Iterator[None]:
    drill.firestore.delay = drill.gcs.delay = 1.0  # there and back
    drill.open("first")
    drill.open("second")
    yield
    drill.firestore.delay = drill.gcs.delay = 0.0


@contextmanager
def flapping(drill: Drill) -> Iterator[None]:
    def disturb() -> None:
        until = time.monotonic() + 60
        drill.open("first")
        while time.monotonic() < until:
            away(drill)
            time.sleep(3)
            back(drill)
            time.sleep(3)
        drill.open("second")

    with beside(disturb):
        yield


@contextmanager
def beside(disturb: Callable[[], None]) -> Iterator[None]:
    thread = threading.Thread(target=disturb)
    thread.start()
    yield
    thread.join()


def figures_of(outage: Outage, folder: Path, cloud: Cloud, held: float) -> Figures:
    """Run the flow once undisturbed, in another project, then with an outage, then once more.

    Args:
        outage: what happens.
        folder: an empty folder.
        cloud: the servers.
        held: how long the drill itself holds the flow up.
    """
    plain = Drill(folder / "plain", cloud)
    plain.open("first")
    plain.open("second")
    began = time.monotonic()
    assert plain.shop.run("main.py", env=plain.env).ok().executions == ALL
    undisturbed = time.monotonic() - began

    drill = Drill(folder / "drill", cloud, f"  record: {{final_flush_seconds: {WAIT}}}\n")
    try:
        began = time.monotonic()
        with outage(drill):
            outcome = drill.shop.finish(drill.shop.start("main.py", env=drill.env), timeout=300)
            added = time.monotonic() - began - undisturbed - held
        succeeded = outcome.returncode == 0 and "result 5" in outcome.output and outcome.executions == ALL
        again = drill.shop.run("main.py", env=drill.env).ok()
        # A run that begins delivers what waits; the one after it finds all of it.
        project, first = drill.shop.project(), drill.shop.project().runs()[-1]
        ended = {short(row.path) for row in project.rows(first.run_id) if row.status in TERMINAL}
        lost = len(STATUSES - ended)
        lost += project.runs()[-1].status != "completed"
        metrics = {short(path): value for path, value in project.metrics(first.run_id).items()}
        points = sum(
            found != metrics.get(path, {}).get("loss", {}).get(step)
            for path, series in METRICS.items()
            for step, found in series["loss"].items()
        )
        return Figures(outage.__name__, succeeded, lost, points, added, again.total)
    finally:
        for made in (plain, drill):
            made.close()


@pytest.mark.parametrize(
    ("outage", "held", "bound"),
    [
        (at_the_start, 3, WAIT + CALLS + MARGIN),
        (in_the_middle, 0, WAIT + CALLS + MARGIN),
        (at_the_end, 0, WAIT + CALLS + MARGIN),
        (until_after_the_end, 0, WAIT + CALLS + MARGIN),
        (slow, 0, 120),
        (flapping, 60, WAIT + CALLS + MARGIN),
    ],
)
def test_drill(outage: Outage, held: float, bound: float, tmp_path: Path, cloud: Cloud) -> None:
    figures = figures_of(outage, tmp_path, cloud, held)
    print(figures)
    assert figures.succeeded
    assert (figures.statuses, figures.metrics) == (0, 0)
    assert figures.added < bound
    assert figures.again <= len(ALL) + 1
