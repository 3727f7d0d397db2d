"""Arguments are looked at once more after a body, and no oftener; what it changed is seen all the same."""

from __future__ import annotations

import datetime as dt
import pathlib
import sys
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from expops_prefect.cache import argument_changes
from expops_prefect.cache.argument_changes import Changes, Given, glance, is_constant
from expops_prefect.fingerprint.values import fingerprint
from tests.support.processes import FlowProject


class Point(NamedTuple):
    x: Any
    y: Any


class Loose(namedtuple("Loose", "x")):  # its objects have attributes
    pass


@dataclass(frozen=True)
class Frozen:
    x: int = 1


class Root(pathlib.PosixPath):
    pass


class Amount(np.float64):
    pass


CONSTANT: tuple[object, ...] = (
    *(1, 2.5, True, None, "a", b"a", 1j, (1, "a"), frozenset({1}), ((1, 2), ("a",)), range(3), Point(1, (2, 3))),
    *(dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.timedelta(1), Decimal(1), UUID(int=1), Path("a")),
    *(np.float64(1), np.int8(1), np.bool_(True), np.datetime64("2024"), np.str_("a")),
    *(pa.table({"a": [1]}), pa.array([1]), pa.scalar(1), pa.schema([("a", pa.int64())])),
)
CHANGING: tuple[object, ...] = (
    *([], {}, set(), bytearray(), ([],), Point(1, []), Loose(1), Frozen(), (Frozen(),), object(), Root("a"), Amount(1)),
    *(np.zeros(1), np.zeros(1, [("a", int)])[0], pd.Series([1]), pd.DataFrame({"a": [1]}), Exception()),
)


def test_what_cannot_be_changed_is_not_looked_at() -> None:
    assert [value for value in CONSTANT if not is_constant(value)] == []
    assert [value for value in CHANGING if is_constant(value)] == []


def nested() -> Any:
    return [{"id": n, "name": f"n{n}", "tags": ["a", "b"], "seen": {n}, "at": (n, [2.0])} for n in range(100)]


def into(value: Any) -> None:
    value[7]["at"][1][0] = 3.0


def to_another_type(value: Any) -> None:
    value[7]["id"] = 7.0


def to_another_order(value: Any) -> None:
    value[7]["id"] = value[7].pop("id")


def to_one_object(value: Any) -> None:
    value[7]["tags"] = value[8]["tags"]


def to_a_flag(value: Any) -> None:
    value[1]["id"] = True


def in_a_set(value: Any) -> None:
    value[7]["seen"].add(8)


def by_an_object(value: Any) -> None:
    value[7]["tags"] = np.array(["a", "b"])


@pytest.mark.parametrize(
    "change", [into, to_another_type, to_another_order, to_one_object, to_a_flag, in_a_set, by_an_object]
)
def test_changes_of_plain_data_are_seen(change: Callable[[Any], None], tmp_path: Path) -> None:
    value = nested()
    known = Given({"x": value}, {"x": fingerprint(value)})
    assert known.changes(tmp_path) == Changes()
    change(value)
    assert known.changes(tmp_path) == Changes(changed=("x",))


def test_plain_data_that_stays_is_not_fingerprinted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value, array = nested(), np.zeros(3)
    known = Given({"x": value, "y": array, "z": (1, 2)}, {"x": fingerprint(value), "y": fingerprint(array)})
    looked: list[str] = []

    def counted(value: object, **more: Any) -> str:
        looked.append(more["name"])
        return fingerprint(value, **more)

    monkeypatch.setattr(argument_changes, "fingerprint", counted)
    assert known.changes(tmp_path) == Changes()
    assert looked == ["y"]
    sys.intern(value[3]["name"])
    assert known.changes(tmp_path) == Changes()


def test_a_glance_is_taken_of_plain_data_alone() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert [glance(value) for value in (Frozen(), [Frozen()], [int], [np.zeros(1)], deep, [Point(1, 2)])] == [None] * 6
    assert glance([float("nan"), -0.0]) == glance([float("nan"), -0.0]) != glance([float("nan"), 0.0])


FLOW = """
from executions import ran
from expops_prefect import EXPOPS, flow, task

class Steady:
    def __getstate__(self):
        print("LOOKED")
        return {"a": 1}

class Shifting:
    drawn = None
    def __getstate__(self):
        import uuid
        return {"drawn": uuid.uuid4().hex}

@task
def steady(x):
    ran("steady")
    return 1

@task(cache_policy=EXPOPS)
def shifting(x):
    ran("shifting")
    return 1

@flow
def main():
    steady(Steady()), shifting(Shifting())

main()
"""


@pytest.mark.usefixtures("flow_processes")
def test_one_look_tells_all(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path, config="prefect: {project_id: shop}\n")
    shop.write("flow.py", FLOW)
    for executed, looks in (({"steady": 1, "shifting": 1}, 2), ({"shifting": 1}, 1)):
        done = shop.run("flow.py").ok()
        assert done.executions == executed, done.output
        assert done.output.count("LOOKED") == looks, done.output
        assert "shifting: its parameter 'x' is not stable" in done.output, done.output
        assert "changes objects that it did not create" not in done.output
    found = [item for item in shop.project().explain(shop.last_run().run_id) if item.label.startswith("shifting")]
    assert {item.because for item in found} == {"not stable"}
