"""What a fresh process pays: the import, and a flow's first task run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.bench import Bench
from tests.benchmarks.harness import Goal, Measure, compared, one_round

SCRIPT = """
import time

start = time.perf_counter()
{imports}

imported = time.perf_counter()


@task({options})
def double(number):
    return {{"number": 2 * number}}


@flow
def main():
    return double({number})


begun = time.perf_counter()
main()
print(imported - start, time.perf_counter() - begun)
"""
IMPORTS = {
    "ours": "from expops_prefect import flow, task",
    "Prefect": "from prefect import flow, task\nfrom prefect.cache_policies import INPUTS, TASK_SOURCE",
}
OPTIONS = {"ours": "", "Prefect": "cache_policy=INPUTS + TASK_SOURCE, persist_result=True"}


def measure(bench: Bench) -> Iterator[Measure]:
    """Each contestant in processes of its own; the number is new each time, so the task is executed."""
    root = bench.project("startup")
    imports: list[dict[str, float]] = []
    flows: list[dict[str, float]] = []
    for number in range(bench.large_rounds):
        first_runs: dict[str, float] = {}

        def fresh(name: str, *, number: int = number, first_runs: dict[str, float] = first_runs) -> float:
            imported, first_runs[name] = _run(root / f"{name}.py", name, number)
            return imported

        imports.append(one_round({"ours": lambda: fresh("ours"), "Prefect": lambda: fresh("Prefect")}, number))
        flows.append(first_runs)
    yield compared(imports, "import of flow and task", Goal("overhead", 1.15))
    yield compared(flows, "first flow run of a process, one task run", Goal("overhead"))


def _run(script: Path, name: str, number: int) -> tuple[float, float]:
    script.write_text(SCRIPT.format(imports=IMPORTS[name], options=OPTIONS[name], number=number))
    done = subprocess.run(
        [sys.executable, str(script)], cwd=script.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    imported, first_run = done.stdout.split()[-2:]
    return float(imported), float(first_run)
