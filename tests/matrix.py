"""``make matrix``: tests on each Python and each Prefect that the package allows, on its lowest and newest libraries.

``python -m tests.matrix [--only TEXT ...] [--quick]`` makes an environment for each cell below ``.venv/matrix``, runs
the tests in it, one cell after the other, and ends with a table. It exits with 1 if a cell failed. What a cell printed
is kept in ``test-output/matrix``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from packaging.specifiers import SpecifierSet

tomllib = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

ROOT: Final = Path(__file__).resolve().parents[1]
ENVIRONMENTS: Final = Path(sys.prefix) / "matrix"
LOGS: Final = ROOT / "test-output" / "matrix"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PREFECTS: Final = ("3.8.0", "3.8.8", "3.9.1")
"""The first release that is allowed, the last of its line, and the one that the default suite runs on."""

CONTRACT: Final = ("tests/prefect_contract",)
"""What the package takes from Prefect."""

FLOWS: Final = (
    *(
        f"tests/e2e/test_{name}.py"
        for name in (
            "execution_counts",
            "when_not_to_cache",
            "existing_flows",
            "cached_subflows",
            "transactions",
            "instrumented_flows",
            "task_runners",
        )
    ),
    "tests/transparency",
)
"""Flows from end to end, where Prefect's engine and the package's meet."""

LIBRARIES: Final = ("tests/serialization", "tests/fingerprint", "tests/stores", "tests/config")
"""Where the libraries do their work: unit tests, for the cells of the lowest versions."""

LEFT_OUT: Final = (
    # These need ExpOps, which no cell has.
    "tests/serialization/test_expops.py",
    "tests/stores/kv/test_firestore_expops.py",
    "tests/config/test_version_hash.py",
    # These tell values apart that pandas before 3 or NumPy before 2 does not have.
    "tests/fingerprint/test_golden.py",
    "tests/fingerprint/test_libraries.py",
)

CONSTRAINTS: Final[dict[str, tuple[str, ...]]] = {
    # With an earlier one, Prefect 3.8 cannot be imported on Python 3.10.
    "py3.10-lowest": ("pydantic>=2.11.7",),
}
"""What a cell's environment needs besides, by its name: versions that exclude each other and do not say so."""


@dataclass(frozen=True)
class Cell:
    """One environment.

    Args:
        python: the minor version, as ``3.11``.
        libraries: a version of Prefect with the newest libraries that it allows, or the ``lowest`` versions that
            ``pyproject.toml`` allows, or the ``newest`` of everything.
    """

    python: str
    libraries: str

    @property
    def name(self) -> str:
        """What the table calls it."""
        kind = self.libraries if self.libraries in ("lowest", "newest") else f"prefect{self.libraries}"
        return f"py{self.python}-{kind}"


Outcome = Literal["passed", "FAILED", "excluded", "as before"]


@dataclass(frozen=True)
class Result:
    """What came of a cell, and what the table says about it."""

    cell: Cell
    outcome: Outcome
    summary: str
    seconds: float = 0.0

    def line(self) -> str:
        """Its line of the table."""
        return f"{self.cell.name:22} {self.outcome:10} {self.seconds:5.0f} s  {self.summary}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cells and print the table; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="cells whose name contains one of these texts")
    parser.add_argument(
        "--quick", action="store_true", help="only what is taken from Prefect, no flows from end to end"
    )
    parser.add_argument("--workers", default="2", help="as pytest's -n")
    given = parser.parse_args(arguments)
    tests = CONTRACT if given.quick else (*CONTRACT, *FLOWS)
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    runner = Runner(tests, given.workers)
    results = []
    for cell in cells():
        if any(text in cell.name for text in given.only):
            results.append(runner.run(cell))
            print(results[-1].line(), flush=True)
    print("", *(result.line() for result in results), sep="\n")
    if not results:
        parser.error(f"no cell is named so; there are {', '.join(cell.name for cell in cells())}")
    return int(any(result.outcome == "FAILED" for result in results))


def tests_of() -> Iterator[tuple[str, ...]]:
    """All paths that cells run."""
    yield from (CONTRACT, FLOWS, LIBRARIES, LEFT_OUT)


def supported_pythons() -> list[str]:
    """The minor versions of Python that the package allows."""
    allowed = SpecifierSet(PROJECT["requires-python"])
    return [f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}.0")]


def cells() -> Iterator[Cell]:
    """All of them."""
    for python in supported_pythons():
        for libraries in (*PREFECTS, "newest", "lowest"):
            yield Cell(python, libraries)


def interpreter(python: str) -> Path | None:
    """Where a Python of this minor version is: on the path, or among those of pyenv or uv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [Path(program) for program in (sys.executable, shutil.which(f"python{python}")) if program]
    found += sorted(pyenv.glob(f"{python}.*/bin/python"), reverse=True)
    listed = uv("python", "find", "--system", "--no-python-downloads", python, capture=True)
    found += [Path(line) for line in listed.stdout.splitlines()]
    asks = "import sys; print('%d.%d' % sys.version_info[:2])"
    for program in found:
        done = subprocess.run([program, "-c", asks], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == python:
            return program
    return None


def uv(*arguments: str, capture: bool = False, log: Any = None) -> subprocess.CompletedProcess[str]:
    """Run uv, which resolves to the lowest versions, which pip does not."""
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    command = [sys.executable, "-m", "uv", "--no-config", *arguments]
    streams: dict[str, Any] = {"capture_output": True} if capture else {"stdout": log, "stderr": log}
    return subprocess.run(command, cwd=ROOT, env=environ, text=True, check=False, **streams)


def requirements() -> list[str]:
    """What the cells install: the package, and what the tests need of the extra ``dev``.

    ExpOps is left out: it pins old versions of libraries exactly, and these tests do not use it.
    """
    development = PROJECT["optional-dependencies"]["dev"]
    tools = ("fake-gcs-server", "polars", "psutil", "pytest")
    return ["-e .[demo,dask,testing]", *(line for line in development if line.startswith(tools))]


class Runner:
    """Makes environments and runs tests in them.

    Args:
        tests: paths for pytest.
        workers: as pytest's ``-n``.
    """

    def __init__(self, tests: Sequence[str], workers: str) -> None:
        self._tests = tests
        self._workers = workers
        self._before: dict[str, Result] = {}

    def run(self, cell: Cell) -> Result:
        """Run one cell; what goes wrong is its result."""
        began = time.monotonic()
        program = interpreter(cell.python)
        if program is None:
            return Result(cell, "excluded", f"this machine has no Python {cell.python}")
        pinned = LOGS / f"{cell.name}.txt"
        refusal = self._resolve(cell, program, pinned)
        if refusal is not None:
            outcome: Outcome = "excluded" if needs_another_python(refusal) else "FAILED"
            return Result(cell, outcome, refusal, time.monotonic() - began)
        same = f"{program}\n{pinned.read_text()}"
        if same in self._before:
            earlier = self._before[same]
            outcome = "FAILED" if earlier.outcome == "FAILED" else "as before"
            return Result(cell, outcome, f"the same versions as {earlier.cell.name}")
        outcome, summary = self._test(cell, program, pinned)
        result = self._before[same] = Result(cell, outcome, summary, time.monotonic() - began)
        return result

    def _resolve(self, cell: Cell, program: Path, pinned: Path) -> str | None:
        """Write the versions of a cell, or return why there are none."""
        wanted = LOGS / f"{cell.name}.in"
        prefect = [] if cell.libraries in ("lowest", "newest") else [f"prefect=={cell.libraries}"]
        wanted.write_text("\n".join([*requirements(), *prefect, *CONSTRAINTS.get(cell.name, ()), ""]))
        resolution = "lowest-direct" if cell.libraries == "lowest" else "highest"
        options = ["--quiet", "--no-header", "--no-annotate", "--resolution", resolution, "--python", str(program)]
        # An old release without a wheel would be built from its sources, which needs compilers and time.
        options += ["--only-binary", ":all:", "--no-binary", "expops-prefect", "--output-file", str(pinned)]
        done = uv("pip", "compile", *options, str(wanted), capture=True)
        return None if done.returncode == 0 else " ".join(done.stderr.split())

    def _test(self, cell: Cell, program: Path, pinned: Path) -> tuple[Outcome, str]:
        """Install the versions and run the tests; returns the outcome and what pytest counted."""
        folder = ENVIRONMENTS / cell.name
        path = LOGS / f"{cell.name}.log"
        with path.open("w") as log:
            made = uv("venv", "--quiet", "--clear", "--python", str(program), str(folder), log=log)
            python = folder / "bin" / "python"
            if made.returncode == 0:
                made = uv("pip", "sync", "--quiet", "--compile-bytecode", "--python", str(python), str(pinned), log=log)
            if made.returncode != 0:
                return "FAILED", f"could not be installed, see {path.relative_to(ROOT)}"
            # The default suite takes warnings for errors, on the versions that are pinned for it.
            pytest = [str(python), "-m", "pytest", "-q", "-n", self._workers, "-W", "default"]
            codes = [
                subprocess.run([*pytest, *some], cwd=ROOT, stdout=log, stderr=log, check=False).returncode
                for some in self._runs_of(cell)
            ]
        shutil.rmtree(folder)
        (version,) = re.findall(r"^prefect==(\S+)", pinned.read_text(), re.MULTILINE)
        counts = re.findall(r"^=* ?(\d+ (?:passed|failed|error).*?) in [\d.]+s", path.read_text(), re.MULTILINE)
        summary = f"Prefect {version}: {', then '.join(counts)}"
        if not any(codes):
            return "passed", summary
        return "FAILED", f"{summary}; see {path.relative_to(ROOT)}"

    def _runs_of(self, cell: Cell) -> Iterator[Sequence[str]]:
        yield self._tests
        if cell.libraries == "lowest" and self._tests != CONTRACT:
            yield ("-m", "unit", *LIBRARIES, *(f"--ignore={path}" for path in LEFT_OUT))


def needs_another_python(refusal: str) -> bool:
    """Whether uv found no versions because Prefect does not take this Python."""
    return bool(re.search(r"current Python version .* does not satisfy Python.*prefect==\S+ cannot be used", refusal))


if __name__ == "__main__":
    sys.exit(main())
