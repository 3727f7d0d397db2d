"""What is bound anew or changed in place within a process is seen by the next fingerprint."""

from __future__ import annotations

import functools
import importlib
import itertools
import linecache
import struct
import sys
import types
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from expops_prefect.fingerprint.code import code_fingerprint
from expops_prefect.fingerprint.constants import constant_form
from expops_prefect.fingerprint.values import fingerprint
from tests.fingerprint.packages import write

FILES = {
    "live/__init__.py": "",
    "live/deep.py": """
        import types

        FACTOR = 3
        TABLE = {"a": [1, 2]}
        NAMES = {"x", "y"}
        SPACE = types.SimpleNamespace(rate=1)

        def base(x):
            return x * FACTOR

        def other(x):
            return x

        def lists(x):
            return TABLE["a"]

        def spaced(x):
            return SPACE.rate

        def named(x):
            return x in NAMES
        """,
    "live/main.py": """
        import dataclasses
        import functools
        import json
        import numpy as np
        from live import deep
        from live.deep import base, lists, named, spaced

        WEIGHTS = np.zeros(4)

        def uses_json(x):
            return json.dumps(x)

        @dataclasses.dataclass
        class Settings:
            rate: float = 0.1
            tags: list = dataclasses.field(default_factory=list)

        SETTINGS = Settings()

        class Thing:
            rate = 2
            table = {"k": 1}
            def run(self, x):
                return self.step(x) * self.rate
            def step(self, x):
                return x

        class Child(Thing):
            pass

        def two_away(x):
            return base(x)

        def by_module(x):
            return deep.base(x) + deep.FACTOR

        def uses_lists(x):
            return lists(x)

        def uses_space(x):
            return spaced(x)

        def uses_names(x):
            return named(x)

        def uses_array(x):
            return WEIGHTS + x

        def uses_settings(x):
            return SETTINGS.rate

        def uses_class(x):
            return Child().run(x)

        def with_default(x, options=[1]):
            return options

        def uses_unbound(x):
            return later(x)

        def make():
            count = 0
            table = {}
            def closure(x):
                return count, table
            def bump():
                nonlocal count
                count += 1
            def put():
                table["k"] = 1
            return closure, bump, put

        def wrap(function):
            calls = [1]
            @functools.wraps(function)
            def inner(x):
                return function(x), calls
            inner.calls = calls
            return inner

        @wrap
        def wrapped(x):
            return x

        part = functools.partial(base, 1)
        HANDLERS = {"base": base}

        def dispatch(x):
            return HANDLERS["base"](x)

        def lazy(x):
            from live.deep import base
            return base(x)

        def uses_len(x):
            return len(x)
        """,
}


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    write(tmp_path, FILES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("live.main")
    for name in [name for name in sys.modules if name.partition(".")[0] == "live"]:
        del sys.modules[name]


def digest(function: Callable[..., object]) -> str:
    return code_fingerprint(function).digest


def _set(target: Any, name: str, value: Any) -> Callable[[], None]:
    old = getattr(target, name)
    setattr(target, name, value)
    return lambda: setattr(target, name, old)


def _item(target: Any, key: Any, value: Any) -> Callable[[], None]:
    old = target[key]
    target[key] = value
    return lambda: target.__setitem__(key, old)


def _code(function: Any, other: Any) -> Callable[[], None]:
    old = function.__code__
    function.__code__ = other.__code__
    return lambda: setattr(function, "__code__", old)


def _added(target: Any, item: Any) -> Callable[[], None]:
    target.add(item) if isinstance(target, set) else target.append(item)
    return lambda: target.remove(item)


# What is fingerprinted, and a change that is undone by what it returns.
CHANGES: dict[str, tuple[str, Callable[[Any], Callable[[], None]]]] = {
    "constant of a helper": ("two_away", lambda m: _set(m.deep, "FACTOR", 4)),
    "constant to an equal one of another type": ("two_away", lambda m: _set(m.deep, "FACTOR", 3.0)),
    "constant to True": ("two_away", lambda m: _set(m.deep, "FACTOR", True)),
    "helper bound anew": ("two_away", lambda m: _set(m, "base", m.deep.other)),
    "helper by module": ("by_module", lambda m: _set(m.deep, "base", m.deep.other)),
    "constant by module": ("by_module", lambda m: _set(m.deep, "FACTOR", 5)),
    "whole module bound anew": ("by_module", lambda m: _set(m, "deep", types.SimpleNamespace(base=len, FACTOR=1))),
    "code of a helper": ("two_away", lambda m: _code(m.base, m.deep.other)),
    "list in a dictionary": ("uses_lists", lambda m: _added(m.deep.TABLE["a"], 3)),
    "item of that list": ("uses_lists", lambda m: _item(m.deep.TABLE["a"], 0, 9)),
    "attribute of a namespace": ("uses_space", lambda m: _set(m.deep.SPACE, "rate", 2)),
    "set": ("uses_names", lambda m: _added(m.deep.NAMES, "z")),
    "element of an array": ("uses_array", lambda m: _item(m.WEIGHTS, 2, 1.0)),
    "field of settings": ("uses_settings", lambda m: _set(m.SETTINGS, "rate", 0.2)),
    "deep in settings": ("uses_settings", lambda m: _added(m.SETTINGS.tags, "t")),
    "class attribute": ("uses_class", lambda m: _set(m.Thing, "rate", 3)),
    "in a class attribute": ("uses_class", lambda m: _item(m.Thing.table, "k", 2)),
    "method": ("uses_class", lambda m: _set(m.Thing, "step", m.deep.other)),
    "code of a method": ("uses_class", lambda m: _code(m.Thing.step, m.deep.other)),
    "class bound anew": ("uses_class", lambda m: _set(m, "Child", m.Thing)),
    "default changed in place": ("with_default", lambda m: _added(m.with_default.__defaults__[0], 2)),
    "default replaced": ("with_default", lambda m: _set(m.with_default, "__defaults__", ([2],))),
    "list of a decorator": ("wrapped", lambda m: _added(m.wrapped.calls, 2)),
    "table of functions": ("dispatch", lambda m: _item(m.HANDLERS, "base", m.deep.other)),
    "constant behind a table": ("dispatch", lambda m: _set(m.deep, "FACTOR", 4)),
    "constant behind a partial": ("part", lambda m: _set(m.deep, "FACTOR", 4)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen_and_its_undoing_too(name: str, live: Any) -> None:
    entry, change = CHANGES[name]
    before = digest(getattr(live, entry))
    assert digest(getattr(live, entry)) == before
    undo = change(live)
    after = digest(getattr(live, entry))
    assert after != before
    assert digest(getattr(live, entry)) == after
    undo()
    assert digest(getattr(live, entry)) == before


def test_an_added_method_and_a_name_bound_later(live: Any) -> None:
    before = digest(live.uses_class)
    live.Child.step = live.deep.base
    assert digest(live.uses_class) != before
    before = digest(live.uses_unbound)
    live.later = live.base
    assert digest(live.uses_unbound) != before


def test_a_builtin_shadowed_later(live: Any) -> None:
    before = digest(live.uses_len)
    live.len = live.base
    assert digest(live.uses_len) != before
    del live.len
    assert digest(live.uses_len) == before


def test_a_library_in_which_the_project_puts_a_function_of_its_own(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [digest(live.uses_json)]
    for put in (live.base, live.deep.other):
        monkeypatch.setattr("json.dumps", put)
        seen.append(digest(live.uses_json))
    assert len(set(seen)) == 3
    monkeypatch.undo()
    assert digest(live.uses_json) == seen[0]


def test_closure_cells_and_what_is_in_them(live: Any) -> None:
    closure, bump, put = live.make()
    again, _, _ = live.make()
    assert digest(closure) == digest(again)
    seen = {digest(closure)}
    bump()
    seen.add(digest(closure))
    put()
    seen.add(digest(closure))
    assert len(seen) == 3
    assert digest(again) in seen


def test_reload_sees_the_new_file(live: Any, tmp_path: Path) -> None:
    before = digest(live.by_module)
    file = tmp_path / "live" / "deep.py"
    file.write_text(file.read_text().replace("x * FACTOR", "x * FACTOR * 1.0"))
    assert digest(live.by_module) == before, "the file changed, but not what is loaded"
    importlib.reload(live.deep)
    after = digest(live.by_module)
    assert after != before
    assert digest(live.two_away) != after
    file.write_text("# moved down\n\n" + file.read_text())
    importlib.reload(live.deep)
    assert digest(live.by_module) == after


def test_a_function_as_a_value_counts_its_code_as_it_is_now(live: Any) -> None:
    before = fingerprint({"call": live.two_away})
    live.deep.FACTOR = 4
    assert fingerprint({"call": live.two_away}) != before
    live.deep.FACTOR = 3
    assert fingerprint({"call": live.two_away}) == before


def test_calling_does_not_change_the_fingerprint(live: Any) -> None:
    functions = [live.lazy, live.two_away, live.wrapped, live.uses_class, live.uses_array]
    before = [digest(function) for function in functions]
    for function in functions:
        function(1)
    assert [digest(function) for function in functions] == before


def test_a_cell_of_a_notebook_run_again() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}

    def cell(number: int, source: str) -> None:
        name = f"<ipython-input-{number}-abc>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), namespace)

    cell(1, "def helper(x):\n    return x + 1\n")
    cell(2, "def task(x):\n    return helper(x)\n")
    first = code_fingerprint(namespace["task"])
    assert any("helper" in source for source in first.sources.values())
    cell(3, "def helper(x):\n    return x + 2\n")
    assert digest(namespace["task"]) != first.digest
    cell(4, "# the same again\ndef helper(x):\n    'text'\n    return (x +\n 1)\n")
    assert digest(namespace["task"]) == first.digest


def test_code_without_source_counts_by_its_bytecode() -> None:
    def made(source: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "typed"}
        exec(compile(source, "<string>", "exec", dont_inherit=True), namespace)
        return namespace["f"]

    same = [
        made("def f(x):\n    return x + 1"),
        made("\n\n\ndef f(x):\n    '''Text.'''\n    # comment\n    return x + 1"),
    ]
    others = [
        made("def f(x):\n    return x + 2"),
        made("def f(x):\n    return x - 1"),
        made("def f(x):\n    return x + 1.0"),
        made("def f(x):\n    return y + 1"),
        made("def f(x, y=1):\n    return x + 1"),
        made("def f(x):\n    return [x + 1 for x in x]"),
        made("def f(x):\n    return [x + 2 for x in x]"),
        made("async def f(x):\n    return x + 1"),
        made("def f(x):\n    return x in {'a', 'b', 'c'}"),
        made("def f(x):\n    try:\n        return x + 1\n    except ValueError:\n        return 0"),
        made("K = 1\ndef f(x):\n    return x + K"),
        made("K = 2\ndef f(x):\n    return x + K"),
    ]
    assert len({digest(function) for function in same}) == 1
    digests = [digest(function) for function in (same[0], *others)]
    assert len(set(digests)) == len(digests)


def test_two_lambdas_of_one_line_differ() -> None:
    pair = [lambda x: x + 1, lambda x: x + 2]
    assert digest(pair[0]) != digest(pair[1])
    assert fingerprint(pair[0]) != fingerprint(pair[1])


def test_parts_and_sources_name_what_they_are(live: Any) -> None:
    made = code_fingerprint(live.by_module)
    assert "live.main:by_module" in made.parts
    assert "live.deep:base" in made.parts
    assert "const:live.deep:FACTOR" in made.parts
    assert "python" in made.parts
    assert made.sources["live.deep:base"] == "def base(x):\n    return x * FACTOR"
    array = code_fingerprint(live.uses_array)
    assert not any("numpy" in name and name.startswith("live") for name in array.parts)


def test_other_peoples_code_counts_by_version(live: Any) -> None:
    def uses(x: Any) -> Any:
        return np.zeros(x)

    parts = code_fingerprint(uses).parts
    assert f"dist:numpy=={np.__version__}" in parts
    assert not [name for name in parts if name.startswith("numpy")]


def test_locks_and_loggers_do_not_fail_or_vary() -> None:
    import logging
    import threading

    def made() -> Callable[[], object]:
        lock, logger = threading.Lock(), logging.getLogger("a")
        return lambda: (lock, logger)

    assert digest(made()) == digest(made())


def test_which_name_means_which_counts() -> None:
    def made(a: Callable[[int], int], b: Callable[[int], int], c: Callable[[int], int]) -> Callable[[int], int]:
        return lambda x: a(x) + b(x) * c(x)

    def one(x: int) -> int:
        return x + 1

    def two(x: int) -> int:
        return x + 2

    meanings = [(one, one, two), (one, two, one), (one, two, two)]
    assert len({digest(made(*functions)) for functions in meanings}) == len(meanings)


def _uses(value: object) -> Callable[[], object]:
    return lambda: value


def _ascending(a: int, b: int) -> int:
    return a - b


def _descending(a: int, b: int) -> int:
    return b - a


CONSTANTS: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
    "struct.Struct": (lambda: struct.Struct("<i"), lambda: struct.Struct("<q")),
    "itertools.count": (lambda: itertools.count(1), lambda: itertools.count(2)),
    "its step": (lambda: itertools.count(1), lambda: itertools.count(1, 2)),
    "ContextVar": (lambda: ContextVar("tenant", default="a"), lambda: ContextVar("tenant", default="b")),
    "ContextVar without a value": (lambda: ContextVar("tenant", default=None), lambda: ContextVar("tenant")),
    "cmp_to_key": (lambda: functools.cmp_to_key(_ascending), lambda: functools.cmp_to_key(_descending)),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_that_do_not_show_what_they_hold(name: str) -> None:
    one, other = CONSTANTS[name]
    assert digest(_uses(one())) == digest(_uses(one()))
    assert digest(_uses(one())) != digest(_uses(other()))


def test_a_context_variable_counts_by_what_it_holds_now() -> None:
    tenant = ContextVar("tenant", default="a")
    function = _uses(tenant)
    before = digest(function)
    token = tenant.set("b")
    assert digest(function) != before
    tenant.reset(token)
    assert digest(function) == before


def test_wrappers_of_this_package_are_passed_over(live: Any) -> None:
    function = live.two_away

    @functools.wraps(function)
    def ours(x: Any) -> Any:
        return function(x)

    plain = digest(function)
    assert digest(ours) != plain
    ours.__expops_wrapper__ = True  # type: ignore[attr-defined]
    assert digest(ours) == plain


def test_mocks_count_by_what_they_give_and_not_by_their_calls() -> None:
    def told(*, value: object = 1, effect: object = None, below: object = 1) -> mock.Mock:
        made = mock.MagicMock(return_value=value, side_effect=effect)
        made.get.return_value = below
        made.itself = made
        return made

    first = constant_form(told())
    made = told()
    made(1), made.get(2), made.other.thing(), len(made), str(made), hash(made), list(made), made == 1
    assert constant_form(made) == first
    others = [told(value=2), told(below=2), told(effect=ValueError), mock.Mock(), told(value=mock.Mock(return_value=3))]
    assert len({first, *map(constant_form, others)}) == len(others) + 1
