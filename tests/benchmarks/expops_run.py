"""An ExpOps project of which nothing has changed: ``expops-prefect run`` beside ``expops run``, each a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.harness import Goal, Measure, compared, one_round
from tests.interop.templates import Template


def measure(bench: Bench) -> Iterator[Measure]:
    """Both templates that ExpOps ships; ours has a Prefect server at hand, as it has anywhere that is in use."""
    yield _compared(bench, "sklearn-basic", "an unchanged ExpOps project, whole command", bench.large_rounds)
    if not bench.quick:
        # ExpOps executes 71 of its 76 processes again, minutes of work with all the data.
        yield _compared(bench, "premier-league", "a larger one, whole command", 2, rows=1200)


def _compared(bench: Bench, name: str, what: str, count: int, rows: int | None = None) -> Measure:
    template = Template(bench.folder, name, rows=rows)
    template.environ["PREFECT_API_URL"] = os.environ["PREFECT_API_URL"]
    # As ExpOps' workers have it, so that both compute the same.
    template.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    template.run_by_expops()
    template.run_by_us()
    rounds = []
    for number in range(count):
        contestants = {
            "ours": lambda: template.run_by_us().seconds,
            "expops run": lambda: template.run_by_expops().seconds,
        }
        rounds.append(one_round(contestants, number))
    if set(template.statuses(template.run_by_us().run_id).values()) != {"cached"}:
        raise AssertionError(f"{name}: a process that should have been a hit was executed")
    return compared(rounds, what, Goal("speedup", 3), against="expops run")
