"""An ExpOps project of which nothing has changed: ``expops-prefect run`` beside ``expops run``, each a process."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.benchmarks.bench import Bench
from tests.benchmarks.harness import Goal, Measure, compared, one_round
from tests.interop.templates import Template


def measure(bench: Bench) -> Iterator[Measure]:
    """ExpOps' smallest template; ours has a Prefect server at hand, as it has anywhere that is in use."""
    template = Template(bench.folder, "sklearn-basic")
    template.environ["PREFECT_API_URL"] = os.environ["PREFECT_API_URL"]
    template.run_by_expops()
    template.run_by_us()
    rounds = []
    for number in range(bench.large_rounds):
        contestants = {
            "ours": lambda: template.run_by_us().seconds,
            "expops run": lambda: template.run_by_expops().seconds,
        }
        rounds.append(one_round(contestants, number))
    yield compared(rounds, "an unchanged ExpOps project, whole command", Goal("speedup", 3), against="expops run")
