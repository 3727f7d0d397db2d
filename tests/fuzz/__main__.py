"""Fuzz every parser with atheris: ``python -m tests.fuzz [--seconds N]``, N seconds for each (default 60)."""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.fuzz.targets import TARGETS

ONE = """
import sys
import atheris
with atheris.instrument_imports(include=["expops_prefect"]):
    from tests.fuzz.targets import TARGETS
target = TARGETS[sys.argv.pop(1)]
atheris.Setup(sys.argv, target)
atheris.Fuzz()
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each parser")
    seconds = parser.parse_args().seconds
    have = subprocess.run([sys.executable, "-c", "import atheris"], capture_output=True, check=False).returncode == 0
    if not have:
        print("atheris is not installed, and nothing was fuzzed; install it: python -m pip install atheris")
        return 2
    failed = []
    for name in TARGETS:
        limits = [f"-max_total_time={seconds}", "-rss_limit_mb=3000", "-timeout=20", "-max_len=4096", "-verbosity=0"]
        done = subprocess.run([sys.executable, "-c", ONE, name, *limits], check=False)
        print(f"{name}: {'nothing found' if done.returncode == 0 else f'exit code {done.returncode}'} in {seconds} s")
        if done.returncode:
            failed.append(name)
    print(f"{len(TARGETS)} parsers, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
