"""Effects that are seen in the code: each kind in many shapes, and honest tasks that have none."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from expops_prefect.cache import reasons
from expops_prefect.effects import table
from expops_prefect.effects.code.analysis import code_effects
from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.models.effects import CodeEffects
from tests.effects import honest
from tests.effects.classes import HEAD, LEFT_BEHIND, NOTHING_LEFT
from tests.effects.table import BODIES, EXPRESSIONS, FINE
from tests.fingerprint.packages import write

COMMON = "import os, random, time\nimport numpy as np\n"
SHAPES = {
    "direct": "def task(x):\n    return {expression}\n",
    "method": "class Worker:\n    def work(self, x):\n        return {expression}\n"
    "def task(x):\n    return Worker().work(x)\n",
    "async": "async def task(x):\n    return {expression}\n",
    "inner": "def task(x):\n    def inner(x):\n        return {expression}\n    return inner(x)\n",
    "helper": "from shapes.middle import via{number} as via\ndef task(x):\n    return via(x)\n",
    "lazily": "def task(x):\n    from shapes.deep import away{number}\n    return away{number}(x)\n",
    "module": "import shapes.middle as middle\ndef task(x):\n    return middle.via{number}(x)\n",
}
HONEST = [
    (name, function)
    for name, function in vars(honest).items()
    if inspect.isfunction(function)
    and inspect.unwrap(function).__module__ == honest.__name__
    and not name.startswith(("_", "timed", "saves", "sets_seeds"))
]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Write modules and import one of them."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def made(name: str, files: dict[str, str]) -> ModuleType:
        write(tmp_path, files)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield made
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def effects_of(function: Any, **given: Any) -> CodeEffects:
    return code_fingerprint(function, analyse=code_effects, **given).effects


def _installed(imports: str) -> str:
    """Imports of what is not installed stand in the function, where nothing is imported to read it."""
    try:
        exec(imports, {})
    except ImportError:
        return ""
    return imports


@pytest.mark.parametrize("shape", SHAPES)
def test_every_kind_in_every_shape(shape: str, load: Callable[..., ModuleType]) -> None:
    files: dict[str, str] = {"shapes/__init__.py": "", "shapes/deep.py": "", "shapes/middle.py": ""}
    template = SHAPES[shape]
    for number, case in enumerate(EXPRESSIONS):
        at_top, inside = _installed(case.imports), ""
        if case.imports and not at_top:
            inside = f"    {case.imports}\n"
        away = f"def away{number}(x):\n{inside}    return {case.expression}\n"
        files["shapes/deep.py"] += f"{at_top}\n{away}"
        files["shapes/middle.py"] += (
            f"from shapes.deep import away{number}\ndef via{number}(x):\n    return away{number}(x)\n"
        )
        if inside and "{expression}" in template:
            body = f"{COMMON}\ndef away(x):\n{inside}    return {case.expression}\n"
            files[f"shapes/main{number}.py"] = body + template.format(expression="away(x)", number=number)
        else:
            body = f"{COMMON}{at_top}\n" if "{expression}" in template else ""
            files[f"shapes/main{number}.py"] = body + template.format(expression=case.expression, number=number)
    load("shapes", files)
    wrong = []
    for number, case in enumerate(EXPRESSIONS):
        found = effects_of(importlib.import_module(f"shapes.main{number}").task)
        if (case.kind, case.call) not in [(effect.kind, effect.call) for effect in found.effects]:
            wrong.append((case.kind, case.expression, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


def test_whole_bodies(load: Callable[..., ModuleType]) -> None:
    files = {f"bodies/body{number}.py": COMMON + source for number, (_, _, source) in enumerate(BODIES)}
    installed = {name: text for name, text in files.items() if "aiohttp" not in text}
    load("bodies", {"bodies/__init__.py": "", **installed})
    wrong = []
    for number, (kind, call, source) in enumerate(BODIES):
        if f"bodies/body{number}.py" not in installed:
            continue
        found = effects_of(importlib.import_module(f"bodies.body{number}").task)
        if (kind, call) not in [(effect.kind, effect.call) for effect in found.effects]:
            wrong.append((source, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize(
    "drawn", ["x.normal(size=2)", "x.random()", "[1].append(x.integers(9))", "len(x.sample(range(9), 3))"]
)
def test_drawing_from_an_argument_may_change_it(drawn: str, load: Callable[..., ModuleType]) -> None:
    """The generator may be the argument's: whether it is, the comparison of the arguments tells."""
    found = effects_of(load("drawing", {"drawing.py": f"def task(x):\n    return {drawn}\n"}).task)
    assert not found.resolved


@pytest.mark.parametrize(
    "call", ["np.add(y, 1, out=x)", "np.add(y, 1, x)", "np.divmod(y, 1, out=(y, x))", "y.dot(y, out=x)"]
)
def test_a_library_writes_into_what_it_is_given(call: str, load: Callable[..., ModuleType]) -> None:
    found = effects_of(load("into", {"into.py": f"import numpy as np\ndef task(x, y):\n    return {call}\n"}).task)
    assert [effect.kind for effect in found.effects][:1] == ["state"], found


@pytest.mark.parametrize("call", ["x.sample(3, random_state=1)", "np.add(x, 1, out=None)", "np.array(x, copy=True)"])
def test_a_library_that_surely_leaves_it_alone(call: str, load: Callable[..., ModuleType]) -> None:
    found = effects_of(load("alone", {"alone.py": f"import numpy as np\ndef task(x):\n    return {call}\n"}).task)
    assert not found.effects, found


def test_what_looks_like_an_effect_and_is_none(load: Callable[..., ModuleType]) -> None:
    files = {f"fine/fine{number}.py": COMMON + source for number, source in enumerate(FINE)}
    load("fine", {"fine/__init__.py": "", **files})
    found = {
        source: effects_of(importlib.import_module(f"fine.fine{number}").task).effects
        for number, source in enumerate(FINE)
    }
    assert {source: effects for source, effects in found.items() if effects} == {}


@pytest.mark.parametrize(("name", "function"), HONEST, ids=[name for name, _ in HONEST])
def test_honest_tasks_have_no_effect(name: str, function: Any) -> None:
    found = effects_of(function)
    assert found.effects == ()
    assert found.resolved, found.unresolved


KINDS = {"acme.fetch": "network", "numpy.random": "harmless"}


def test_more_is_known_from_the_configuration(load: Callable[..., ModuleType]) -> None:
    source = "import numpy as np\ndef task(x):\n    import acme\n    return acme.fetch(x), np.random.rand()\n"
    task = load("marked", {"marked.py": source}).task
    plain, marked = effects_of(task), effects_of(task, marks=KINDS)
    assert [(effect.kind, effect.call) for effect in plain.effects] == [("random", "np.random.rand")]
    assert plain.unresolved == ("acme.fetch",)
    assert [(effect.kind, effect.call) for effect in marked.effects] == [("network", "acme.fetch")]
    assert marked.resolved
    assert code_fingerprint(task).digest == code_fingerprint(task, marks=KINDS).digest


def test_more_is_known_from_installed_packages(load: Callable[..., ModuleType]) -> None:
    points = "[expops_prefect.effects]\nacme = acme_effects:KINDS\nbroken = acme_effects:NOTHING\n"
    files = {
        "acme_effects.py": f"KINDS = {KINDS}\n",
        "acme_effects-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: acme-effects\nVersion: 1\n",
        "acme_effects-1.dist-info/entry_points.txt": points,
        "given.py": "def task(x):\n    import acme\n    return acme.fetch(x)\n",
    }
    task = load("given", files).task
    caches = (table._table, table._from_entry_points)
    for cache in caches:
        cache.cache_clear()
    try:
        assert [effect.kind for effect in effects_of(task).effects] == ["network"]
    finally:
        for cache in caches:
            cache.cache_clear()


def test_effects_are_found_once(load: Callable[..., ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    module = load("once", {"once.py": "import math, time\nnow = math.floor\ndef task(x):\n    return now(x) + x\n"})
    first = code_fingerprint(module.task)
    assert first.effects.effects == ()
    assert code_fingerprint(module.task) is first
    monkeypatch.setattr(module, "now", __import__("time").time)
    assert [effect.kind for effect in effects_of(module.task).effects] == ["clock"]


def test_methods_of_an_argument_count_if_the_code_can_call_them(load: Callable[..., ModuleType]) -> None:
    source = """
        import time
        class Source:
            def __init__(self):
                self.made = time.time()
            def now(self):
                return time.time()
            def size(self):
                return 3
        def asks(source):
            return source.size()
        def tells(source):
            return source.now()
        """
    module = load("given_class", {"given_class.py": source})
    assert effects_of(module.asks, classes=[module.Source]).effects == ()
    assert [effect.line for effect in effects_of(module.tells, classes=[module.Source]).effects] == [6]


def test_code_without_a_source_is_no_proof(load: Callable[..., ModuleType]) -> None:
    space: dict[str, Any] = {"__name__": "typed"}
    exec(compile("import time\ndef task(x):\n    return time.time() + x", "<cell>", "exec"), space)
    found = effects_of(space["task"])
    unknown = ("unknown", "task, whose source is not there")
    assert [(effect.kind, effect.call) for effect in found.effects] == [unknown, ("clock", "time.time")]
    assert not found.resolved


@pytest.mark.parametrize(
    "text",
    [
        "made = lambda x: OUT.append(x)",
        "class Made:\n def __call__(self, x):\n  return open('a', 'a').write(x)\nmade = Made()",
        "class Made:\n def go(self, x):\n  return x\nmade = Made().go",
        "def outer():\n def made(x):\n  return x\n return made\nmade = outer()",
    ],
)
def test_what_a_text_has_made_is_not_known(text: str, load: Callable[..., ModuleType]) -> None:
    module = load("of_text", {"of_text.py": f"exec({text!r})\ndef task(x):\n    return made(x)\n"})
    found = effects_of(module.task)
    told = [reasons.effect(effect).text for effect in found.effects]
    assert any("whose source is not there" in text for text in told), told


def test_code_with_a_text_is_known(load: Callable[..., ModuleType]) -> None:
    """Two lambdas on one line, a generated constructor, and the text of a cell of a notebook."""
    source = """
        import dataclasses, linecache
        PICKS = {"a": lambda x: x + 1, "b": lambda x: x * 2}
        @dataclasses.dataclass
        class Row:
            n: int
        CELL = "def cell(x):\\n    return x\\n"
        linecache.cache["<cell 1>"] = (len(CELL), None, CELL.splitlines(True), "<cell 1>")
        exec(compile(CELL, "<cell 1>", "exec"))
        def task(x):
            return PICKS[x](x), Row(x), cell(x)
        """
    assert effects_of(load("with_text", {"with_text.py": source}).task).effects == ()


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("networkx.gnp_random_graph(x, 0.5)", True),
        ("statistics.NormalDist().samples(x)", True),
        ("numpy.sort(x)", False),
        ("math.sqrt(x)", False),
    ],
)
def test_whether_a_library_may_draw(call: str, expected: bool, load: Callable[..., ModuleType]) -> None:
    found = effects_of(
        load("may", {"may.py": f"import {call.partition('.')[0]}\ndef task(x):\n    return {call}\n"}).task
    )
    assert found.resolved
    assert found.may_draw is expected


def test_what_is_read_by_name(load: Callable[..., ModuleType]) -> None:
    source = """
        import os
        from prefect.variables import Variable
        NAME = "B"
        def read(name):
            return os.getenv(name)
        def task(x):
            return os.environ["A"], os.environ.get(NAME), read("C"), Variable.get("limit", 3), x
        """
    found = effects_of(load("by_name", {"by_name.py": source}).task)
    assert found.effects == ()
    assert found.environment == ("A", "B", "C")
    assert found.variables == ("limit",)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("x if 'DEBUG' in os.environ else -x", ("DEBUG",)),
        ("'A' not in os.environ and 'B' in environ and x", ("A", "B")),
        ("os.path.expandvars('$HOME/${CITY}/data') + str(x)", ("CITY", "HOME")),
    ],
)
def test_a_variable_that_is_asked_for_by_name(load: Callable[..., ModuleType], body: str, names: tuple[str]) -> None:
    module = load(
        "asked_for", {"asked_for.py": f"import os\nfrom os import environ\ndef task(x):\n    return {body}\n"}
    )
    found = effects_of(module.task)
    assert (found.effects, found.environment) == ((), names)


@pytest.mark.parametrize("body", ["x in os.environ", "os.path.expandvars(x)", "'A' in [*os.environ]"])
def test_a_variable_whose_name_is_not_known(load: Callable[..., ModuleType], body: str) -> None:
    module = load("not_known", {"not_known.py": f"import os\ndef task(x):\n    return {body}\n"})
    assert [effect.kind for effect in effects_of(module.task).effects] == ["environment"]


def _task(beside: str, returned: str) -> str:
    return f"{HEAD}{beside}\ndef task(x):\n return {returned}\n".replace("return 0\n", "0\n")


def test_what_objects_and_classes_leave_behind(load: Callable[..., ModuleType]) -> None:
    sources = [_task(beside, returned) for _, beside, returned in LEFT_BEHIND]
    load("left", {"left/__init__.py": "", **{f"left/kind{n}.py": source for n, source in enumerate(sources)}})
    wrong = []
    for number, (call, beside, returned) in enumerate(LEFT_BEHIND):
        found = effects_of(importlib.import_module(f"left.kind{number}").task)
        if ("state", call) not in [(effect.kind, effect.call) for effect in found.effects]:
            wrong.append((beside, returned, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


AWAY = """
LOG = []
class One:
    one = None
    def __new__(cls):
        if cls.one is None:
            cls.one = object.__new__(cls)
        return cls.one
class Count:
    def __init__(self):
        type(self).n += 1
class Hook:
    all = []
    def __init_subclass__(cls):
        cls.all.append(cls)
class Kind(type):
    def __init__(cls, name, bases, names):
        LOG.append(name)
class Level:
    @property
    def v(self):
        return 1
    @v.setter
    def v(self, v):
        LOG.append(v)
class Made:
    n: int = field(default_factory=lambda: LOG.append(1))
class Shared:
    kept = {}
    def __init__(self):
        self.__dict__ = self.kept
class Fine:
    known = (1, 2)
    def __init__(self, n):
        self.rows = [n, *self.known]
    @property
    def last(self):
        return self.rows.pop()
    @classmethod
    def of(cls, n):
        return cls(n)
"""


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("One()", "cls.one = …"),
        ("Count()", "type().n += …"),
        ("class A(Hook):\n  pass", "cls.all.append"),
        ("class A(metaclass=Kind):\n  pass", "LOG.append"),
        ("level = Level()\n level.v = x", "LOG.append"),
        ("Made()", "LOG.append"),
        ("Shared()", "self.__dict__ = …"),
        ("fine = Fine(x)\n fine.rows = Fine.of(x).last", None),
    ],
)
def test_classes_of_a_module_that_is_not_imported(body: str, call: str | None, load: Callable[..., ModuleType]) -> None:
    source = f"def task(x):\n from away import Count, Fine, Hook, Kind, Level, Made, One, Shared\n {body}\n return x\n"
    found = effects_of(load("near", {"near.py": source, "away.py": AWAY}).task)
    assert "away" not in sys.modules
    assert [effect.call for effect in found.effects][:1] == ([call] if call else [])


def test_objects_and_classes_that_leave_nothing_behind(load: Callable[..., ModuleType]) -> None:
    sources = [_task(*case) for case in NOTHING_LEFT]
    load("thrown", {"thrown/__init__.py": "", **{f"thrown/kind{n}.py": source for n, source in enumerate(sources)}})
    wrong = []
    for number, case in enumerate(NOTHING_LEFT):
        found = effects_of(importlib.import_module(f"thrown.kind{number}").task)
        if found.effects or "code that cannot be analyzed" in found.unresolved:
            wrong.append((*case, [(e.kind, e.call) for e in found.effects], found.unresolved))
    assert not wrong, "\n".join(map(str, wrong))


def test_code_that_the_analysis_stumbles_over_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(*_: object) -> None:
        raise KeyError("our own fault")

    monkeypatch.setattr("expops_prefect.effects.code.analysis.Analysis.whole", stumble)
    found = code_effects(len, [], [])
    assert [(effect.kind, effect.call) for effect in found.effects] == [("unknown", "len")]
    assert not found.resolved
    assert "it is unknown what its code does: len" in reasons.effect(found.effects[0]).text


def test_a_text_that_is_run_is_the_reason_itself(load: Callable[..., ModuleType]) -> None:
    text = (
        "import os\n\ndef other():\n    os.unlink('a')\n\ndef task(x):\n    return eval(x)\n\n"
        "def both(x):\n    os.mkdir('b')\n    return eval(x)\n"
    )
    module = load("texts", {"texts.py": text})
    assert [(e.kind, e.call, e.line) for e in effects_of(module.task).effects] == [("unknown", "eval", 7)]
    assert [e.call for e in effects_of(module.both).effects] == ["os.mkdir", "eval"]


GLOBALS = """
import io, pprint, shutil, sys, threading
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
import pandas as pd
from joblib import Parallel, delayed
OUT, EVENT, LOCK, COUNTS, ROWS = io.StringIO(), threading.Event(), threading.Lock(), defaultdict(int), []


class Report:
    def __init__(self, file):
        self.file = file

    def line(self, x):
        print(x, file=self.file)


REPORT = Report(OUT)


def read(path):
    with open(path) as file:
        return file.read()


"""


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("print(x, file=OUT)", "state"),
        ("pprint.pprint(x, OUT)", "state"),
        ("shutil.copyfileobj(io.StringIO(x), OUT)", "state"),
        ("with redirect_stdout(OUT): print(x)", "state"),
        ("REPORT.line(x)", "state"),
        ("EVENT.set()", "state"),
        ("LOCK.acquire()", "state"),
        ("return COUNTS[x]", "state"),
        ("list(map(ROWS.append, x))", "state"),
        ("return hash(x)", "identity"),
        ("return Parallel(2)(delayed(read)(path) for path in x)", "file read"),
        ("return Parallel(2)(delayed(pd.read_csv)(path) for path in x)", "file read"),
        ("with ProcessPoolExecutor() as pool: return list(pool.map(read, x))", "file read"),
        ("print(x, file=sys.stderr)", None),
        ("print(x, file=None)", None),
        ("out = io.StringIO(); print(x, file=out); return out.getvalue()", None),
        ("with LOCK: return x", None),
        ("out = []; list(map(out.append, x)); return out", None),
        ("out = defaultdict(int); out[x]; return out", None),
        ("return hash(3)", None),
        ("return Parallel(2)(delayed(abs)(number) for number in x)", None),
        ("return read(x)", None),
    ],
)
def test_what_is_reached_through_what_others_hold(body: str, kind: str | None, load: Callable[..., ModuleType]) -> None:
    module = load("reached", {"reached.py": f"{GLOBALS}def task(x):\n    {body}\n"})
    found = effects_of(module.task)
    assert {effect.kind for effect in found.effects} == (set() if kind is None else {kind}), found
