"""One function has one fingerprint: whichever thread asks, and whatever has been imported by then."""

from __future__ import annotations

import copyreg
import importlib
import json
import linecache
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint.packages import python, write

PACKAGE = {
    "stages/__init__.py": "",
    "stages/work.py": """
        import concurrent.futures
        import email
        import functools
        import numpy as np
        import scipy
        import sklearn
        import stages.shapes
        from stages import shapes as forms
        from stages.shapes import Box, Options, area

        WANTED = frozenset({"a", "b", "c"})
        OPTIONS = Options(3)

        def train(x):
            import matplotlib
            matplotlib.use("Agg")
            import matplotlib.pyplot as plt
            import email.mime.text
            import stages.late as late_module
            from sklearn.linear_model import LinearRegression
            from stages.late import late

            plt.close(plt.figure())
            model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                pool.submit(late, x).result()
            np.testing.assert_allclose(1, 1)
            forms.Deferred(rate=1.0)
            stages.shapes.area(2)
            Box[int](area(OPTIONS.size)).slow
            return late_module.A + float(scipy.stats.norm.mean()) + float(model.coef_[0]) + len(WANTED)
        """,
    "stages/shapes.py": """
        import abc, dataclasses, functools, logging, re, typing
        import pydantic

        T = typing.TypeVar("T")
        PATTERN = re.compile("a+")
        logger = logging.getLogger(__name__)

        @dataclasses.dataclass
        class Options:
            size: int = 3
            tags: typing.Optional[list[str]] = None

        class Deferred(pydantic.BaseModel):
            model_config = pydantic.ConfigDict(defer_build=True)
            rate: float = 0.5
            other: "Other | None" = None

        class Other(pydantic.BaseModel):
            x: int = 1

        class Sized(abc.ABC):
            @abc.abstractmethod
            def size(self): ...

        class Box(Sized, typing.Generic[T]):
            def __init__(self, value):
                self.value = value

            def size(self):
                return area(self.value)

            @functools.cached_property
            def slow(self):
                return self.size()

        @functools.lru_cache
        def area(side):
            logger.info("%s %s", side, PATTERN)
            return side * side
        """,
    "stages/late.py": """
        from stages.later import deepest

        A, B = 1, 2
        (C, D), *E = (3, 4), 5
        X = Y = 6
        NAMES = {"x", "y", "z"}
        CONFIG = {"a": 1}
        CONFIG["b"] = 2

        def late(x):
            return deepest(x) + X + CONFIG["b"]
        """,
    "stages/later.py": """
        DEPTH: int = 7

        def deepest(x):
            return x + DEPTH
        """,
}

# Every turn is a fork that has imported neither the modules of the package nor what they import late.
HUNT = """
import json, os, sys, threading
import numpy, prefect, pydantic, scipy, sklearn
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.values import fingerprint

def hunt(runs):
    import stages.work
    sys.setswitchinterval(1e-5)
    barrier = threading.Barrier(16)
    found, errors = set(), []

    def look(number):
        try:
            barrier.wait()
            for turn in range(6):
                found.add(code_fingerprint(stages.work.train).digest)
                if runs and turn == 0 and number % 4 == 0:
                    stages.work.train(number)
        except BaseException as error:
            # Python itself lets threads that import one package at once see half of it: theirs, not ours.
            if "partially initialized module" not in str(error):
                errors.append(repr(error))

    threads = [threading.Thread(target=look, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [sorted(found), errors]

for turn in range(int(sys.argv[1])):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(writing, "w") as out:
            out.write(json.dumps(hunt(runs=turn % 5 == 0)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        print("FOUND", answer.read())
    os.waitpid(child, 0)
"""


def test_sixteen_threads_agree_while_modules_are_imported(tmp_path: Path) -> None:
    write(tmp_path, PACKAGE)
    output = python("-c", HUNT, "6", seed=1, paths=(tmp_path,))
    turns = [json.loads(line.removeprefix("FOUND ")) for line in output.splitlines() if line.startswith("FOUND ")]
    assert len(turns) == 6
    assert [errors for _, errors in turns] == [[]] * 6
    assert len({digest for found, _ in turns for digest in found}) == 1


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], ModuleType]]:
    """Writes modules and imports the one called ``work``; afterwards they are gone."""
    before = set(sys.modules)

    def make(files: dict[str, str]) -> ModuleType:
        write(tmp_path, files)
        monkeypatch.syspath_prepend(str(tmp_path))
        return importlib.import_module("work")

    yield make
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


Package = Callable[[dict[str, str]], ModuleType]


def in_a_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    assert results, "the thread failed"
    return results[0]


def test_a_file_that_two_threads_read_at_once(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    work = package({"work.py": "def task(x):\n    return x + 1\n"})
    real = linecache.getlines
    others = []

    def interrupted(file: str, namespace: dict[str, Any] | None = None) -> list[str]:
        lines = real(file, namespace)
        monkeypatch.setattr(linecache, "getlines", real)
        others.append(in_a_thread(lambda: code_fingerprint(work.task)))
        return lines

    monkeypatch.setattr(linecache, "getlines", interrupted)
    mine = code_fingerprint(work.task)
    (other,) = others
    assert "return x + 1" in other.sources["work:task"]
    assert mine.sources == other.sources
    assert mine.digest == other.digest


def test_an_edited_file_that_another_thread_has_read_anew(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    # Known as it was when `first` was looked at; `second` came with an edit, and both threads find that out.
    work = package({"work.py": "def first(x):\n    return x\n"})
    code_fingerprint(work.first)
    assert work.__file__ is not None
    file = Path(work.__file__)
    file.write_text("def first(x):\n    return x\n\n\ndef second(x):\n    return x + 2\n")
    importlib.reload(work)
    expected = []
    real = linecache.checkcache

    def interrupted(name: str | None = None) -> None:
        monkeypatch.setattr(linecache, "checkcache", real)
        expected.append(in_a_thread(lambda: code_fingerprint(work.second)))
        real(name)

    monkeypatch.setattr(linecache, "checkcache", interrupted)
    mine = code_fingerprint(work.second)
    assert "return x + 2" in mine.sources["work:second"]
    assert [mine.digest] == [made.digest for made in expected]


def test_a_file_that_another_thread_drops_from_linecache(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    work = package({"work.py": "def task(x):\n    return x + 1\n"})
    real = linecache.getlines
    failures = [KeyError(work.__file__), KeyError(work.__file__)]

    def dropped(file: str, namespace: dict[str, Any] | None = None) -> list[str]:
        if failures:
            raise failures.pop()
        return real(file, namespace)

    monkeypatch.setattr(linecache, "getlines", dropped)
    assert "return x + 1" in code_fingerprint(work.task).sources["work:task"]


LATE = """
    import threading
    A, B = 1, 2
    threading.while_this_is_imported()
    RATE = 0.5
    def late(x):
        return x * RATE
    """


def test_a_module_that_another_thread_is_importing(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def task(x):\n    import late\n    return late.late(x) + late.A + late.RATE\n"
    work = package({"work.py": source, "late.py": LATE})
    found = [code_fingerprint(work.task)]

    def look() -> None:
        found.append(in_a_thread(lambda: code_fingerprint(work.task)))

    monkeypatch.setattr(threading, "while_this_is_imported", look, raising=False)
    assert work.task(2) == 2.5
    found.append(code_fingerprint(work.task))
    assert len(found) == 3
    assert [made.parts for made in found[1:]] == [found[0].parts] * 2
    assert len({made.digest for made in found}) == 1
    # And what is bound anew afterwards is still seen.
    importlib.import_module("late").RATE = 0.75  # type: ignore[attr-defined]
    assert code_fingerprint(work.task).digest != found[0].digest


def test_modules_that_load_themselves_when_they_are_used(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "work.py": """
                import email
                import scipy

                def task(x):
                    return scipy.stats.norm.mean() + len(email.mime.text.__name__)
                """
        },
    )
    output = python(
        "-c",
        "import work, sys\n"
        "from expops_prefect.fingerprint.code import code_fingerprint\n"
        "before = code_fingerprint(work.task)\n"
        "assert not {'scipy.stats', 'email.mime.text'} & set(sys.modules)\n"
        "import email.mime.text\n"
        "assert work.task(1) == 15\n"
        "assert {'scipy.stats', 'email.mime.text'} <= set(sys.modules)\n"
        "after = code_fingerprint(work.task)\n"
        "assert before.parts == after.parts, set(before.parts.items()) ^ set(after.parts.items())\n"
        "assert before.digest == after.digest\n"
        "assert any(part.startswith('dist:scipy==') for part in before.parts), before.parts\n"
        "print('done')",
        paths=(tmp_path,),
    )
    assert output.endswith("done\n")


def test_a_library_that_changes_how_exceptions_are_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("a", 1)
    before = fingerprint(error)
    monkeypatch.setitem(copyreg.dispatch_table, ValueError, lambda value: (ValueError, value.args, {"where": "here"}))
    assert pickle.loads(pickle.dumps(error)).where == "here"
    assert fingerprint(error) == before
