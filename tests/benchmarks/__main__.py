"""Compare with peers: ``python -m tests.benchmarks [--quick] [--only NAME] [--json FILE] [--report FILE]``.

Starts a Prefect server of its own and measures in one process beside it, in temporary folders
(below ``TMPDIR``; a full run takes about 4 GB there). Ends with 1 if a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.harness import Measure, reported, table
from tests.benchmarks.run import MEASURES
from tests.support.server import clean_environment, start_prefect_server

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Measure, print the table, and say whether all goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small values, few rounds; goals are not judged")
    parser.add_argument("--only", action="append", metavar="NAME", choices=MEASURES, help=", ".join(MEASURES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, samples and ratios there")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table there, between its two markers")
    arguments = parser.parse_args()
    options = ["--quick"] * arguments.quick + [f"--only={name}" for name in arguments.only or ()]
    with tempfile.TemporaryDirectory(prefix="expops-prefect-bench-") as name:
        folder = Path(name)
        text = _measured(folder, options)
    report = json.loads(text)
    measures = [Measure.load(value) for value in report["measures"]]
    print("\n" + "\n".join(f"{key:>15}  {value}" for key, value in report["machine"].items()) + "\n")
    print(table(measures))
    if arguments.json:
        arguments.json.write_text(text)
    if arguments.report:
        arguments.report.write_text(reported(arguments.report.read_text(), measures, report["machine"]))
    return 1 if not arguments.quick and any(measure.ok is False for measure in measures) else 0


def _measured(folder: Path, options: list[str]) -> str:
    os.environ.pop("PREFECT_API_URL", None)
    server, url = start_prefect_server(folder)
    try:
        env = {
            **clean_environment(folder / "prefect-home"),
            "PREFECT_API_URL": url,
            "PREFECT_LOCAL_STORAGE_PATH": str(folder / "prefect-results"),
            "PYTHONPATH": str(ROOT),
        }
        result, log = folder / "report.json", folder / "flows.log"
        command = [sys.executable, "-m", "tests.benchmarks.run", str(folder), str(result), *options]
        with log.open("wb") as output:
            # Prefect logs each task run; that is part of what is measured, and none of it belongs here.
            done = subprocess.run(command, env=env, cwd=ROOT, stderr=output, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SystemExit(f"the measuring process ended with {done.returncode}:\n{log.read_text()[-5000:]}")
        return result.read_text()
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
