"""Why a call was executed, down to the part that differs; whose result it was given."""

from __future__ import annotations

import csv
import decimal
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from expops_prefect import Project, flow, task
from expops_prefect.cache.key_components import config_parts
from expops_prefect.explain import Explanation
from expops_prefect.explain.components import Code, load_parts
from expops_prefect.explain.differences import of_code, of_config, of_inputs
from expops_prefect.fingerprint.value_summary import summaries
from expops_prefect.fingerprint.values import fingerprint
from expops_prefect.maintenance import Policy, Selection, collect, invalidate
from expops_prefect.models.names import readable
from tests.config.support import make_project
from tests.support.backends import Cloud


@dataclass
class Options:
    rate: float = 0.5
    layers: list[int] = field(default_factory=lambda: [3, 4])
    weights: Any = None


FRAME = pd.DataFrame({"age": [30, 40], "name": ["a", "b"]})
WIDE = pd.DataFrame({f"c{number}": np.zeros(2) for number in range(150)})
NESTED = {"model": {"layers": [1, 2], "name": "net"}, "data": FRAME, "seed": 1}


@pytest.mark.parametrize(
    ("before", "after", "texts"),
    [
        (1, 2, [" changed: 1 -> 2"]),
        (1, "1", [" changed: 1 -> '1'"]),
        (True, 1, [" changed: True -> 1"]),
        ("x" * 41, "y" * 41, [" changed"]),
        ("postgres://u:pw@h/a", "postgres://u:pw@h/b", [" changed"]),
        ("Zq7pLANTED1n2x9abc", "Zq7pLANTED1n2x9abd", [" changed"]),
        (
            {"api_key": "a", "n": None},
            {"api_key": "b", "n": 2},
            [": `['api_key']` changed", ": `['n']` changed: None -> 2"],
        ),
        (FRAME, FRAME.assign(age=[30, 41]), [": column `age` changed"]),
        (FRAME, FRAME.assign(age=[30.0, 40.0]), [": column `age` changed: int64[2] -> float64[2]"]),
        (FRAME, FRAME.set_axis([5, 6]), [": index changed"]),
        (FRAME, FRAME.rename(columns={"age": "years"}), [": column `years` was added", ": column `age` was removed"]),
        (FRAME, FRAME.assign(x=1), [": column `x` was added"]),
        (WIDE, WIDE.assign(c77=1), [": column `c77` changed: float64[2] -> int64[2]"]),
        (NESTED, {**NESTED, "seed": 2}, [": `['seed']` changed: 1 -> 2"]),
        (
            NESTED,
            {**NESTED, "model": {"layers": [1, 3], "name": "net"}},
            [": `['model']['layers'][1]` changed: 2 -> 3"],
        ),
        (NESTED, {**NESTED, "data": FRAME.assign(age=1)}, [": `['data']['age']` changed"]),
        (NESTED, {**NESTED, "more": 1}, [": `['more']` was added"]),
        (Options(), Options(rate=0.6), [": `.rate` changed: 0.5 -> 0.6"]),
        (Options(), Options(layers=[3, 5]), [": `.layers[1]` changed: 4 -> 5"]),
        (Options(weights=np.zeros(3)), Options(weights=np.ones(3)), [": `.weights` changed"]),
        ([1, 2, 3], [1, 2, 4], [": `[2]` changed: 3 -> 4"]),
        ([1, [2, 3]], [1, [2, 3, 4]], [": `[1][2]` was added"]),
        (np.zeros(3), np.ones(3), [" changed"]),
        (np.zeros(3), np.zeros(4), [" changed: float64[3] -> float64[4]"]),
        (np.zeros(3), np.zeros(3, "f4"), [" changed: float64[3] -> float32[3]"]),
        ({1, 2}, {1, 3}, [" changed"]),
        (list(range(1000)), list(range(999)), [" changed: list[1000] -> list[999]"]),
        (list(range(20)), list(range(1, 21)), [" changed, in 20 places"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, [" changed"]),
    ],
)
def test_the_part_of_an_argument_that_changed(before: object, after: object, texts: list[str]) -> None:
    old, new = outline_of(before), outline_of(after)
    assert [part.text for part in of_inputs({"x": old}, {"x": new})] == [f"parameter `x`{text}" for text in texts]
    assert list(of_inputs({"x": old}, {"x": outline_of(before)})) == []


def test_values_of_secret_parameters_are_not_kept() -> None:
    digest = fingerprint(7)
    kept = summaries({"n": digest, "password": digest}, {"n": 7, "password": 7}, {})
    assert (kept["n"].partition(" ")[2], kept["password"].partition(" ")[2]) == ("int: 7", "int")
    # Of an earlier release's nothing but the type is kept.
    (found,) = of_inputs({"n": "0 int"}, {"n": kept["n"]})
    assert found.text == "parameter `n` changed"


def outline_of(value: object) -> Any:
    notes: list[Any] = []
    digest = fingerprint(value, notes=notes)
    assert digest == fingerprint(value), "noting changes no digest"
    return summaries({"x": digest}, {"x": value}, {"x": notes})["x"]


def test_what_is_noted_is_bounded() -> None:
    wide = pd.DataFrame(np.zeros((2, 200)))
    deep = {f"k{i}": {f"m{j}": [j, str(j)] for j in range(60)} for i in range(60)}
    for value in (wide, deep, [{"a": i, "b": str(i)} for i in range(5000)]):
        assert isinstance(outline_of(value), str | dict)
        assert len(str(outline_of(value))) < 8000


class Awkward:
    """Answers whatever it is asked with an error, but for its own state."""

    def __init__(self, content: dict[str, int]) -> None:
        self.content = content

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(f"asked for {name}")


def test_objects_are_not_asked_for_what_they_may_not_have() -> None:
    old, new = outline_of(Awkward({"a": 1})), outline_of([Awkward({"a": 2})])
    assert old == {**old, "": old[""].partition(" ")[0] + " Awkward"}
    assert set(new) == {"", "[0].content['a']"}


@pytest.mark.usefixtures("prefect_server")
def test_names_that_are_no_unicode(runs: Runs) -> None:
    odd = Options()
    setattr(odd, "\ud800", 1)
    assert runs(lambda: plain(odd))["plain"].because == "new"
    assert runs(lambda: plain(odd))["plain"].because == "hit", "the result is kept all the same"


def test_parameters_that_came_and_went() -> None:
    found = list(of_inputs({"a": "1 int", "b": "2 int"}, {"a": "1 int", "c": "3 int"}))
    assert [part.text for part in found] == ["parameter `c` was added", "parameter `b` was removed"]


def test_configuration_shows_values_of_parameters_and_no_secret() -> None:
    def parts(**process: Any) -> dict[str, str]:
        return config_parts({"process": process, "reproducibility": {"seed": 3}}, None, "")

    before = parts(parameters={"unit": "m", "api_key": "s3cret"}, environment={"PASSWORD": "hunter2"})
    after = parts(parameters={"unit": "km", "api_key": "0ther"}, environment={"PASSWORD": "hunter3"}, type="x")
    assert "s3cret" not in str(before)
    assert "hunter2" not in str(before)
    assert [part.text for part in of_config(before, after)] == [
        "configuration environment.PASSWORD changed",
        "configuration parameters.api_key changed",
        'configuration parameters.unit: "m" -> "km"',
        "configuration type was added",
    ]


def test_versions_and_code() -> None:
    before = Code(
        {"python": "3.10", "dist:numpy==1.26": "1", "dist:old==1": "2", "m:f": "3", "const:m:N": "4", "m:gone": "5"},
        {"m:f": "def f():\n    return 1", "const:m:N": "1"},
    )
    after = Code(
        {"python": "3.11", "dist:numpy==2.1": "1", "m:f": "x", "const:m:N": "y", "m:new": "7", "const:m:S": "8"},
        {"m:f": "def f():\n    return 2", "const:m:N": "2"},
    )
    found = {part.name: part for part in of_code(before, after)}
    assert [part.text for part in found.values()] == [
        "Python 3.10 -> 3.11",
        "package numpy 1.26 -> 2.1",
        "package old 1 is no longer used",
        "constant m:N: 1 -> 2",
        "code of m:f changed",
        "constant m:S is used now",
        "code of m:gone is no longer used",
        "code of m:new is used now",
    ]
    assert found["m:f"].diff == ("@@ -1,2 +1,2 @@", " def f():", "-    return 1", "+    return 2")


# Runs --------------------------------------------------------------------------------------------

CONFIG = "prefect: {project_id: shop, cache: {processes: {brief: {ttl: 1h}, switched: {enabled: false}}}}"


class Runs:
    """Runs of a project, and what is said of their newest."""

    def __init__(self, root: Path, config: str) -> None:
        self.root = make_project(root, config)

    @property
    def project(self) -> Project:
        return Project.open(self.root)

    def __call__(self, *calls: Callable[[], object]) -> dict[str, Explanation]:
        @flow(project=self.root)
        def calling() -> None:
            for call in calls:
                call()

        calling()
        return {item.label: item for item in self.project.explain("latest")}


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "shop", CONFIG)


@task
def plain(x: Any, y: int = 0) -> int:
    return 1


@task
def large(x: int) -> bytes:
    return bytes(50_000)


@task
def listed(x: int) -> list[int]:
    return [x] * 3


@task
def brief(x: int) -> int:
    return x


@task
def switched(x: int) -> int:
    return x


@task
def nothing(x: int) -> None:
    return None


@task
def locked(x: Any) -> int:
    return 1


@task
def unpicklable(x: int) -> Any:
    return threading.Lock()


@task
def failing(x: int) -> int:
    raise ValueError("on purpose")


@pytest.mark.usefixtures("prefect_server")
def test_every_reason(runs: Runs) -> None:
    calls: list[Callable[[], object]] = [
        lambda: plain(1),
        lambda: brief(1),
        lambda: switched(1),
        lambda: nothing(1),
        lambda: locked(threading.Lock()),
        lambda: unpicklable(1),
        lambda: failing(1, return_state=True),
    ]
    first = runs(*calls)
    noted = {"switched": "off", "locked": "unhashable"}
    assert {name: item.because for name, item in first.items()} == {
        **dict.fromkeys(("plain", "brief", "nothing", "unpicklable", "failing"), "new"),
        **noted,
    }
    project = runs.project
    ((key, record),) = project.kv.scan("process://process[@name='brief']")
    project.kv.put(key, {**record, "ended_at": record["ended_at"] - 7200})
    (first_run,) = project.runs()

    second = runs(*calls)
    assert {name: item.because for name, item in second.items()} == {
        **noted,
        "plain": "hit",
        "brief": "expired",
        "nothing": "not kept",
        "unpicklable": "not kept",
        "failing": "failed",
    }
    assert second["failing"].reason.startswith(f"it failed in run {first_run.run_id}, ")
    assert second["unpicklable"].reason.startswith(f"run {first_run.run_id} computed it, but its result could not be")
    assert "lock" in second["unpicklable"].reason

    # Neither of them has a record, and yet it is known what has changed.
    third = runs(lambda: unpicklable(2), lambda: failing(2, return_state=True))
    assert {name: item.reason for name, item in third.items()} == {
        "unpicklable": "parameter `x` changed: 1 -> 2",
        "failing": "parameter `x` changed: 1 -> 2",
    }


@pytest.mark.usefixtures("prefect_server")
def test_a_path_is_shown_as_other_scalars(runs: Runs) -> None:
    runs(lambda: plain(Path("data/one")))
    assert runs(lambda: plain(Path("data/two")))["plain"].reason == "parameter `x` changed: 'data/one' -> 'data/two'"
    runs(lambda: plain({"file": Path("a")}))
    assert runs(lambda: plain({"file": Path("b")}))["plain"].reason == "parameter `x`: `['file']` changed: 'a' -> 'b'"


@pytest.mark.usefixtures("prefect_server")
def test_what_was_changed_in_the_process(runs: Runs) -> None:
    """A value that depends on it is computed once for each state, and once it is as before, it is a hit again."""

    def reason() -> str:
        return runs(lambda: plain(1))["plain"].reason

    runs(lambda: plain(1))
    with decimal.localcontext() as context:
        context.prec = 5
        assert reason() == "decimal's context: changed"
        context.prec = 6
        assert reason() == "decimal's context: changed"
        assert runs(lambda: plain(1))["plain"].because == "hit"
    assert runs(lambda: plain(1))["plain"].because == "hit"


@pytest.mark.usefixtures("prefect_server")
def test_a_result_that_is_gone(runs: Runs) -> None:
    runs(lambda: large(1))
    invalidate(runs.project, Selection(process="large"))
    invalidated = runs(lambda: large(1))["large"]
    assert invalidated.because == "removed"
    assert invalidated.reason.startswith("its result was invalidated at 20")
    assert invalidated.reason.endswith(" UTC (cache invalidate)")

    ((_, record),) = runs.project.kv.scan("process:")
    runs.project.objects.delete(record["object_key"])
    damaged = runs(lambda: large(1))["large"]
    assert damaged.because == "damaged"
    assert damaged.reason == f"its cached result is damaged: the manifest {record['cache_path']} is gone"

    refreshed = runs(lambda: large.with_options(refresh_cache=True)(1))["large"]
    assert (refreshed.because, refreshed.reason) == ("refreshed", "the cache is refreshed (refresh_cache)")

    ((key, _),) = runs.project.kv.scan("process:")
    runs.project.kv.delete(key)
    gone = runs(lambda: large(1))["large"]
    assert (gone.because, gone.reason[-28:]) == ("removed", "is not in the cache any more")


@pytest.mark.usefixtures("prefect_server")
def test_the_nearest_earlier_result_is_compared(runs: Runs) -> None:
    runs(lambda: plain(FRAME, y=1), lambda: plain(FRAME, y=2))
    runs(lambda: plain({"a": 1}, y=7))
    project = runs.project
    changed = runs(lambda: plain(FRAME.assign(age=0), y=2))["plain"]
    assert changed.reason == "parameter `x`: column `age` changed", "of the one with y=2, although others are newer"
    assert changed.compared_with is not None
    assert changed.compared_with.run_id == project.runs()[2].run_id
    assert changed.compared_with.host

    again = task(ignore=["y"])(plain.fn)
    removed = runs(lambda: again(FRAME, y=2))["plain"]
    assert [part.text for part in removed.differences] == ["parameter `y` was removed"]


@pytest.mark.usefixtures("prefect_server")
def test_mapped_calls_are_explained_one_by_one(runs: Runs) -> None:
    @flow(project=runs.root)
    def mapping() -> None:
        plain.map([1, 2]).wait()

    for because in ("new", "hit"):
        mapping()
        items = {readable(item.path): item for item in runs.project.explain("latest")}
        assert {name: item.because for name, item in items.items()} == {
            "plain": "calls",
            "plain #1": because,
            "plain #2": because,
        }
    assert items["plain"].reason == "2 cached"


@pytest.mark.usefixtures("prefect_server")
def test_several_calls_of_a_task(runs: Runs) -> None:
    runs(lambda: plain(1))
    project = runs.project

    @flow(project=runs.root)
    def calling() -> None:
        plain(2)
        plain(1)
        plain.map([1, 3]).wait()

    calling()
    items = {item.path: item for item in project.explain("latest")}
    assert {readable(path): (item.because, item.calls) for path, item in items.items()} == {
        "plain": ("calls", 4),
        "plain #1": ("changed", 1),
        "plain #2": ("hit", 1),
        "plain #3": ("hit", 1),
        "plain #4": ("changed", 1),
    }
    assert items["//process[@name='plain']"].reason == "2 cached, 2 completed"
    # It is compared with the first call of the run before.
    (first,) = [item for path, item in items.items() if readable(path) == "plain #1"]
    assert [part.text for part in first.differences] == ["parameter `x` changed: 1 -> 2"]

    @flow(project=runs.root)
    def mapping() -> None:
        plain.map([1, 4]).wait()

    mapping()
    items = {item.path: item for item in project.explain("latest", "plain")}
    assert {readable(path): item.because for path, item in items.items()} == {
        "plain": "calls",
        "plain #1": "hit",
        "plain #2": "changed",
    }
    assert items["//process[@name='plain']"].reason == "1 cached, 1 completed"


@pytest.mark.usefixtures("prefect_server")
def test_what_comes_from_a_task_that_was_executed(runs: Runs) -> None:
    @flow(project=runs.root)
    def chained(x: int) -> None:
        plain(listed(x))

    chained(1)
    chained(2)
    by_name = {item.label: item for item in runs.project.explain("latest")}
    assert by_name["plain"].upstream == ("listed",)
    assert by_name["listed"].upstream == ()


@pytest.mark.usefixtures("prefect_server")
def test_in_the_cloud(tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    runs = Runs(tmp_path / "shop", cloud.config("gcp-gcs", f"shop-{uuid.uuid4().hex[:8]}"))
    factors = iter([1.0, 2.0])

    def once() -> dict[str, Explanation]:
        factor = next(factors)

        @task
        def scaled(frame: pd.DataFrame) -> float:
            return float(frame["age"].sum() * factor)

        return runs(lambda: scaled(FRAME if factor == 1.0 else FRAME.assign(age=1)), lambda: nothing(1))

    assert {item.because for item in once().values()} == {"new"}
    second = once()
    assert [part.text for part in second["scaled"].differences] == [
        "parameter `frame`: column `age` changed",
        f"closure variable {__name__}:test_in_the_cloud.<locals>.once.<locals>.scaled:factor: 1.0 -> 2.0",
    ]
    assert second["nothing"].because == "not kept"
    invalidate(runs.project, Selection(process="nothing"))
    assert runs(lambda: nothing(1))["nothing"].because == "removed"


@pytest.mark.usefixtures("prefect_server")
def test_sources_live_as_long_as_results_of_that_code(runs: Runs) -> None:
    runs(lambda: plain(1), lambda: brief(1))
    project = runs.project
    sources = {info.key for info in project.objects.list("cache/sources/")}
    assert len(sources) == 2
    ((_, record),) = project.kv.scan("process://process[@name='plain']")
    parts = load_parts(record["parts"])
    assert parts is not None
    assert set(parts["inputs"]) == {"x", "y"}
    runs(lambda: plain(2))
    assert {info.key for info in project.objects.list("cache/sources/")} == sources, "shared by all of that code"

    collect(project, at_once=True)
    assert {info.key for info in project.objects.list("cache/sources/")} == sources
    invalidate(project, Selection(process="brief"))
    collect(project, at_once=True)
    assert len({info.key for info in project.objects.list("cache/sources/")}) == 1
    collect(project, Policy(older_than=timedelta(0)), at_once=True)
    assert not list(project.objects.list("cache/"))


@pytest.mark.usefixtures("prefect_server")
def test_settings_that_count_for_the_class_of_an_argument(runs: Runs) -> None:
    """A task on frames depends on the dialects of csv; one that is there from the start is no change of its own."""
    csv.register_dialect("semicolons", delimiter=";")
    try:
        runs(lambda: plain(FRAME, y=1))
        assert runs(lambda: plain(FRAME, y=1))["plain"].status == "cached"
        csv.register_dialect("semicolons", delimiter=",")
        assert runs(lambda: plain(FRAME, y=1))["plain"].status == "completed"
    finally:
        csv.unregister_dialect("semicolons")
