"""Every single call of the stores fails once, in every way, under a flow of three tasks."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pytest

from expops_prefect import Project, flow, log_chart, log_metric, task
from expops_prefect.record.process_rows import TERMINAL
from expops_prefect.stores.outbox import outbox as outbox_module
from expops_prefect.testing.faults import Faults, FaultyKV, FaultyObjects, Kind
from tests.config.support import make_project
from tests.support.processes import short

PNG = b"\x89PNG\r\n\x1a\n a small picture"
CONFIG = """
prefect:
  project_id: shop
  cache: {default: all, small_bytes: 128, spill_bytes: 512}
  record: {artifacts: false, flush_seconds: %s, final_flush_seconds: 0.05}
"""
EXPECTED: Final = 3.0 * sum(range(100)) + 5
METRICS: Final = {
    "begin": {"size": {"1": 100}},
    "scale": {"loss": {"1": 0.5, "2": 0.25, "7": 9}},
    "end": {"total": {"1": EXPECTED}},
}


def ran(name: str) -> None:
    with Path(os.environ["EXECUTION_LOG"]).open("a") as log:
        log.write(f"{name}\n")


@task
def begin(size: int) -> Any:
    """A payload, and a manifest that stands in the record."""
    ran("begin")
    log_metric("size", size)
    return np.arange(float(size))


@task
def scale(values: Any, factor: int) -> Any:
    """A payload, and a manifest of its own."""
    ran("scale")
    log_metric("loss", 0.5)
    log_metric("loss", 0.25)
    log_metric("loss", 9, step=7)
    log_chart("curve", PNG)
    return {"values": values * factor, "note": "x" * 200}


@task
def end(scaled: Any) -> float:
    ran("end")
    total = float(scaled["values"].sum()) + len(scaled["note"]) // 40
    log_metric("total", total)
    return total


Where = Literal["kv", "objects"]


@dataclass
class Figures:
    """What came of the rounds.

    Attributes:
        rounds: how many flow runs had a fault.
        lost: the faults after which the record never became whole.
        wrong: the faults after which a result or a count of executions was wrong.
    """

    rounds: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.rounds} rounds, {len(self.lost)} lost, {len(self.wrong)} wrong"


class Round:
    """A project of its own, whose stores can fail.

    Args:
        folder: an empty folder.
        flush_seconds: how long the record waits at most.
    """

    def __init__(self, folder: Path, flush_seconds: float) -> None:
        self.root = make_project(folder / "shop", CONFIG % flush_seconds)
        self.log = folder / "executions.log"
        self.log.touch()
        self.project = Project.open(self.root)
        self.faults: dict[Where, Faults] = {"kv": Faults(), "objects": Faults()}
        self.project.kv = FaultyKV(self.project.kv, self.faults["kv"])
        self.project.objects = FaultyObjects(self.project.objects, self.faults["objects"])

    def run(self) -> tuple[float, list[str]]:
        """Run the flow; its result, and which tasks were executed."""

        @flow(project=self.root)
        def main() -> float:
            return end(scale(begin(100), 3))

        self.log.write_text("")
        return main(), self.log.read_text().split()

    def strike(self, where: Where, kind: Kind, nth: int, *, after: bool) -> None:
        """Let a call of the next run fail."""
        self._mend()
        faults = self.faults[where]
        faults.kind, faults.nth, faults.after = kind, nth, after

    def mend(self) -> bool:
        """The stores are well again; whether any call had failed."""
        struck = any(faults.struck for faults in self.faults.values())
        self._mend()
        return struck

    def _mend(self) -> None:
        for faults in self.faults.values():
            faults.nth = None
            faults.calls.clear()
            faults.struck.clear()

    def recorded(self, *, pictures: bool = True) -> str:
        """What is missing in the record of the newest run, or is there twice; empty if nothing is.

        Args:
            pictures: whether the bytes of charts count, which nothing is known of by which to check them.
        """
        assert self.project.outbox.settle(60)
        run = self.project.runs()[0]
        if run.status != "completed" or self.project.kv.get(f"runs:{run.run_id}:status") != "completed":
            return f"the run is {run.status}"
        rows = {short(row.path): row for row in self.project.rows(run.run_id)}
        if set(rows) != set(METRICS) or any(row.status not in TERMINAL for row in rows.values()):
            return f"the rows are { ({name: row.status for name, row in rows.items()}) }"
        if any(sum(row.calls.values()) != 1 for row in rows.values()):
            return f"the calls are { ({name: dict(row.calls) for name, row in rows.items()}) }"
        metrics = {short(path): series for path, series in self.project.metrics(run.run_id).items()}
        if metrics != METRICS:
            return f"the metrics are {metrics}"
        charts = [chart for of_path in self.project.charts(run.run_id).values() for chart in of_path]
        found = [self.project.objects.get(chart["object_key"]) for chart in charts]
        return "" if found == [PNG] or (len(found) == 1 and not pictures) else f"the charts are {found}"

    def close(self) -> None:
        """Leave nothing open."""
        self.project.outbox.close(10)
        self.project.kv.close()


def strike(
    folder: Path, figures: Figures, where: Where, kind: Kind, nth: int, *, after: bool, warm: bool, flush: float
) -> bool:
    """One round; whether any call failed.

    Args:
        folder: an empty folder.
        figures: what comes of it is added.
        where: which store fails.
        kind: how.
        nth: which of its calls.
        after: whether that takes effect.
        warm: whether the results are there already.
        flush: the project's ``flush_seconds``.
    """
    what = f"{'warm' if warm else 'cold'} {where} {kind}{' after' * after} {nth}"
    one = Round(folder, flush)
    try:
        if warm:
            assert one.run() == (EXPECTED, ["begin", "scale", "end"])
            assert one.recorded() == ""
        one.strike(where, kind, nth, after=after)
        result, executed = one.run()
        struck = one.mend()
        silent = kind in ("truncated", "corrupted")
        damaged = 3 if kind == "full disk" else 1
        if result != EXPECTED or len(set(executed)) != len(executed):
            figures.wrong.append(f"{what}: {result}, executed {executed}")
        if not warm and executed != ["begin", "scale", "end"]:
            figures.wrong.append(f"{what}: executed {executed}")
        if warm and len(executed) > damaged:
            figures.wrong.append(f"{what}: executed {executed}")
        if missing := one.recorded(pictures=not silent):
            figures.lost.append(f"{what}: {missing}")
        if not struck:
            return False
        # What was damaged is computed again, once; the other results are there.
        result, executed = one.run()
        if result != EXPECTED or len(executed) > damaged:
            figures.wrong.append(f"{what}: then {result}, executed {executed}")
        if missing := one.recorded(pictures=not silent):
            figures.lost.append(f"{what}: then {missing}")
        result, executed = one.run()
        if (result, executed) != (EXPECTED, []):
            figures.wrong.append(f"{what}: at last {result}, executed {executed}")
        figures.rounds += 1
        return True
    finally:
        one.close()


WAYS: Final[list[tuple[Where, Kind, bool]]] = [
    ("kv", "fails", False),
    ("kv", "fails", True),
    ("kv", "full disk", False),
    ("objects", "fails", False),
    ("objects", "fails", True),
    ("objects", "full disk", False),
    ("objects", "truncated", False),
    ("objects", "corrupted", False),
]
"""Which store, how, and whether a call that fails takes effect first."""
SAMPLE: Final = 24
"""Of so many calls the suite lets one fail; the nightly tests every one."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is delivered again at once."""
    monkeypatch.setattr(outbox_module, "_LONGEST_PAUSE", 0.01)


def matrix(folder: Path, monkeypatch: pytest.MonkeyPatch, *, every: int, flush: float) -> Figures:
    """All rounds: every call from the first to the last that is made, in steps."""
    figures = Figures()
    for warm in (False, True):
        for start, (where, kind, after) in enumerate(WAYS):
            nth = 1 + start % every
            while True:
                place = folder / f"{warm}-{where}-{kind}-{after}-{nth}-{flush}"
                place.mkdir()
                monkeypatch.setenv("EXECUTION_LOG", str(place / "executions.log"))
                struck = strike(place, figures, where, kind, nth, after=after, warm=warm, flush=flush)
                shutil.rmtree(place)
                if not struck:
                    break
                nth += every
    print(figures, *figures.lost, *figures.wrong, sep="\n")
    return figures


# The record is delivered at the end of a run, so that the order of the calls is always the same.
AT_THE_END: Final = 600.0


def test_a_single_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = matrix(tmp_path, monkeypatch, every=SAMPLE, flush=AT_THE_END)
    assert figures.rounds >= 10
    assert (figures.lost, figures.wrong) == ([], [])


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_every_single_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for flush in (AT_THE_END, 0.005):
        figures = matrix(tmp_path, monkeypatch, every=1, flush=flush)
        assert figures.rounds > 150
        assert (figures.lost, figures.wrong) == ([], [])
