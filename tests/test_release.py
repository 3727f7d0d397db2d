"""What decides about a release: the look into distributions (``make dist``) and the table of ``make matrix``."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import dist, matrix

FILES = {"expops_prefect/__init__.py", "expops_prefect/py.typed"}


def wheel(folder: Path, *names: str) -> Path:
    path = folder / "expops_prefect-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_wheel_has_the_package_its_metadata_and_nothing_else(tmp_path: Path) -> None:
    whole = [*FILES, *(f"expops_prefect-1.0.dist-info/{name}" for name in dist.METADATA)]
    assert not list(dist.in_wheel(wheel(tmp_path, *whole), FILES))
    whole.remove("expops_prefect/py.typed")
    wrong = list(dist.in_wheel(wheel(tmp_path, *whole, "tests/test_it.py", "expops_prefect/x.pyc"), FILES))
    name = "expops_prefect-1.0-py3-none-any.whl"
    assert wrong == [
        f"{name} lacks expops_prefect/py.typed",
        f"{name} has expops_prefect/x.pyc, which does not belong",
        f"{name} has tests/test_it.py, which does not belong",
    ]


def test_a_source_distribution_has_what_builds_the_package_and_nothing_else(tmp_path: Path) -> None:
    path, file = tmp_path / "expops_prefect-1.0.tar.gz", tmp_path / "file"
    file.touch()
    with tarfile.open(path, "w:gz") as archive:
        for name in (FILES | dist.BESIDE | {"PKG-INFO", "Makefile"}) - {"LICENSE"}:
            archive.add(file, f"expops_prefect-1.0/{name}")
    assert list(dist.in_source(path, FILES)) == [
        "expops_prefect-1.0.tar.gz lacks expops_prefect-1.0/LICENSE",
        "expops_prefect-1.0.tar.gz has expops_prefect-1.0/Makefile, which does not belong",
    ]


def test_every_python_has_a_cell_for_each_set_of_libraries() -> None:
    found = {(cell.python, cell.libraries) for cell in matrix.cells()}
    assert {python for python, _ in found} == {"3.10", "3.11", "3.12", "3.13"}
    assert {libraries for _, libraries in found} == {*matrix.PREFECTS, "lowest", "newest"}
    assert matrix.CONSTRAINTS.keys() <= {cell.name for cell in matrix.cells()}
    assert all(Path(matrix.ROOT, path).exists() for tests in matrix.tests_of() for path in tests)


def test_a_cell_that_fails_hides_no_other_and_fails_the_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes: dict[str, matrix.Outcome] = {"3.10": "excluded", "3.11": "FAILED", "3.12": "passed", "3.13": "as before"}
    monkeypatch.setattr(matrix, "LOGS", tmp_path / "matrix")
    monkeypatch.setattr(matrix.Runner, "run", lambda _, cell: matrix.Result(cell, outcomes[cell.python], "so", 1.0))
    assert matrix.main(["--only", "lowest"]) == 1
    table = capsys.readouterr().out.split("\n\n")[1].splitlines()
    assert [line.split()[:2] for line in table[:3]] == [
        ["py3.10-lowest", "excluded"],
        ["py3.11-lowest", "FAILED"],
        ["py3.12-lowest", "passed"],
    ]
    assert matrix.main(["--only", "py3.12", "py3.13"]) == 0


def test_only_a_python_that_prefect_refuses_excludes_a_cell() -> None:
    refused = (
        "error: No solution found when resolving dependencies cause: Because the current Python version (3.10.13) does "
        "not satisfy Python>=3.11,<3.16 and prefect==3.9.1 depends on Python>=3.11,<3.16, we can conclude that "
        "prefect==3.9.1 cannot be used."
    )
    assert matrix.needs_another_python(refused)
    assert not matrix.needs_another_python("error: Failed to fetch prefect==3.9.1")
    assert not matrix.needs_another_python(refused.replace("prefect==", "numpy=="))
