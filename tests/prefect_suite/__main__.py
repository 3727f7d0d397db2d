"""Prefect's own tests, once plain and once on the drop-in: ``make prefect-suite PREFECT_CHECKOUT=path``.

The tests come from a checkout of Prefect's sources; the Prefect that they test is the installed one. What
differs again when it is run by itself has to stand in ``known.yaml``, with its reason.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.prefect_suite.outcomes import Difference, Known, differences, known_differences, read_outcomes

HERE: Final = Path(__file__).resolve().parent
PACKAGES: Final = Path(sys.prefix) / "prefect-suite"
"""What only Prefect's tests need, kept apart from what this package's tests run with."""
FILES: Final = ("test_task_engine.py", "test_tasks.py", "test_flow_engine.py", "test_flows.py")
PLAIN: Final = "plain"
OURS: Final = "drop-in"


def main() -> int:
    """Run both, compare, and tell; 1 if something differs that is not known."""
    parser = argparse.ArgumentParser(prog="python -m tests.prefect_suite", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the folder of Prefect's sources, with tests/ in it")
    parser.add_argument("files", nargs="*", default=FILES, help="test files below tests/, or tests of them")
    parser.add_argument("--workers", default="0", help="as pytest's -n")
    given = parser.parse_args()
    checkout: Path = given.checkout.resolve()
    if not (checkout / "tests" / "conftest.py").is_file():
        parser.error(f"{checkout} is no checkout of Prefect's sources: it has no tests/conftest.py")
    wanted = [f"tests/{name.removeprefix('tests/')}" for name in given.files]
    with tempfile.TemporaryDirectory(prefix="prefect-suite-") as folder:
        suite = Suite(checkout, Path(folder), given.workers)
        plain, ours = suite.run(PLAIN, wanted), suite.run(OURS, wanted)
        found = differences(plain, ours)
        if found:
            again = {item.test for item in found}
            # Pytest runs nothing at all if it is given a name that one of the two does not have.
            found = differences(
                suite.run(PLAIN, sorted(again & plain.keys())), suite.run(OURS, sorted(again & ours.keys()))
            )
    return tell(found, known_differences(HERE / "known.yaml"), suite.ran)


class Suite:
    """Prefect's tests in processes of their own.

    Args:
        checkout: Prefect's sources.
        folder: for all that the tests write.
        workers: as pytest's ``-n``.
    """

    def __init__(self, checkout: Path, folder: Path, workers: str) -> None:
        self._checkout = checkout
        self._folder = folder
        self._workers = workers
        self._runs = 0
        self.ran: set[str] = set()

    def run(self, mode: str, tests: list[str]) -> dict[str, str]:
        """Run tests; their outcomes by name."""
        self._runs += 1
        home = self._folder / f"{self._runs}-{mode}"
        home.mkdir()
        report = home / "report.xml"
        plugin = ["-p", "drop_in"] if mode == OURS else []
        command = [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "--no-header",
                "--tb=short",
                "--show-capture=no",
                "-p",
                "no:cacheprovider",
            ),
            *("-n", self._workers, "--timeout=300", "-o", "junit_family=xunit1", f"--junitxml={report}"),
            *(f"--basetemp={home / 'tmp'}", *plugin, *tests),
        ]
        print(f"== {mode}: {len(tests)} {'files' if self._runs < 3 else 'tests that differed'}", flush=True)
        subprocess.run(command, cwd=self._checkout, env=_environment(home), check=False)
        if not report.exists():
            raise SystemExit(f"{mode}: pytest did not get to its end")
        outcomes = read_outcomes(report)
        self.ran |= outcomes.keys()
        return outcomes


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EXPOPS_", "MLOPS_"))}
    return kept | {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": os.pathsep.join((str(PACKAGES), str(HERE))),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def tell(found: list[Difference], known: list[Known], ran: set[str]) -> int:
    """Print what differs and why; 1 if something of it is not known."""
    unknown = 0
    for item in found:
        reason = next((entry.reason for entry in known if entry.covers(item.test)), None)
        unknown += reason is None
        print(f"{item.test}\n  plain: {item.plain}, drop-in: {item.ours}\n  {reason or 'NOT KNOWN'}")
    for entry in known:
        if any(map(entry.covers, ran)) and not any(entry.covers(item.test) for item in found):
            print(f"{entry.test}: no longer differs; remove it from known.yaml")
    print(f"{len(ran)} tests, {len(found)} differ, {unknown} of them are not known")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
