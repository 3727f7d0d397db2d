"""``make dist``: build the wheel and the source distribution, look into both, and use the wheel outside the tree.

``python -m tests.dist`` leaves them in ``dist/`` and exits with 1 if something is missing in one of them, if something
does not belong, or if an installed wheel does not cache a flow's second run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
DIST: Final = ROOT / "dist"
PACKAGE: Final = "expops_prefect"
BESIDE: Final = frozenset({"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", ".gitignore"})
"""What a source distribution has beside the package; hatchling adds ``.gitignore``, by which it builds."""
METADATA: Final = frozenset({"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"})

FLOW: Final = """
import logging

from expops_prefect import flow, log_metric, task

executed = logging.getLogger("executed")
executed.propagate = False
executed.setLevel(logging.INFO)
executed.addHandler(logging.FileHandler("executed.log"))


@task
def load(rows):
    executed.info("load")
    return list(range(rows))


@task
def total(rows):
    executed.info("total")
    log_metric("rows", len(rows))
    return sum(rows)


@flow(name="shop")
def main():
    return total(load(10))


if __name__ == "__main__":
    assert main() == 45
"""


def main() -> int:
    """Build, look, install and run; 1 if something is wrong."""
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "uv", "--no-config", "build", "--quiet", "--out-dir", str(DIST), cwd=ROOT)
    (wheel,) = DIST.glob("*.whl")
    (source,) = DIST.glob("*.tar.gz")
    listed = subprocess.run(["git", "ls-files", PACKAGE], cwd=ROOT, capture_output=True, text=True, check=True)
    files = set(listed.stdout.splitlines())
    wrong = [*in_wheel(wheel, files), *in_source(source, files)]
    with tempfile.TemporaryDirectory(prefix="expops-prefect-dist-") as folder:
        wrong += outside_the_tree(wheel, Path(folder))
    print(*(wrong or [f"{wheel.name} and {source.name} are complete, and an installed wheel works"]), sep="\n")
    return int(bool(wrong))


def in_wheel(wheel: Path, files: set[str]) -> Iterator[str]:
    """What is wrong with a wheel's contents, by the package's files as git knows them."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        found = set(archive.namelist())
    yield from differences(wheel.name, found, files | {f"{name}-{version}.dist-info/{item}" for item in METADATA})


def in_source(source: Path, files: set[str]) -> Iterator[str]:
    """What is wrong with the contents of a source distribution."""
    top = source.name.removesuffix(".tar.gz")
    with tarfile.open(source) as archive:
        found = {member.name for member in archive.getmembers() if member.isfile()}
    yield from differences(source.name, found, {f"{top}/{item}" for item in files | BESIDE | {"PKG-INFO"}})


def differences(name: str, found: set[str], wanted: set[str]) -> Iterator[str]:
    """One line for each file that is missing or does not belong."""
    yield from (f"{name} lacks {item}" for item in sorted(wanted - found))
    yield from (f"{name} has {item}, which does not belong" for item in sorted(found - wanted))


def outside_the_tree(wheel: Path, folder: Path) -> Iterator[str]:
    """Install a wheel where nothing else is, run a flow in two processes and the command line; says what is wrong."""
    environment, project = folder / "environment", folder / "shop"
    project.mkdir()
    (project / "main.py").write_text(FLOW)
    python = str(environment / "bin" / "python")
    uv = (sys.executable, "-m", "uv", "--no-config")
    run(*uv, "venv", "--quiet", "--python", sys.executable, str(environment))
    run(*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, str(wheel))
    place = run(python, "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)", cwd=project)
    if not place.startswith(str(environment)):
        yield f"the package is imported from {place}, not from the environment"
    for turn in ("first", "second"):
        run(python, "main.py", cwd=project)
        executed = (project / "executed.log").read_text().split()
        if executed != ["load", "total"]:
            yield f"after the {turn} run, executed were {executed}, in place of each task once"
    shown = run(str(environment / "bin" / "expops-prefect"), "runs", "list", cwd=project)
    if shown.count("completed") != 2:
        yield f"'expops-prefect runs list' does not show two runs:\n{shown}"


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program to its end, with nothing of this environment's Python; returns what it printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    if cwd is not None and cwd != ROOT:
        environ |= {
            "PREFECT_HOME": str(cwd.parent / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            # Each run starts a server of its own, on machines that are busy.
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "300",
        }
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
