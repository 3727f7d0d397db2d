"""Which results are hits, which are only kept for references to them, and what a task run leaves in memory."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.serializers import JSONSerializer
from prefect.states import Failed
from prefect.transactions import transaction

import expops_prefect
from expops_prefect import EXPOPS
from expops_prefect._internal import diagnostics
from expops_prefect.cache.session import session
from expops_prefect.project import Project
from expops_prefect.record.cache_records import KEPT
from tests.config.support import open_project
from tests.support.server import wait_until

pytestmark = pytest.mark.usefixtures("prefect_server")

RAN: list[Any] = []


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    RAN.clear()
    session().in_forked_child()
    return open_project(tmp_path / "shop")


class Big:
    """A result that can be watched."""


@pytest.mark.parametrize("decorate", [task, expops_prefect.task])
@pytest.mark.parametrize("serializer", [None, "json", "pickle", "compressed/pickle"])
def test_none_is_executed_every_time_whatever_serializer(decorate: Callable[..., Any], serializer: str | None) -> None:
    @decorate(cache_policy=EXPOPS - "ran", result_serializer=serializer)
    def nothing(number: int, ran: list[Any]) -> int | None:
        ran.append(number)
        return number or None

    @flow
    def run() -> list[int | None]:
        return [nothing(0, RAN), nothing(1, RAN)]

    assert run() == [None, 1]
    assert run() == [None, 1]
    assert RAN == [0, 1, 0]


@pytest.mark.parametrize("serializer", [None, "json"])
def test_a_result_that_is_no_hit_is_found_by_whoever_refers_to_it(project: Project, serializer: str | None) -> None:
    @task(cache_policy=EXPOPS - "ran", persist_result=True, result_serializer=serializer)
    def nothing(ran: list[Any]) -> None:
        ran.append("nothing")

    @flow(persist_result=False)
    def run() -> State[Any]:
        return nothing(RAN, return_state=True)

    counts = []
    for _ in range(2):
        state = run()
        # What another process has of a state: the reference.
        data: Any = state.data
        elsewhere: State[Any] = state.model_copy(update={"data": data.metadata})
        assert elsewhere.result() is None
        (record,) = [value for _, value in project.kv.scan("process:")]
        assert record["status"] == KEPT
        counts.append(record["ended_at"])
    assert RAN == ["nothing", "nothing"]
    assert counts[0] == counts[1], "the same None needs no second record"


def test_a_returned_failed_state_is_no_hit() -> None:
    @expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
    def refuse(ran: list[Any]) -> Any:
        ran.append("refuse")
        return Failed(message="no", data={"why": "because"})

    @expops_prefect.flow
    def run() -> str:
        return str(refuse(RAN, return_state=True).type.value)

    assert run(return_state=True).result(raise_on_failure=False) == "FAILED"
    assert run(return_state=True).result(raise_on_failure=False) == "FAILED"
    assert RAN == ["refuse", "refuse"]


@pytest.mark.parametrize("serializer", [None, "pickle"])
def test_a_class_that_is_gone_is_a_miss(monkeypatch: pytest.MonkeyPatch, serializer: str | None) -> None:
    module = types.ModuleType("expops_moved")
    exec("class Point:\n    def __init__(self, x): self.x = x", module.__dict__)
    monkeypatch.setitem(sys.modules, "expops_moved", module)

    @task(cache_policy=EXPOPS - "ran", result_serializer=serializer)
    def make(x: int, ran: list[Any]) -> Any:
        ran.append(x)
        return sys.modules["expops_moved"].__dict__.get("Point", Big)(*([x] if len(ran) < 3 else []))

    @flow
    def run() -> Any:
        return make(1, RAN)

    values: list[Any] = [run(), run()]
    assert [value.x for value in values] == [1, 1]
    assert RAN == [1]
    del module.Point
    RAN.extend([0, 0])
    before = diagnostics.counts().get("damaged results", 0)
    assert isinstance(run(), Big)
    assert diagnostics.counts()["damaged results"] == before + 1
    assert RAN == [1, 0, 0, 1]


def test_a_serializer_that_changed_is_no_trouble() -> None:
    @task(cache_policy=EXPOPS - "ran")
    def make(x: int, ran: list[Any]) -> list[int]:
        ran.append(x)
        return [x]

    @flow
    def run(serializer: Any) -> list[int]:
        return make.with_options(result_serializer=serializer)(1, RAN)

    assert run(JSONSerializer()) == run(None) == run("pickle") == [1]
    assert RAN == [1]


@pytest.mark.parametrize("decorate", [task, expops_prefect.task])
@pytest.mark.parametrize("how", ["executed", "hit", "in a transaction"])
def test_a_task_run_that_ended_keeps_nothing_in_memory(decorate: Callable[..., Any], how: str) -> None:
    watched: list[weakref.ref[Any]] = []

    @decorate(cache_policy=EXPOPS - "watched")
    def make(watched: list[Any]) -> Any:
        return Big()

    @flow
    def run() -> None:
        if how == "in a transaction":
            with transaction():
                watched.append(weakref.ref(make(watched)))
        else:
            watched.append(weakref.ref(make(watched)))

    if how == "hit":
        run()
    run()

    def forgotten() -> bool:
        gc.collect()
        return all(found() is None for found in watched)

    # Threads of Prefect's that send events and logs may be in the middle of them.
    wait_until(forgotten, 20, "nothing is kept")
    assert watched
    assert len(session()) == 0


def test_a_result_without_the_files_that_it_names_is_no_hit(project: Project, tmp_path: Path) -> None:
    def write(name: str, ran: list[Any]) -> Path:
        ran.append(name)
        made = tmp_path / name
        made.write_text(name)
        return made

    @expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
    def one(ran: list[Any]) -> Path:
        return write("one", ran)

    @expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
    def several(ran: list[Any]) -> dict[str, Any]:
        return {"rows": 2, "report": write("several", ran)}

    @expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
    def planned(ran: list[Any]) -> list[Path]:
        ran.append("planned")
        return [tmp_path / "not written yet"]

    @expops_prefect.flow
    def run() -> list[Any]:
        return [one(RAN), several(RAN), planned(RAN)]

    first = run()
    assert run() == first
    assert RAN == ["one", "several", "planned"]
    (tmp_path / "one").unlink()
    (tmp_path / "several").unlink()
    assert run() == first
    assert RAN[3:] == ["one", "several"]
    assert (tmp_path / "several").read_text() == "several"
    (answer,) = project.explain("latest", "one")
    assert f"the result contains the path {tmp_path / 'one'}, which no longer exists" in answer.reason
    assert run() == first
    assert len(RAN) == 5


def test_what_fails_while_a_body_is_judged_stays_with_us(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("expops_prefect.cache.observation.Observation._changed_arguments", fail)

    @expops_prefect.task(ignore=["ran"], cache_policy=EXPOPS)
    def double(numbers: list[int], ran: list[Any]) -> list[int]:
        ran.append("double")
        return [number * 2 for number in numbers]

    @expops_prefect.flow
    def run() -> list[int]:
        return double([1, 2], RAN)

    before = diagnostics.counts().get("bodies not watched", 0)
    assert run() == run() == [2, 4]
    assert RAN == ["double", "double"], "what could not be judged is no hit"
    assert diagnostics.counts()["bodies not watched"] == before + 2
