"""Whether a file is there, and how old it is, is part of what a body depends on."""

from __future__ import annotations

import glob
import inspect
import mimetypes
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from expops_prefect.effects.dependencies import ChangedMeanwhileError, Named, changed, dump, load, taken
from expops_prefect.effects.watch import watching
from expops_prefect.models.effects import Seen


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("1")
    Path("data").mkdir()
    Path("data/one").write_text("1")
    Path("current").symlink_to("data")


def seen_by(body: Callable[[], Any]) -> tuple[Seen, list[tuple[str, bool, bool, bool]]]:
    """What was seen, and of each read: its name, whether it was listed, was there, and its times were asked for."""
    with watching() as watch, suppress(OSError):
        body()
    seen = watch.seen()
    return seen, [(os.path.relpath(item.path), item.listing, item.stamp is not None, item.dated) for item in seen.reads]


HERE = (".", False, False, False)
"""What making a relative path absolute depends on."""
QUESTIONS: list[tuple[Callable[[], Any], list[tuple[str, bool, bool, bool]]]] = [
    (lambda: os.path.exists("in.csv"), [("in.csv", False, True, False)]),
    (lambda: os.path.exists("none"), [("none", False, False, False)]),
    (lambda: os.path.lexists("none"), [("none", False, False, False)]),
    (lambda: os.path.isfile("in.csv"), [("in.csv", False, True, False)]),
    (lambda: os.path.isdir("data"), [("data", False, True, False)]),
    (lambda: os.path.getsize("in.csv"), [("in.csv", False, True, False)]),
    (lambda: os.access("in.csv", os.R_OK), [("in.csv", False, True, False)]),
    (lambda: Path("in.csv").exists(), [("in.csv", False, True, False)]),
    (lambda: Path("in.csv").is_file(), [("in.csv", False, True, False)]),
    (lambda: Path("none").is_dir(), [("none", False, False, False)]),
    (lambda: os.path.getmtime("in.csv"), [("in.csv", False, True, True)]),
    (lambda: os.stat("in.csv").st_mtime, [("in.csv", False, True, True)]),
    (lambda: Path("in.csv").stat().st_mtime, [("in.csv", False, True, True)]),
    (lambda: (os.path.exists("in.csv"), os.path.getmtime("in.csv")), [("in.csv", False, True, True)]),
    (lambda: (os.path.getmtime("in.csv"), Path("in.csv").read_text()), [("in.csv", False, True, True)]),
    (lambda: os.stat("none"), [("none", False, False, True)]),
    (lambda: os.makedirs("data", exist_ok=True), [("data", False, True, False)]),
    (lambda: list(os.walk("data")), [("data", True, True, False)]),
    (lambda: glob.glob("data/*"), [("data", True, True, False)]),
    (
        lambda: os.path.realpath("current/one"),
        [("current", False, True, False), ("data", False, True, False), ("data/one", False, True, False), HERE],
    ),
    (lambda: Path("current").resolve(), [("current", False, True, False), ("data", False, True, False), HERE]),
    (lambda: Path("in.csv").resolve(), [("in.csv", False, True, False), HERE]),
    (lambda: Path("none").resolve(), [("none", False, False, False), HERE]),
    (lambda: os.path.abspath("none"), [HERE]),
    (lambda: os.path.abspath(b"none"), [HERE]),
    (lambda: Path("none").absolute(), [HERE]),
    (lambda: Path.cwd().resolve(), []),
    (lambda: os.readlink("current"), [("current", False, True, False)]),
    (lambda: Path("current").readlink(), [("current", False, True, False)]),
    (lambda: os.readlink("none"), [("none", False, False, False)]),
    (lambda: os.path.islink("current"), [("current", False, True, False)]),
    (lambda: Path("in.csv").is_symlink(), [("in.csv", False, True, False)]),
    (lambda: os.path.exists(os.__file__), []),
]


def test_questions_are_reads() -> None:
    for number, (body, expected) in enumerate(QUESTIONS):
        seen, found = seen_by(body)
        assert found == expected, number
        assert not seen.effects, number


def test_a_question_about_the_machine_is_an_effect() -> None:
    assert seen_by(lambda: os.path.exists(os.devnull)) == (Seen(), [])
    seen, _ = seen_by(lambda: os.path.exists("/proc/self/status"))
    assert [(effect.kind, effect.call) for effect in seen.effects] == [("environment", "os.path.exists")]


def test_what_was_asked_decides_what_is_compared(tmp_path: Path) -> None:
    bodies: dict[str, Callable[[], Any]] = {
        "content": lambda: os.path.exists("in.csv"),
        "times": lambda: os.path.getmtime("in.csv"),
        "a folder": lambda: os.path.isdir("data"),
        "names": lambda: os.listdir("data"),
    }
    found = {name: taken(Named((), ()), seen_by(body)[0].reads, tmp_path) for name, body in bodies.items()}
    os.utime("in.csv", ns=(1, 1))
    Path("data/two").write_text("2")
    assert {name: changed(load(dump(each)), tmp_path) for name, each in found.items()} == {
        "content": None,
        "times": "in.csv changed",
        "a folder": None,
        "names": "the folder data changed",
    }
    Path("data/two").unlink()
    Path("data/one").unlink()
    Path("data").rmdir()
    assert changed(found["a folder"], tmp_path) == "data no longer exists"


def test_of_a_link_it_is_compared_where_it_leads(tmp_path: Path) -> None:
    questions: dict[str, Callable[[str], Any]] = {
        "os": os.readlink,
        "pathlib": lambda path: Path(path).readlink(),
        "islink": os.path.islink,
        "is_symlink": lambda path: Path(path).is_symlink(),
    }
    for name, ask in questions.items():
        for path, to_none in (("current", "no longer exists"), ("in.csv", "no longer exists"), ("none", None)):
            seen, _ = seen_by(lambda ask=ask, path=path: ask(path))  # type: ignore[misc]
            assert not seen.effects
            assert [read.link for read in seen.reads] == [True], (name, path)
            (found,) = taken(Named((), ()), seen.reads, tmp_path)
            assert (found.kind, found.name) == ("link", path)
            held = load(dump([found]))
            assert changed(held, tmp_path) is None
            (tmp_path / "elsewhere" / "data").mkdir(parents=True)
            os.symlink("data/one" if path == "current" else "data", tmp_path / "elsewhere" / path)
            as_now = "exists now" if path == "none" else "changed"
            assert changed(held, tmp_path / "elsewhere") == f"the link {path} {as_now}"
            shutil.rmtree("elsewhere")
            Path("elsewhere").mkdir()
            assert changed(held, tmp_path / "elsewhere") == (None if to_none is None else f"the link {path} {to_none}")
            Path("elsewhere").rmdir()
    seen, _ = seen_by(lambda: os.readlink("current"))
    Path("current").unlink()
    Path("current").symlink_to("in.csv")
    with pytest.raises(ChangedMeanwhileError, match="current was changed while it ran"):
        taken(Named((), ()), seen.reads, tmp_path)


def test_the_functions_of_os_stay_what_they_are() -> None:
    with watching():
        pass
    for function in (os.stat, os.lstat, os.access, os.readlink):
        assert pickle.loads(pickle.dumps(function)) is function
        assert inspect.signature(function)
    assert os.stat in os.supports_dir_fd
    assert os.stat in os.supports_fd
    assert os.access in os.supports_effective_ids
    assert shutil.rmtree.avoids_symlink_attacks
    with pytest.raises(TypeError, match=r"stat\(\) missing required argument 'path'"):
        os.stat()  # type: ignore[call-arg]
    with pytest.raises(FileNotFoundError, match="none"):
        os.stat("none")
    descriptor = os.open("in.csv", os.O_RDONLY)
    with watching() as watch:
        assert os.stat(descriptor).st_size == 1
    os.close(descriptor)
    assert watch.seen() == Seen()


PROGRAM = """
import sys, os, threading
if "install" in sys.argv:
    from expops_prefect.effects.watch import watching
    import pyarrow.csv
    with watching():
        pass
import functools
from concurrent.futures import ThreadPoolExecutor
from os import stat, access
from pyarrow.csv import read_csv
from expops_prefect.fingerprint.code import code_fingerprint

SAVED = [os.lstat, threading.Thread.start, ThreadPoolExecutor.submit, read_csv]
PARTIAL = functools.partial(stat, "x")

def uses():
    return os.stat("a"), os.path.exists("b"), stat, access, PARTIAL, SAVED, read_csv("c"), threading.Thread

print(code_fingerprint(uses).digest)
"""


def test_code_has_the_same_fingerprint_before_and_after(tmp_path: Path) -> None:
    Path("program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    outputs = {
        subprocess.run(
            [sys.executable, "program.py", *given], capture_output=True, check=True, text=True, env=environment
        ).stdout
        for given in ([], ["install"])
    }
    assert len(outputs) == 1, outputs


def test_types_of_files_are_read_from_the_machines_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, later = tmp_path / "own.types", tmp_path / "later.types"
    own.write_text("shop/rows rows\n")
    monkeypatch.setattr(mimetypes, "knownfiles", [str(own), str(later)])
    for ask in (lambda: mimetypes.guess_type("x.rows"), lambda: mimetypes.guess_extension("shop/rows")):
        seen, _ = seen_by(ask)
        assert not seen.effects
        assert {read.path: read.stamp is not None for read in seen.reads} == {str(own): True, str(later): False}
    found = load(dump(taken(Named((), ()), seen.reads, tmp_path)))
    assert changed(found, tmp_path) is None
    later.write_text("shop/table table\n")
    assert changed(found, tmp_path) == "later.types exists now"
