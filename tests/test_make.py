"""``make``: the documented targets, and what is said where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.server import require_program

ROOT = Path(__file__).resolve().parents[1]


def make(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    program = require_program("make", "apt-get install make")
    # The suite is itself run by make, which hands its own options down to every make below it.
    handed_down = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    usual = {name: value for name, value in os.environ.items() if name not in handed_down}
    return subprocess.run(
        [program, *arguments], cwd=cwd, capture_output=True, text=True, env={**usual, **env}, check=False
    )


def test_the_suite_is_run_after_lint_and_after_the_look_for_tools() -> None:
    planned = make("--dry-run", "--always-make", "test").stdout
    order = ["-m venv", "pip install", "tests.support.tools", "npm install", "ruff check .", "ruff format --check ."]
    order += ["mypy", "pytest"]
    places = [planned.find(part) for part in order]
    assert -1 not in places, dict(zip(order, places, strict=True))
    assert places == sorted(places)
    assert "-m flows.demo" in make("--dry-run", "demo").stdout
    assert "-m 'unit and not nightly and not values'" in make("--dry-run", "test-unit").stdout
    assert "MAKE_PICTURES=1" in make("--dry-run", "pictures").stdout
    assert "-m tests.benchmarks" in make("--dry-run", "bench").stdout
    assert "-m tests.benchmarks --report docs/benchmarks.md" in make("--dry-run", "bench-report").stdout
    assert "zensical build --strict" in make("--dry-run", "docs").stdout
    assert "zensical serve" in make("--dry-run", "docs-serve").stdout
    assert "-m tests.fuzz" in make("--dry-run", "fuzz").stdout
    assert "-m tests.dist" in make("--dry-run", "dist").stdout
    assert "coverage run -m pytest" in make("--dry-run", "coverage").stdout
    assert "-m tests.matrix --quick" in make("--dry-run", "matrix", "CELLS=--quick").stdout


def test_help_tells_of_every_target() -> None:
    lines = make("help").stdout.splitlines()
    told = {name for line in lines if line.startswith("make ") for name in line.removeprefix("make ").split(", ")}
    (phony,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:")]
    assert told == set(phony.split()[1:])
    assert all(line.startswith(("make ", "    ")) for line in lines)


def other_python(folder: Path, body: str) -> str:
    program = folder / "python-of-another-kind"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('case "$1" in -c) exit 1;; esac', "Python 3.10 to 3.13 is needed; name one: make demo PYTHON="),
        ('case "$1" in -m) mkdir -p .venv/bin; touch .venv/bin/python; exit 1;; esac', "apt-get install python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_named(tmp_path: Path, body: str, says: str) -> None:
    for name in ("Makefile", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "constraints.txt").touch()
    done = make("demo", f"PYTHON={other_python(tmp_path, body)}", cwd=tmp_path)
    assert done.returncode != 0
    assert says in done.stdout
    assert not (tmp_path / ".venv").exists(), "the next try starts afresh"


def test_the_pythons_that_are_allowed_are_the_packages() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert 'requires-python = ">=3.10,<3.14"' in (ROOT / "pyproject.toml").read_text()
    assert "(3, 10) <= sys.version_info < (3, 14)" in makefile


def test_missing_programs_are_named_with_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.tools"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(".")[0].split(",")[0] for line in lines] == [
        "missing: git",
        "missing: Java 11 or newer",
        "missing: the Firestore emulator",
        "missing: Redis",
        "missing: Node",
        "missing: npm",
        "missing: Chromium",
    ]
    assert all("To install it: " in line for line in lines)


def test_nothing_is_said_where_nothing_is_missing() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.tools"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("version", "good"), [("1.8.0_392", False), ("11.0.2", True), ("17", True), ("9", False)])
def test_versions_of_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, good: bool) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert tools.java_found() == good


@pytest.mark.parametrize(("version", "good"), [("v16.20.2", False), ("v18.20.4", True), ("v20.1.0", True), ("", False)])
def test_versions_of_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, good: bool) -> None:
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert tools.node_found() == good


def test_what_may_be_installed_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("apt-get", "an-installer"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\ntouch {tmp_path}/$3\n')
        (tmp_path / name).chmod(0o755)
    calls = tmp_path / "calls"

    def tool(made: str, *command: str) -> tools.Tool:
        return tools.Tool("it", (tmp_path / made).exists, "", "its-package", command)

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not tools.install(tool("never"))
    assert not calls.exists(), "a user's machine is left alone"
    assert tools.install(tool("wanted", "an-installer", "get", "it", "wanted"))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert tools.install(tool("--no-install-recommends"))
    assert calls.read_text().splitlines() == [
        "an-installer get it wanted",
        "apt-get install --yes --no-install-recommends its-package",
    ]
