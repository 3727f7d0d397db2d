"""Edits of a project's files: which ones change the fingerprint of which functions.

One package holds every kind of reference. Each edit is made in a copy of it and all entry points
are fingerprinted there in a process of its own:  an edit must change those that reach it and no other.
"""

from __future__ import annotations

import pytest

from tests.fingerprint.packages import edited, fingerprints, write

pytestmark = pytest.mark.xdist_group("code edits")

FILES = {
    "proj/__init__.py": "",
    "proj/far.py": """
        FACTOR = 3
        UNUSED = 1
        TABLE = {"a": 1}

        def deep(x):
            return x * FACTOR

        def unused(x):
            return x

        class Root:
            def scale(self, x):
                return x + 1
        """,
    "proj/near.py": """
        from proj import far
        from proj.far import Root, deep

        OFFSET = 10

        def helper(x):
            return deep(x) + OFFSET

        def attribute_helper(x):
            return far.deep(x) + far.TABLE["a"]

        class Child(Root):
            rate = 2
            def run(self, x):
                return self.scale(x) * self.rate
            @property
            def size(self):
                return 5
            @classmethod
            def make(cls):
                return cls()
            @staticmethod
            def plain(x):
                return x - 1

        def decorate(function):
            import functools
            @functools.wraps(function)
            def inner(*args):
                return function(*args) + 100
            return inner

        def repeat(times):
            def outer(function):
                def inner(*args):
                    return [function(*args) for _ in range(times)]
                inner.__wrapped__ = function
                return inner
            return outer
        """,
    "proj/lazy.py": """
        LAZY = 1

        def lazily(x):
            return x + LAZY

        def other(x):
            return x
        """,
    "proj/main.py": '''
        import dataclasses
        import functools
        import importlib
        import logging
        import threading

        import pydantic
        import proj.far
        from prefect import flow, task
        from proj import near
        from proj.near import Child, attribute_helper, decorate, helper, repeat

        logger = logging.getLogger(__name__)
        lock = threading.Lock()
        LIMIT = 5
        NAMES = {"b", "a", "c"}

        def two_away(x):
            """Docstring."""
            # a comment
            return helper(x)

        def by_attribute(x):
            return attribute_helper(x)

        def by_module(x):
            return near.helper(x)

        def by_dotted(x):
            return proj.far.deep(x)

        def by_class(x):
            return Child().run(x)

        def with_default(x, y=3, *, z="k"):
            return x + y

        def default_function(x, using=helper):
            return using(x)

        def annotated(x: int) -> int:
            y: int = x
            return y

        def make(amount):
            def closure(x):
                return x + amount
            return closure

        closed = make(7)

        @decorate
        def decorated(x):
            return x

        @repeat(2)
        def repeated(x):
            return x

        @functools.lru_cache(maxsize=None)
        def cached(x):
            return helper(x)

        partial = functools.partial(helper, 1)

        @task
        def inner_task(x):
            return x + LIMIT

        @task
        def outer_task(x):
            return inner_task(x)

        @task
        async def async_task(x):
            return helper(x)

        @flow
        def sub_flow(x):
            return inner_task(x)

        def uses_flow(x):
            return sub_flow(x)

        def lazy_import(x):
            from proj.lazy import lazily
            return lazily(x)

        def lazy_relative(x):
            from .lazy import lazily
            return lazily(x)

        def lazy_module(x):
            import proj.lazy
            return proj.lazy.lazily(x)

        def lazy_dynamic(x):
            import importlib
            return importlib.import_module("proj.lazy").lazily(x)

        def lazy_by_name(x):
            return importlib.import_module(".lazy", __package__).lazily(x)

        def uses_logger(x):
            logger.info("x")
            with lock:
                return x

        def uses_set(x):
            return x in NAMES

        def ping(n):
            return pong(n - 1) if n else 0

        def pong(n):
            return ping(n - 1) if n else 1

        def fact(n):
            return 1 if n < 2 else n * fact(n - 1)

        @dataclasses.dataclass
        class Options:
            size: int = 3

        class Body(pydantic.BaseModel):
            size: int = 3

        def uses_dataclass(x):
            return Options(x)

        def uses_model(x):
            return Body(size=x)

        def nested(x):
            def inside(y):
                return helper(y)
            return [inside(item) for item in [x]]

        def conditional(x):
            return (lambda v: v + LIMIT)(x)

        def unreferenced(x):
            return x

        DISPATCH = {"h": helper, "u": unreferenced}

        def dispatched(x):
            return DISPATCH["h"](x)

        class Service:
            def __init__(self, size):
                self.size = size
            def call(self, x):
                return self.step(x) + self.size
            def step(self, x):
                return helper(x)

        bound = Service(1).call
        bound_other = Service(2).call
        def uses_super(x):
            class Local(Child):
                def run(self, x):
                    return super().run(x)
            return Local().run(x)
        ''',
}

ENTRIES = [
    "two_away",
    "by_attribute",
    "by_module",
    "by_dotted",
    "by_class",
    "with_default",
    "default_function",
    "annotated",
    "closed",
    "decorated",
    "repeated",
    "cached",
    "partial",
    "inner_task",
    "outer_task",
    "async_task",
    "uses_flow",
    "lazy_import",
    "lazy_relative",
    "lazy_module",
    "lazy_dynamic",
    "lazy_by_name",
    "uses_logger",
    "uses_set",
    "ping",
    "pong",
    "fact",
    "uses_dataclass",
    "uses_model",
    "nested",
    "conditional",
    "unreferenced",
    "dispatched",
    "bound",
    "bound_other",
    "uses_super",
]

HELPER = {
    "two_away",
    "by_module",
    "default_function",
    "cached",
    "partial",
    "async_task",
    "nested",
    "dispatched",
    "bound",
    "bound_other",
}
DEEP = HELPER | {"by_attribute", "by_dotted"}
CLASS = {"by_class", "uses_super"}
LAZY = {"lazy_import", "lazy_relative", "lazy_module", "lazy_dynamic", "lazy_by_name"}
LIMIT = {"inner_task", "outer_task", "uses_flow", "conditional"}

# name: file, old, new, the entries whose fingerprint must change.
EDITS: dict[str, tuple[str, str, str, set[str]]] = {
    "nothing": ("proj/main.py", "LIMIT = 5", "LIMIT = 5", set()),
    "comment": ("proj/main.py", "# a comment", "# another comment\n    # and more", set()),
    "docstring": ("proj/main.py", '"""Docstring."""', '"""Another\n\n    docstring.\n    """', set()),
    "no docstring": ("proj/main.py", '"""Docstring."""', "", set()),
    "blank lines": ("proj/main.py", "logger = logging", "\n\n\nlogger = logging", set()),
    "format": (
        "proj/main.py",
        "return inner_task(x)\n\ndef uses_flow",
        "return inner_task( x ,\n   )\n\ndef uses_flow",
        set(),
    ),
    "quotes": ("proj/main.py", 'DISPATCH["h"](x)', "DISPATCH['h'](x)", set()),
    "function annotations": (
        "proj/main.py",
        "def annotated(x: int) -> int:\n    y: int = x",
        "def annotated(x: str) -> 'float':\n    y: str = x",
        set(),
    ),
    "helper two calls away": ("proj/far.py", "return x * FACTOR", "return x * FACTOR + 0", DEEP),
    "constant two calls away": ("proj/far.py", "FACTOR = 3", "FACTOR = 4", DEEP),
    "constant written otherwise": ("proj/far.py", "FACTOR = 3", "FACTOR = 1 + 2", set()),
    "constant of another type": ("proj/far.py", "FACTOR = 3", "FACTOR = 3.0", DEEP),
    "unused constant": ("proj/far.py", "UNUSED = 1", "UNUSED = 2", set()),
    "unused function": ("proj/far.py", "def unused(x):\n    return x", "def unused(x):\n    return -x", set()),
    "table of another module": ("proj/far.py", '{"a": 1}', '{"a": 2}', {"by_attribute"}),
    "constant beside a helper": ("proj/near.py", "OFFSET = 10", "OFFSET = 11", HELPER),
    "method": ("proj/near.py", "self.scale(x) * self.rate", "self.scale(x) + self.rate", CLASS),
    "class attribute": ("proj/near.py", "rate = 2", "rate = 3", CLASS),
    "property": ("proj/near.py", "return 5", "return 6", CLASS),
    "class method": ("proj/near.py", "return cls()", "return cls() or None", CLASS),
    "static method": ("proj/near.py", "return x - 1", "return x - 2", CLASS),
    "base class": (
        "proj/far.py",
        "def scale(self, x):\n        return x + 1",
        "def scale(self, x):\n        return x + 2",
        CLASS,
    ),
    "default": ("proj/main.py", "y=3", "y=4", {"with_default"}),
    "default written otherwise": ("proj/main.py", "y=3", "y=1 + 2", set()),
    "keyword default": ("proj/main.py", 'z="k"', 'z="l"', {"with_default"}),
    "parameter name": (
        "proj/main.py",
        "def unreferenced(x):\n    return x",
        "def unreferenced(y):\n    return y",
        {"unreferenced", "dispatched"},
    ),
    "closure value": ("proj/main.py", "closed = make(7)", "closed = make(8)", {"closed"}),
    "decorator": ("proj/near.py", "function(*args) + 100", "function(*args) + 101", {"decorated"}),
    "decorator removed": ("proj/main.py", "@decorate\ndef decorated", "def decorated", {"decorated"}),
    "decorator argument": ("proj/main.py", "@repeat(2)", "@repeat(3)", {"repeated"}),
    "decorated function": (
        "proj/main.py",
        "def decorated(x):\n    return x",
        "def decorated(x):\n    return -x",
        {"decorated"},
    ),
    "partial argument": ("proj/main.py", "functools.partial(helper, 1)", "functools.partial(helper, 2)", {"partial"}),
    "nested task and constant": ("proj/main.py", "LIMIT = 5", "LIMIT = 6", LIMIT),
    "nested task": ("proj/main.py", "return x + LIMIT", "return x - LIMIT", LIMIT - {"conditional"}),
    "nested flow": (
        "proj/main.py",
        "def sub_flow(x):\n    return inner_task(x)",
        "def sub_flow(x):\n    return inner_task(-x)",
        {"uses_flow"},
    ),
    "lazily imported function": ("proj/lazy.py", "return x + LAZY", "return x - LAZY", LAZY),
    "lazily imported constant": ("proj/lazy.py", "LAZY = 1", "LAZY = 2", LAZY),
    "set constant": ("proj/main.py", '{"b", "a", "c"}', '{"b", "a", "d"}', {"uses_set"}),
    "set constant in another order": ("proj/main.py", '{"b", "a", "c"}', '{"c", "b", "a"}', set()),
    "recursion": ("proj/main.py", "pong(n - 1) if n else 0", "pong(n - 1) if n else 2", {"ping", "pong"}),
    "own recursion": ("proj/main.py", "1 if n < 2", "1 if n < 1", {"fact"}),
    "dataclass annotation": (
        "proj/main.py",
        "class Options:\n    size: int",
        "class Options:\n    size: float",
        {"uses_dataclass"},
    ),
    "dataclass default": (
        "proj/main.py",
        "class Options:\n    size: int = 3",
        "class Options:\n    size: int = 4",
        {"uses_dataclass"},
    ),
    "model annotation": (
        "proj/main.py",
        "class Body(pydantic.BaseModel):\n    size: int",
        "class Body(pydantic.BaseModel):\n    size: float",
        {"uses_model"},
    ),
    "dispatched by a constant": (
        "proj/main.py",
        '{"h": helper, "u": unreferenced}',
        '{"h": unreferenced}',
        {"dispatched"},
    ),
    "state of a bound object": ("proj/main.py", "bound = Service(1).call", "bound = Service(3).call", {"bound"}),
    "method called by a method": (
        "proj/main.py",
        "def step(self, x):\n        return helper(x)",
        "def step(self, x):\n        return helper(-x)",
        {"bound", "bound_other"},
    ),
    "nested function": ("proj/main.py", "return helper(y)", "return helper(-y)", {"nested"}),
    "log level": ("proj/main.py", 'logger.info("x")', 'logger.debug("x")', {"uses_logger"}),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    base = tmp_path_factory.mktemp("edits")
    roots = [write(base / str(place), edited(FILES, *edit[:3])) for place, edit in enumerate(EDITS.values())]
    # Half of them under another hash seed than the one they are compared with.
    half = len(roots) // 2
    found = fingerprints(roots[:half], "proj.main", ENTRIES, seed=1) + fingerprints(
        roots[half:], "proj.main", ENTRIES, seed=2
    )
    digests = [{entry: one[entry]["digest"] for entry in ENTRIES} for one in found]
    return dict(zip(EDITS, digests, strict=True))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_exactly_what_reaches_it(name: str, results: dict[str, dict[str, str]]) -> None:
    before, after = results["nothing"], results[name]
    changed = {entry for entry in ENTRIES if before[entry] != after[entry]}
    expected = EDITS[name][3]
    assert changed == expected


def test_entries_are_told_apart(results: dict[str, dict[str, str]]) -> None:
    digests = results["nothing"]
    assert len(set(digests.values())) == len(ENTRIES)
