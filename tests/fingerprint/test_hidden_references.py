"""Ways in which code comes to depend on other code without naming it plainly: an edit there is seen, too.

Each folder below ``hidden_references`` that has a ``case.yaml`` is a project with a function ``entry`` in ``main.py``.
The file names the case, what the edit replaces by what in which file, and what ``entry(1)`` returns before and after.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.xdist_group("hidden references")

FOLDER = Path(__file__).with_name("hidden_references")


@dataclass(frozen=True)
class Case:
    """A project and an edit that counts.

    Attributes:
        folder: the project.
        case: how the code depends on what is edited.
        file: what is edited.
        old: what stands in it once.
        new: what comes in its place.
        returns: what ``entry(1)`` returns before and after; nothing where that needs a server.
    """

    folder: Path
    case: str
    file: str
    old: str
    new: str
    returns: tuple[str, str] = ("", "")

    def write(self, root: Path, *, edited: bool) -> Path:
        """Copy the project, as it is or edited; the copy."""
        shutil.copytree(self.folder, root, ignore=shutil.ignore_patterns("case.yaml", "__pycache__"))
        if edited:
            text = (root / self.file).read_text()
            assert text.count(self.old) == 1, self.case
            (root / self.file).write_text(text.replace(self.old, self.new))
        return root


CASES = [Case(file.parent, **yaml.safe_load(file.read_text())) for file in sorted(FOLDER.rglob("case.yaml"))]

# Each project in a process of its own, forked from one that has imported what is large.
RUN = """
import importlib
import json
import os
import sys

import numpy
import prefect
import pydantic
from expops_prefect.fingerprint.code import code_fingerprint

for root in json.loads(sys.stdin.read()):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        sys.path.insert(0, root)
        os.chdir(root)
        entry = importlib.import_module("main").entry
        digest = code_fingerprint(entry).digest
        flows = "prefect" in open("main.py").read()  # these need a server
        found = [digest, "" if flows else repr(entry(1))]
        with os.fdopen(write, "w") as out:
            out.write(json.dumps(found))
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as found:
        print(found.read(), flush=True)
    os.waitpid(child, 0)
"""


def fingerprinted(roots: list[Path], seed: int) -> list[tuple[str, str]]:
    """The fingerprint of each project's entry, and what it returns."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([str(root) for root in roots]),
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(roots), done.stderr
    assert all(lines), done.stderr
    return [(digest, result) for digest, result in map(json.loads, lines)]


Found = tuple[tuple[str, str], tuple[str, str], str]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Found]:
    """By case: the fingerprint and result before and after the edit, and the former in a second process."""
    folder = tmp_path_factory.mktemp("projects")
    plain = [case.write(folder / f"{number}", edited=False) for number, case in enumerate(CASES)]
    edited = [case.write(folder / f"{number}-edited", edited=True) for number, case in enumerate(CASES)]
    first, second = fingerprinted([*plain, *edited], 1), fingerprinted(plain, 2)
    rows = zip(CASES, first[: len(CASES)], first[len(CASES) :], second, strict=True)
    return {case.case: (before, after, again) for case, before, after, (again, _) in rows}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.case)
def test_an_edit_that_changes_the_result_changes_the_fingerprint(found: dict[str, Found], case: Case) -> None:
    (digest, result), (edited, edited_result), again = found[case.case]
    assert (result, edited_result) == tuple(case.returns)
    assert result != edited_result or not result, "the edit is one that counts"
    assert digest != edited
    assert digest == again


def test_every_project_is_a_case() -> None:
    assert {main.parent for main in FOLDER.rglob("main.py")} == {case.folder for case in CASES}
    assert len({case.case for case in CASES}) == len(CASES)
