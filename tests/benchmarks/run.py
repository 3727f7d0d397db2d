"""The process that measures: ``python -m tests.benchmarks.run FOLDER RESULT [--quick] [--only NAME]``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from prefect.flow_engine import BaseFlowRunEngine

from tests.benchmarks import cloud, expops_run, growth, large, metrics, small, startup
from tests.benchmarks.bench import Bench
from tests.benchmarks.harness import Measure, dump
from tests.benchmarks.machine import machine

MEASURES: dict[str, Callable[[Bench], Iterator[Measure]]] = {
    "small": small.measure,
    "flow": small.measure_flow,
    "mapped": small.measure_mapped,
    "fast": small.measure_fast,
    "metrics": metrics.measure,
    "hash": large.measure_hash,
    "array": large.measure_array,
    "frame": large.measure_frame,
    "startup": startup.measure,
    "growth": growth.measure,
    "gcs": cloud.measure,
    "expops-run": expops_run.measure,
}


def main() -> None:
    """Measure and write the report."""
    # Each flow run waits up to a second for the thread that sends Prefect's heartbeats, and nothing else would be seen.
    BaseFlowRunEngine.heartbeat_seconds = None  # type: ignore[assignment]
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=MEASURES)
    arguments = parser.parse_args()
    bench = Bench(arguments.folder, arguments.quick)
    host = machine()
    bench.prefect_results.mkdir(parents=True, exist_ok=True)
    measures: list[Measure] = []
    for name, measure in MEASURES.items():
        if arguments.only is None or name in arguments.only:
            print(f"measuring: {name}", flush=True)
            measures += measure(bench)
    arguments.result.write_text(dump(measures, host))


if __name__ == "__main__":
    main()
