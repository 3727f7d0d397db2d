"""How calls of one name add up, and which call is which."""

from __future__ import annotations

import itertools
from dataclasses import asdict
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expops_prefect.config import load_settings
from expops_prefect.errors import FormatError
from expops_prefect.models.names import normalise, process_path
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.record.process_rows import STATUSES, Row, Status, single_calls
from expops_prefect.record.row_changes import add_to_total, call_row, changed_total, cut_off, total_arguments
from expops_prefect.record.run_records import RunRecord
from expops_prefect.run_context import Call, RunContext
from expops_prefect.tracking.run import Run

RUN = "project-shop-20260101000000-0000abcd"
TOTAL = process_path("train")


def call(number: int = 1, attempt: int = 1) -> Call:
    path = TOTAL if number == 1 else process_path("train", number)
    return Call(RUN, cast("Project", None), "train", "train", path, TOTAL, path, None, attempt, path)


Step = tuple[int, Status, float]
"""Which call, what it becomes, and when."""


def add_up(steps: list[Step], *, attempt: int = 1, row: Any = None) -> dict[str, Any]:
    """The row after these steps, with the fields that a run gives."""
    before: dict[int, Status] = {}
    started: dict[int, float] = {}
    for number, status, now in steps:
        started.setdefault(number, now)
        ended = None if status == "running" else now
        fields: dict[str, Any] = {"started_at": started[number], "ended_at": ended, "upstream": []}
        if status == "cached":
            fields |= {"cached_run_id": f"run {number}", "cached_execution_time": 5.0}
        if number == 1:
            fields["cache_key"] = "of the first"
        row = add_to_total(row, call(number, attempt), before.get(number), status, fields)
        before[number] = status
    return cast("dict[str, Any]", row)


@pytest.mark.parametrize(
    ("steps", "status", "calls", "times"),
    [
        ([(1, "running", 1)], "running", {"running": 1}, (1, None)),
        ([(1, "running", 1), (1, "completed", 3)], "completed", {"completed": 1}, (1, 3)),
        ([(1, "running", 1), (1, "failed", 3)], "failed", {"failed": 1}, (1, 3)),
        ([(1, "cached", 2)], "cached", {"cached": 1}, (2, 2)),
        ([(1, "failed", 2)], "failed", {"failed": 1}, (2, 2)),
        # Two calls: running while any runs, whatever the other one did.
        ([(1, "running", 1), (2, "running", 2), (1, "failed", 3)], "running", {"running": 1, "failed": 1}, (1, None)),
        (
            [(1, "running", 1), (2, "running", 2), (1, "failed", 3), (2, "completed", 4)],
            "failed",
            {"failed": 1, "completed": 1},
            (1, 4),
        ),
        # One after the other: the span grows, and is open in between.
        (
            [(1, "running", 1), (1, "completed", 2), (2, "running", 5)],
            "running",
            {"completed": 1, "running": 1},
            (1, None),
        ),
        (
            [(1, "running", 1), (1, "completed", 2), (2, "running", 5), (2, "completed", 6)],
            "completed",
            {"completed": 2},
            (1, 6),
        ),
        # The one that began first ends last.
        (
            [(1, "running", 1), (2, "running", 2), (2, "completed", 3), (1, "completed", 9)],
            "completed",
            {"completed": 2},
            (1, 9),
        ),
        # A later call may be known to have begun earlier, and to have ended earlier.
        ([(1, "cached", 8), (2, "cached", 3)], "cached", {"cached": 2}, (3, 8)),
        (
            [(1, "cached", 1), (2, "running", 2), (2, "completed", 3)],
            "completed",
            {"cached": 1, "completed": 1},
            (1, 3),
        ),
        (
            [(1, "running", 1), (1, "completed", 2), (2, "cached", 3)],
            "completed",
            {"cached": 1, "completed": 1},
            (1, 3),
        ),
        ([(1, "cached", 1), (2, "failed", 2)], "failed", {"cached": 1, "failed": 1}, (1, 2)),
    ],
)
def test_sums(steps: list[Step], status: str, calls: dict[str, int], times: tuple[float, float | None]) -> None:
    row = add_up(steps)
    assert row["status"] == status
    assert row["calls"] == calls
    assert (row["started_at"], row["ended_at"]) == times
    start, end = times
    assert row["execution_time"] == (None if end is None else end - start)
    # What ExpOps' clients ask of every row.
    assert (row["process_name"], row["step_name"], row["run_id"]) == (TOTAL, "__process__", RUN)
    # Whose result it was means something only where nothing was executed.
    assert ("cached_run_id" in row) == (status == "cached")
    assert ("cached_execution_time" in row) == (status == "cached")


PATHS: list[list[Status]] = [
    ["running", "completed"],
    ["running", "failed"],
    ["cached"],
    ["running"],
    ["failed"],
]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(chosen=st.lists(st.sampled_from(PATHS), min_size=1, max_size=5), data=st.data())
def test_sums_of_calls_in_any_order(chosen: list[list[Status]], data: st.DataObject) -> None:
    # Every order in which the calls of several processes may be taken in.
    turns = list(itertools.chain.from_iterable([number] * len(path) for number, path in enumerate(chosen, 1)))
    order = data.draw(st.permutations(turns))
    left = {number: list(path) for number, path in enumerate(chosen, 1)}
    row = add_up([(number, left[number].pop(0), float(now)) for now, number in enumerate(order)])
    final = [path[-1] for path in chosen]
    assert row["calls"] == {status: final.count(status) for status in set(final)}
    expected = "completed"
    if "running" in final:
        expected = "running"
    elif "failed" in final:
        expected = "failed"
    elif set(final) == {"cached"}:
        expected = "cached"
    assert row["status"] == expected
    assert row["started_at"] == 0.0
    assert row["ended_at"] == (None if expected == "running" else float(len(order) - 1))
    # The first call's own end is there too, whenever the others came.
    first = Row.load(TOTAL, row).first
    if len(chosen) == 1:
        assert first is None
        return
    assert first is not None
    at = [now for now, number in enumerate(order) if number == 1]
    assert (first.path, first.status) == (process_path("train", 1), final[0])
    assert (first.started_at, first.ended_at) == (at[0], None if final[0] == "running" else at[-1])
    assert first.cached_run_id == ("run 1" if final[0] == "cached" else None)
    assert first.fields["cache_key"] == "of the first"


def test_what_an_older_release_summed_up_or_left_to_deliver() -> None:
    older = add_up([(1, "cached", 1), (2, "cached", 2)])
    del older["first"]
    assert Row.load(TOTAL, older).first is None
    row = add_up([(3, "cached", 3)], row=older)
    assert (row["calls"], Row.load(TOTAL, row).first) == ({"cached": 3}, None)
    waiting = total_arguments(call(), None, "cached", {"started_at": 1.0, "ended_at": 2.0})
    del waiting["first"]
    assert "first" not in changed_total(None, waiting)


def test_each_call_once() -> None:
    rows = [Row.load(TOTAL, add_up([(1, "cached", 1), (2, "cached", 2)])), Row.load(TOTAL + "x", {"status": "failed"})]
    assert [row.path for row in single_calls(rows)] == [process_path("train", 1), TOTAL + "x"]
    # Whoever may write to the store may write anything.
    damaged = Row.load(TOTAL, {"calls": {"cached": 2}, "first": [1]})
    assert damaged.first is None
    odd = Row.load("odd", {"calls": {"cached": 2}, "first": {"status": 3, "started_at": "x"}}).first
    assert odd is not None
    assert (odd.path, odd.status, odd.started_at) == ("odd", "pending", None)


def test_a_task_that_is_mapped_over_one_item_is_one_call() -> None:
    total = Row.load(TOTAL, {"status": "cached", "calls": {"cached": 1}})
    mapped = Row.load(process_path("train", 1), {"status": "cached"})
    assert list(single_calls([total, mapped])) == [mapped]
    assert list(single_calls([total])) == [total]


def test_a_flow_that_starts_again_counts_anew() -> None:
    first = add_up([(1, "running", 1), (1, "completed", 2), (2, "running", 3), (2, "failed", 4)])
    second = add_up([(1, "cached", 10)], attempt=2, row=first)
    assert second["calls"] == {"cached": 1}
    assert (second["status"], second["started_at"], second["ended_at"]) == ("cached", 10, 10)
    assert second["attempt"] == 2


def test_upstream_is_gathered() -> None:
    row = None
    for names in (["load"], ["clean", "load"], []):
        row = add_to_total(row, call(), None, "completed", {"started_at": 1, "ended_at": 2, "upstream": names})
    assert row is not None
    assert row["upstream"] == ["clean", "load"]


def test_the_row_of_a_call() -> None:
    row = call_row(call(3), "running", {"started_at": 4.0, "ended_at": None})
    assert row["process_name"] == "//*[@partition='p3']/process[@name='train']"
    assert (row["status"], row["execution_time"]) == ("running", None)
    # A clock that was set back does not make negative times.
    assert call_row(call(3), "completed", {"started_at": 4.0, "ended_at": 3.0})["execution_time"] == 0.0


def test_calls_whose_process_died() -> None:
    total = add_up([(1, "running", 1), (1, "completed", 2), (2, "running", 3), (3, "running", 4)])
    assert total["status"] == "running"
    ended = cut_off(total, 9.0)
    assert ended["status"] == "failed"
    assert ended["calls"] == {"completed": 1, "failed": 2}
    assert (ended["started_at"], ended["ended_at"], ended["execution_time"]) == (1, 9.0, 8.0)
    first = cut_off(add_up([(1, "running", 1), (2, "running", 3)]), 9.0)["first"]
    assert (first["status"], first["ended_at"], first["execution_time"]) == ("failed", 9.0, 8.0)
    one = cut_off(call_row(call(2), "running", {"started_at": 3.0, "ended_at": None}), 9.0)
    assert (one["status"], one["execution_time"], one.get("calls")) == ("failed", 6.0, None)


@pytest.fixture
def run(tmp_path: Any) -> Run:
    project = Project(load_settings(tmp_path, environ={}))
    return Run(project, RunRecord(RUN, "shop", "main", "f", "n", 1.0), owner=True)


def test_numbers_of_calls(run: Run) -> None:
    calls = [run.new_call(None, "train", "train") for _ in range(3)]
    assert [made.path for made in calls] == [TOTAL, process_path("train", 2), process_path("train", 3)]
    assert {made.total for made in calls} == {TOTAL}
    mapped = [run.new_call(None, "score", "score", mapped=True) for _ in range(2)]
    assert [made.path for made in mapped] == [process_path("score", 1), process_path("score", 2)]
    # A plain call after mapped ones is one more of them.
    assert run.new_call(None, "score", "score").path == process_path("score", 3)

    # Steps are numbered within the call that they belong to, and a step of a step is a step of the process.
    first, second = (RunContext(run, made) for made in calls[:2])
    inner = run.new_call(first, "prepare", "prepare")
    assert inner.path == f"{TOTAL}/step[@name='prepare']"
    assert run.new_call(first, "prepare", "prepare").path == f"{TOTAL}/*[@partition='p2']/step[@name='prepare']"
    other = run.new_call(second, "prepare", "prepare")
    assert other.path == f"{process_path('train', 2)}/step[@name='prepare']"
    deep = run.new_call(RunContext(run, inner), "load", "load")
    assert deep.path == f"{TOTAL}/step[@name='load']"
    assert deep.step_of == (TOTAL, "load")


def test_names_never_fall_together() -> None:
    odd = ["my task", "my-task", "my/task", "my_task", "My-task", "my--task", "status", "Status", "a" * 200, "a" * 201]
    odd += [
        "",
        " ",
        "-",
        "_",
        "__process__",
        "__x__",
        ".",
        "..",
        "日本",
        "日本語",
        "<b>",
        "a:b",
        "a%b",
        "tab\tx",
        "\u00e9",
        "e\u0301",
    ]
    found = {name: normalise(name) for name in odd}
    assert len(set(found.values())) == len(odd), found
    for name, made in found.items():
        assert normalise(made) == made, "a normalised name stays as it is"
        assert made.lower() != "status", name
        assert process_path(made)
    assert found["my-task"] == "my-task"
    assert found["my_task"] == "my_task"
    assert len(found["a" * 200]) <= 80


ODD: list[Any] = [None, 7, -1.5, True, "text", [], ["a", 1], {}, {"a": 1}, {"completed": "two"}]


@pytest.mark.parametrize("name", ["status", "started_at", "execution_time", "calls", "upstream", "label", "cache_path"])
@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_row_of_any_kind_is_read_and_shown(name: str, odd: Any) -> None:
    """Others may write to the store, too."""
    row = Row.load("//process[@name='train']", {"status": "completed", "started_at": 1.0, name: odd})
    assert row.status in STATUSES
    assert isinstance(row.label, str)
    assert all(isinstance(item, str) for item in row.upstream)
    assert sum(row.calls.values()) >= 0
    for time in (row.started_at, row.ended_at, row.execution_time):
        assert time is None or time >= -1.5
    assert row.fields.get(name) in (odd, None, "pending")


def test_what_is_no_row_at_all() -> None:
    for odd in ODD:
        assert Row.load("//process[@name='train']", odd).status == "pending"


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_damaged_records_are_said_to_be(odd: Any) -> None:
    """They are left out: what uses them need not doubt their fields."""
    run = asdict(RunRecord("run", "shop", "main", "id", "name", 1.0))
    entry = CacheRecord("completed", "p", "run", "//p", 1.0, 2.0, 1.0, "key", "digest", 3, "stamp", "packed").dump()
    for value, kind in ((run, RunRecord), (entry, CacheRecord)):
        for name in value:
            if type(odd) is type(value[name]) or name == "format":
                continue
            try:
                loaded = kind.load({**value, name: odd})
            except FormatError:
                continue
            kept = getattr(loaded, name)
            assert kept == odd or kept == tuple(odd)
            assert type(kept) in {bool, int, float, str, tuple, dict, type(None)}
            if name in ("status", "flow", "path", "digest", "object_key"):
                assert isinstance(kept, str)
