"""Classes that a script or a notebook defines come back as themselves: a hit is no other value than the first run's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import FlowProject

CLASSES = """
import enum
import functools
import threading
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import attrs
import numpy as np
import pandas as pd
from pydantic import BaseModel
from typing_extensions import TypedDict

from executions import ran
from expops_prefect import flow, task

T = TypeVar("T")
LOCK = threading.Lock()


@dataclass
class Plain:
    x: object


@dataclass(frozen=True)
class Frozen:
    x: int


@dataclass(slots=True)
class Slots:
    x: int


class Colour(enum.Enum):
    RED = 1
    BLUE = "b"


class Mode(enum.Flag):
    R = 1
    W = 2


class Pair(NamedTuple):
    a: int
    b: Plain


class Inner(BaseModel):
    n: int


class Model(BaseModel):
    inner: Inner
    colour: Colour = Colour.RED


class Box(BaseModel, Generic[T]):
    held: T


@attrs.define
class Attrs:
    x: int


class CodeError(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.code = code

    def __eq__(self, other):
        return type(other) is CodeError and other.code == self.code


class Outer:
    @dataclass
    class Nested:
        x: int


class Listed(list):
    pass


class Mapped(dict):
    pass


class Array(np.ndarray):
    pass


class Frame(pd.DataFrame):
    @property
    def _constructor(self):
        return Frame


class Child(Plain):
    def both(self):
        return super().__repr__()


@dataclass
class Locked:
    x: int

    def use(self):
        with LOCK:
            return self.x


class Lazy:
    def __init__(self, x):
        self.x = x

    @functools.cached_property
    def twice(self):
        return self.x * 2

    def __eq__(self, other):
        return type(other) is Lazy and (self.x, self.twice) == (other.x, other.twice)


class Keys(TypedDict):
    n: int


def helper(x):
    return x + 1


def inside():
    @dataclass
    class Local:
        x: int

    return Local(3)


def make():
    return {
        "dataclass": Plain([Frozen(2)]),
        "slots": Slots(1),
        "enum": Colour.BLUE,
        "flag": Mode.R | Mode.W,
        "named tuple": Pair(1, Plain(2)),
        "model": Model(inner=Inner(n=1), colour=Colour.BLUE),
        "generic": Box[Inner](held=Inner(n=2)),
        "attrs": Attrs(1),
        "exception": CodeError(4),
        "nested": Outer.Nested(5),
        "list": Listed([Plain(1)]),
        "dict": Mapped(a=Colour.RED),
        "array": np.arange(3).view(Array),
        "frame": Frame({"a": [1, 2]}),
        "objects": pd.DataFrame({"o": [Frozen(1), Frozen(2)], "c": [Colour.RED, Colour.BLUE]}),
        "elements": np.array([Plain(1), Plain(2)], dtype=object),
        "child": Child(1),
        "locked": Locked(1),
        "lazy": Lazy(2),
        "typed": Keys(n=1),
        "function": helper,
        "class": Plain,
        "set": {Frozen(1), Colour.RED},
        "keys": {Colour.RED: 1, Frozen(3): 2},
        "method": Plain(3).__repr__,
        "lambda": lambda x: helper(x) + 1,
        "local": inside(),
    }


ALIKE = {
    "enum": lambda value, other: value is other,
    "function": lambda value, other: value is other,
    "class": lambda value, other: value is other,
    "array": lambda value, other: (value == other).all(),
    "frame": lambda value, other: value.equals(other),
    "objects": lambda value, other: value.equals(other) and value["c"][1] is Colour.BLUE,
    "elements": lambda value, other: (value == other).all(),
    "method": lambda value, other: value.__self__ == other.__self__ and value.__func__ is other.__func__,
    "lambda": lambda value, other: value(1) == other(1),
    "local": lambda value, other: repr(value) == repr(other),
}


def wrong(name, value):
    other = make()[name]
    if name != "local" and type(value) is not type(other):
        return [f"{name}: {type(value)}"]
    alike = ALIKE.get(name, lambda value, other: value == other)
    return [] if alike(value, other) else [f"{name}: {value!r}"]
"""
TASKS = """
@task
def one(name):
    ran("one")
    return make()[name]


@task
def use(name, value):
    ran("use")
    return wrong(name, value)


@flow
def takes(plain: Plain, colour: Colour, model: Model, keys: Keys, generic: Box[Inner], models: list[Model]):
    assert isinstance(plain, Plain) and colour is Colour.BLUE and isinstance(models[0], Model)
    return 1


@flow
def main():
    found = {}
    names = list(make())
    for name in names:
        found[name] = one(name)
    print("WRONG", sum([wrong(name, found[name]) + use(name, found[name]) for name in names], []))
    models = [found["model"]]
    takes(found["dataclass"], found["enum"], found["model"], found["typed"], found["generic"], models)
"""
START = """
if __name__ == "__main__":
    main()
"""
DEPLOYED = """
from prefect.flows import load_flow_from_entrypoint

load_flow_from_entrypoint("script.py:main")
flow = load_flow_from_entrypoint("script.py:main")  # by now Prefect makes a name up
assert flow.fn.__module__.startswith("__prefect_loader_")
flow()
"""
KERNEL = """
from IPython.core.interactiveshell import InteractiveShell

CELLS = ["CLASSES", "TASKS", "main()"]
shell = InteractiveShell.instance()
for number, cell in enumerate(CELLS):
    shell.compile.get_code_name = lambda raw, code, n: f"/tmp/ipykernel_7/{abs(hash(code))}.py"
    shell.run_cell(cell, store_history=True).raise_error()
"""


@pytest.fixture
def script(shop: FlowProject) -> FlowProject:
    shop.write("script.py", CLASSES + TASKS + START)
    return shop


def test_in_a_script_and_in_a_deployment(script: FlowProject) -> None:
    first = script.run("script.py").ok()
    assert "WRONG []" in first.output
    assert first.executions["one"] == first.executions["use"] > 25
    again = script.run("script.py", hashseed=3).ok()
    assert "WRONG []" in again.output
    assert again.total == 0
    for start in (DEPLOYED, "import script\nscript.main()\n"):
        script.write("start.py", start)
        other = script.run("start.py").ok()
        assert "WRONG []" in other.output
        assert other.total == 0


def test_what_a_deployment_has_stored(script: FlowProject) -> None:
    script.write("start.py", DEPLOYED)
    assert script.run("start.py").ok().executions["one"] > 25
    again = script.run("script.py").ok()
    assert "WRONG []" in again.output
    assert again.total == 0


def test_in_a_notebook(shop: FlowProject) -> None:
    text = KERNEL.replace('"CLASSES"', repr(CLASSES)).replace('"TASKS"', repr(TASKS))
    shop.write("kernel.py", text)
    assert "WRONG []" in shop.run("kernel.py").ok().output
    again = shop.run("kernel.py", hashseed=3).ok()
    assert "WRONG []" in again.output
    # A lambda that was stored has not the source any more that it had in its cell.
    assert again.total <= 1
    assert again.executions["one"] == 0


POOLS = """
from prefect.task_runners import ProcessPoolTaskRunner


@task
def outer(name):
    ran("outer")
    return wrong(name, one(name)) + wrong(name, one(name))


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def pools():
    names = ["dataclass", "enum", "named tuple", "model", "attrs", "child", "nested"]
    found = dict(zip(names, one.map(names).result()))
    print("WRONG", sum([wrong(name, found[name]) for name in names], []) + sum(outer.map(names).result(), []))


if __name__ == "__main__":
    pools()
"""


def test_in_processes(shop: FlowProject) -> None:
    # Prefect sends the task by value, and what its classes refer to with them.
    sendable = CLASSES.replace("with LOCK", "if True").replace("@functools.cached_property", "@property")
    shop.write("script.py", sendable + TASKS + POOLS)
    first = shop.run("script.py").ok()
    assert "WRONG []" in first.output
    again = shop.run("script.py", hashseed=3).ok()
    assert "WRONG []" in again.output
    assert again.executions["outer"] == 0


def test_a_reader_without_the_class(script: FlowProject, tmp_path: Path) -> None:
    script.run("script.py").ok()
    script.write(
        "reader.py",
        """
        import pickle
        from expops_prefect import Project
        from expops_prefect.cache.payloads import StoredPayloads
        from expops_prefect.cache.results import verified
        from expops_prefect.record.cache_records import read_cache_records
        from expops_prefect.serialization.manifest import unpack

        project = Project.open()
        found = []
        for key, record in read_cache_records(project.kv):
            if key.task == "one" and b"script_names" not in verified(project, str(key), record):
                manifest = verified(project, str(key), record)
                found += [unpack(manifest, StoredPayloads(project, record)), pickle.loads(manifest)]
        print("NAMES", sorted({type(value).__qualname__ for value in found}))
        assert not any("wrong" in vars(type(value)) for value in found)
        """,
    )
    output = script.run("reader.py").ok().output
    for name in ("Plain", "Colour", "Model", "Outer.Nested", "Frame", "Lazy"):
        assert f"'{name}'" in output
