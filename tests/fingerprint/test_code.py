"""Code: where a file lies and how it is started mean nothing, and source is only believed if it is the code's."""

from __future__ import annotations

import importlib.util
import json
import linecache
import pickle
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint.packages import python, write

FLOW = """
    import dataclasses
    import json
    import logging
    import sys
    from pathlib import Path

    from support import helper

    logger = logging.getLogger(__name__)
    HERE = Path(__file__).resolve().parent
    DATA = str(HERE / "data" / "train.csv")

    @dataclasses.dataclass
    class Options:
        size: int = 3

    OPTIONS = Options(4)

    class Loader:
        def load(self, name):
            logger.info("loading %s", name)
            return name

    def task(x, loader=Loader()):
        return helper(x) + OPTIONS.size + len(loader.load(x))

    def reads():
        return open(HERE / "x").read() + open(DATA).read()
    """
SUPPORT = """
    FACTOR = 2

    def helper(x):
        return x * FACTOR
    """
SHOW = """
    from expops_prefect.fingerprint.code import code_fingerprint
    from expops_prefect.fingerprint.values import fingerprint
    here = Path(__file__).resolve().parent
    made = code_fingerprint(task)
    found = [made.digest, fingerprint(OPTIONS), fingerprint(task), code_fingerprint(reads, root=here).digest]
    print(json.dumps(found))
    """
LOAD_AS_PREFECT_DOES = """
    import sys
    from prefect.utilities.importtools import load_script_as_module
    module = load_script_as_module(sys.argv[1])
    again = load_script_as_module(sys.argv[1])
    assert again.__name__.startswith("__prefect_loader_")
    """
SPAWNED = """
    import json, multiprocessing, sys
    from pathlib import Path
    sys.path.insert(0, str(Path(__file__).parent))
    """


def _found(output: str) -> list[str]:
    return list(json.loads(output.strip().splitlines()[-1]))


def test_however_and_wherever_a_script_is_started(tmp_path: Path) -> None:
    files = {
        "script.py": textwrap.dedent(FLOW) + textwrap.dedent(SHOW),
        "support.py": SUPPORT,
        "load.py": LOAD_AS_PREFECT_DOES,
    }
    first = write(tmp_path / "first", files)
    second = write(tmp_path / "elsewhere" / "deeper", files)
    expected = _found(python(str(first / "script.py"), seed=1))
    assert _found(python(str(second / "script.py"), seed=2)) == expected
    assert _found(python("-c", "import script", paths=(first,))) == expected
    assert _found(python("-m", "script", paths=(second,))) == expected
    assert _found(python(str(first / "load.py"), str(first / "script.py"), paths=(first,))) == expected


def test_a_module_of_a_package_run_as_a_script(tmp_path: Path) -> None:
    source = textwrap.dedent(FLOW).replace("from support", "from stages.support") + textwrap.dedent(SHOW)
    root = write(tmp_path, {"stages/__init__.py": "", "stages/script.py": source, "stages/support.py": SUPPORT})
    expected = _found(python("-c", "import stages.script", paths=(root,)))
    assert _found(python("-m", "stages.script", paths=(root,))) == expected
    assert _found(python(str(root / "stages" / "script.py"), paths=(root,))) == expected


def test_spawned_workers_agree_with_their_parent(tmp_path: Path) -> None:
    source = textwrap.dedent(FLOW) + textwrap.dedent(
        """
        from expops_prefect.fingerprint.code import code_fingerprint
        from expops_prefect.fingerprint.values import fingerprint

        def digests(function):
            return [code_fingerprint(function).digest, fingerprint(OPTIONS), fingerprint(function)]

        def unpickled(data):
            import pickle
            return digests(pickle.loads(data))

        if __name__ == "__main__":
            import multiprocessing
            import cloudpickle
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                by_name = pool.apply(digests, (task,))
                by_value = pool.apply(unpickled, (cloudpickle.dumps(task),))
            print(json.dumps([digests(task), by_name, by_value]))
        """
    )
    root = write(tmp_path, {"script.py": source, "support.py": SUPPORT})
    mine, by_name, by_value = _found(python(str(root / "script.py"), paths=(root,)))
    assert mine == by_name
    assert mine == by_value


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Write a module and import it."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def loaded(name: str, text: str) -> ModuleType:
        write(tmp_path, {f"{name.replace('.', '/')}.py": text})
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield loaded
    for name in set(sys.modules) - before:
        del sys.modules[name]


def _digest(function: Any) -> str:
    return code_fingerprint(function).digest


def test_moving_code_means_nothing(load: Callable[..., ModuleType]) -> None:
    first = load("first", "X = 1\ndef task(a):\n    return helper(a)\ndef helper(a):\n    return a + X\n")
    text = "# moved\n\n\ndef helper(a):\n    return a + X\nX = 1\ndef task(a):\n    return helper(a)\n"
    second = load("second", text)
    assert _digest(first.task) == _digest(second.task)


def test_helpers_that_change_places_are_seen(load: Callable[..., ModuleType]) -> None:
    load("one", "def helper(a):\n    return a + 1\n")
    load("two", "def helper(a):\n    return a + 2\n")
    task = "def task(a):\n    return first(a) * 10 + second(a)\n"
    straight = load("straight", f"from one import helper as first\nfrom two import helper as second\n{task}")
    crossed = load("crossed", f"from two import helper as first\nfrom one import helper as second\n{task}")
    assert straight.task(0) != crossed.task(0)
    assert _digest(straight.task) != _digest(crossed.task)


def test_names_of_others_code_count(load: Callable[..., ModuleType]) -> None:
    task = "def task(a):\n    return f(a)\n"
    modules = [
        load("m1", f"from math import sin as f\n{task}"),
        load("m2", f"from math import cos as f\n{task}"),
        load("m3", f"from numpy import sin as f\n{task}"),
        load("m4", f"from numpy import cos as f\n{task}"),
        load("m5", f"import math as f\n{task}"),
        load("m6", f"import cmath as f\n{task}"),
    ]
    digests = [_digest(module.task) for module in modules]
    assert len(set(digests)) == len(digests)


def test_equal_constants_are_one_whether_or_not_they_are_one_object(load: Callable[..., ModuleType]) -> None:
    text = (
        "def make(v):\n    def f():\n        return v\n    return f\n"
        "A = make({0})\nB = make({1})\ndef task():\n    return A() + B()\n"
    )
    same = load("same", "X = [1000]\nY = 10 ** 20\n" + text.format("X", "X"))
    equal = load("equal", "X = [1000]\nZ = [1000]\n" + text.format("X", "Z"))
    other = load("other", "X = [1000]\nZ = [1001]\n" + text.format("X", "Z"))
    assert _digest(same.task) == _digest(equal.task)
    assert _digest(same.task) != _digest(other.task)


def test_an_edit_after_the_import_does_not_count_for_what_runs(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    """A long-lived process runs the old code: its results must not be stored under the new code's key."""
    text = (
        "def task(a):\n    return a + 1\n"
        "class Model:\n    def fit(self):\n        return 1\ndef uses():\n    return Model().fit()\n"
    )
    old = load("edited", text)
    (tmp_path / "edited.py").write_text(text.replace("+ 1", "+ 2").replace("return 1", "return 2") + "# longer\n")
    stale = [_digest(old.task), _digest(old.uses)]
    assert code_fingerprint(old.task).sources == {}
    del sys.modules["edited"]
    importlib.invalidate_caches()
    linecache.clearcache()
    new = importlib.import_module("edited")
    fresh = [_digest(new.task), _digest(new.uses)]
    assert new.task(0) == 2
    assert not set(stale) & set(fresh)
    (tmp_path / "edited.py").write_text(text)
    del sys.modules["edited"]
    importlib.invalidate_caches()
    again = importlib.import_module("edited")
    assert again.task(0) == 1
    assert not set(fresh) & {_digest(again.task), _digest(again.uses)}


def test_an_edit_elsewhere_in_the_file_leaves_the_source(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    old = load("shifted", "def task(a):\n    return a + 1\n")
    (tmp_path / "shifted.py").write_text("# one\n# two\n\ndef other():\n    pass\n\ndef task(a):\n    return a + 1\n")
    made = code_fingerprint(old.task)
    assert list(made.sources) == ["shifted:task"]
    assert made.digest == _digest(load("unshifted", "def task(a):\n    return a + 1\n").task)


def test_lazy_imports_before_and_after_they_ran(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "later/__init__.py": "raise_if_imported = 1\n",
            "later/part.py": "import os\nSIZE = 1\nPLACE = os.sep\ndef f():\n    return SIZE, PLACE\n"
            "def unused():\n    return 1\n",
        },
    )
    module = load("lazily", "def task():\n    from later.part import f\n    return f()\n")
    before = code_fingerprint(module.task)
    assert "later" not in sys.modules
    assert {"lazy:later.part:f", "lazy:later.part:SIZE", "lazy:later.part:PLACE"} <= set(before.parts)
    assert "lazy:later.part:unused" not in before.parts
    module.task()
    assert "later.part" in sys.modules
    assert code_fingerprint(module.task) == before


def test_what_a_lazily_imported_module_has_bound_anew(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    write(tmp_path, {"patched.py": "SIZE = 1\ndef f():\n    return SIZE\n"})
    module = load(
        "patching",
        "def task():\n    from patched import f\n    return f()\n"
        "def whole():\n    import patched\n    return patched\n",
    )
    module.task()
    before = [_digest(module.task), _digest(module.whole)]
    patched: Any = sys.modules["patched"]
    patched.SIZE = 2
    changed = [_digest(module.task), _digest(module.whole)]
    assert not set(before) & set(changed)
    patched.SIZE = 1
    assert [_digest(module.task), _digest(module.whole)] == before
    patched.f = lambda: 5
    assert _digest(module.task) not in (before[0], changed[0])


def test_a_lazily_imported_file_that_changes_before_it_is_imported(
    load: Callable[..., ModuleType], tmp_path: Path
) -> None:
    write(tmp_path, {"soon.py": "def f():\n    return 1\n"})
    module = load("waiting", "def task():\n    from soon import f\n    return f()\n")
    before = _digest(module.task)
    write(tmp_path, {"soon.py": "def f():\n    return 1 + 1\n"})
    assert _digest(module.task) != before


def test_single_dispatch(load: Callable[..., ModuleType]) -> None:
    text = """
        import functools
        @functools.singledispatch
        def process(x):
            return x
        @process.register(int)
        def _(x):
            return x + {0}
        def task(x):
            return process(x)
        """
    one, two = (load(f"dispatch{n}", text.format(n)) for n in (1, 2))
    assert _digest(one.task) != _digest(two.task)
    before = _digest(one.task)
    one.process.register(str, lambda x: x * 2)
    assert _digest(one.task) != before


def test_standard_decorators(load: Callable[..., ModuleType]) -> None:
    text = """
        import contextlib, functools
        @contextlib.contextmanager
        def opened(x):
            yield x + {0}
        @functools.cache
        def remembered(x):
            return x + {1}
        class Holder:
            @functools.cached_property
            def size(self):
                return {2}
            @functools.singledispatchmethod
            def add(self, x):
                return x + {3}
        def task_0(x):
            with opened(x) as y:
                return y
        def task_1(x):
            return remembered(x)
        def task_2(x):
            return Holder().size
        def task_3(x):
            return Holder().add(x)
        """
    base = load("standard", text.format(0, 0, 0, 0))
    for place in range(4):
        changed = load(f"standard{place}", text.format(*(int(place == other) for other in range(4))))
        base.task_1(1)  # fills its cache
        for other in range(4):
            name = f"task_{other}"
            same = _digest(getattr(base, name)) == _digest(getattr(changed, name))
            assert same == (other not in ((2, 3) if place in (2, 3) else (place,))), (place, other)


def test_classes_of_arguments(load: Callable[..., ModuleType]) -> None:
    """An object counts by its state; the code of its class, which the task may call, is asked for apart."""
    text = "class Model:\n    def fit(self):\n        return {0}\ndef task(model):\n    return model.fit()\n"
    one = load("argument", text.format(1))
    met: set[type] = set()
    value = fingerprint(one.Model(), classes=met)
    before = code_fingerprint(one.task, classes=met).digest
    assert before != _digest(one.task)
    one.Model.fit = lambda self: 2
    assert fingerprint(one.Model()) == value
    assert code_fingerprint(one.task, classes=met).digest != before


def test_by_value_in_another_process(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    module = load("shipped", "K = 3\ndef helper(a):\n    return a + K\ndef task(a):\n    return helper(a)\n")
    cloudpickle.register_pickle_by_value(module)
    data = cloudpickle.dumps(module.task)
    cloudpickle.unregister_pickle_by_value(module)
    assert _digest(pickle.loads(data)) == _digest(module.task)
    (tmp_path / "task.pkl").write_bytes(data)
    code = (
        "import pickle, sys; from expops_prefect.fingerprint.code import code_fingerprint;"
        "print(code_fingerprint(pickle.load(open(sys.argv[1], 'rb'))).digest)"
    )
    assert python("-c", code, str(tmp_path / "task.pkl")).strip() == _digest(module.task)


def test_a_class_from_a_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's classes have no file; their methods have a source all the same."""

    def run(text: str, number: int) -> dict[str, Any]:
        name = f"<cell {number}>"
        text = textwrap.dedent(text)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, text.splitlines(keepends=True), name))
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, name, "exec"), namespace)
        return namespace

    text = """
        from dataclasses import dataclass
        @dataclass
        class Options:
            size: int = {0}
            def twice(self):  {2}
                return self.size * {1}
        def task():
            return Options().twice()
        """
    plain = run(text.format(1, 2, ""), 1)["task"]
    assert _digest(plain) == _digest(run(text.format(1, 2, "# comment"), 2)["task"])
    assert _digest(plain) != _digest(run(text.format(2, 2, ""), 3)["task"])
    assert _digest(plain) != _digest(run(text.format(1, 3, ""), 4)["task"])


def test_no_source_and_a_docstring_that_is_also_a_constant() -> None:
    def made(text: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "nowhere"}
        exec(text, namespace)
        return namespace["f"]

    assert _digest(made('def f():\n    "a"\n    return "a"')) != _digest(made('def f():\n    "b"\n    return "b"'))
    assert _digest(made('def f():\n    "a"\n    return 1')) == _digest(made('def f():\n    "b"\n\n    return 1'))
    assert _digest(made("def f():\n    return 1")) != _digest(made("def f():\n    return 1.0"))
    assert _digest(made("def f():\n    return (1, 0.0)")) != _digest(made("def f():\n    return (1, -0.0)"))
