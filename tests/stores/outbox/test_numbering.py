"""Steps of points that were logged without one: after the highest of their series, and none of them twice."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.stores.outbox import numbering
from expops_prefect.stores.outbox.changes import Append
from expops_prefect.stores.outbox.numbering import LoggedPoint, StepNumbers, with_steps
from expops_prefect.stores.outbox.outbox import Outbox

KEY = names.metrics_key("run", "//process[@name='train']")
OTHER = names.metrics_key("run", "//process[@name='test']")
PROCESSES = 4
TURNS = 30


@pytest.fixture
def kv(tmp_path: Path) -> Iterator[SQLiteKV]:
    made = SQLiteKV(tmp_path / "kv.sqlite")
    yield made
    made.close()


def outbox(folder: Path, flush_seconds: float = 0.01) -> Outbox:
    """An outbox as another process of the project has it."""
    kv = SQLiteKV(folder / "kv.sqlite")
    return Outbox(kv, LocalObjects(folder / "objects"), folder / "outbox", flush_seconds=flush_seconds)


def loss(*values: int | tuple[int, int]) -> Append:
    """Points by their values, or by values and steps."""
    return Append(
        KEY,
        [LoggedPoint("loss", *value) if isinstance(value, tuple) else LoggedPoint("loss", value) for value in values],
    )


def test_points_that_all_have_steps_need_no_number() -> None:
    assert with_steps([LoggedPoint("loss", 0.5, 3), LoggedPoint("acc", 1, -1)]) == [
        MetricPoint("loss", 0.5, 3),
        MetricPoint("acc", 1, -1),
    ]
    assert with_steps([LoggedPoint("loss", 0.5, 3), LoggedPoint("loss", 1)]) is None
    assert with_steps([]) == []


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in batches of their own"])
def test_logged_steps_among_points_without_one(kv: SQLiteKV, tmp_path: Path, together: bool) -> None:
    box = outbox(tmp_path)
    changes = [
        loss(1, 2),
        Append(KEY, [LoggedPoint("acc", 1)]),
        loss((9, 2), (7, 30), (6, 0)),
        loss(5),
        Append(KEY, [LoggedPoint("acc", 2), LoggedPoint("below", 1, -5), LoggedPoint("below", 2)]),
        loss((1, 40), 2, (3, 35), 4),
    ]
    if together:
        box.write(*changes)
    else:
        for change in changes:
            box.write(change)
            assert box.flush(10)
    assert box.settle(10)
    expected = {"0": 6, "1": 1, "2": 9, "30": 7, "31": 5, "35": 3, "40": 1, "41": 2, "42": 4}
    assert kv.get(KEY) == {"loss": expected, "acc": {"1": 1, "2": 2}, "below": {"-5": 1, "1": 2}}
    assert list((kv.get(KEY) or {})["loss"]) == list(expected)
    box.close(5)


def test_points_of_others_come_first(kv: SQLiteKV, tmp_path: Path) -> None:
    """They stand in the store, without any counter."""
    kv.put(KEY, {"loss": {"10": 1.0, "9": 0.5}, "acc": {"1": 2}, "none": {}})
    box = outbox(tmp_path)
    box.write(loss(2), Append(KEY, [LoggedPoint("new", 3), LoggedPoint("none", 4)]))
    assert box.settle(10)
    found = {"loss": {"9": 0.5, "10": 1.0, "11": 2}, "acc": {"1": 2}, "new": {"1": 3}, "none": {"1": 4}}
    assert kv.get(KEY) == found
    box.close(5)


def test_the_next_process_goes_on(kv: SQLiteKV, tmp_path: Path) -> None:
    for turn in range(3):
        box = outbox(tmp_path)
        box.write(loss(10 * turn + 1), loss(10 * turn + 2))
        assert box.flush(10)
        box.write(loss((10 * turn + 3, 100 * turn + 50)))  # no point without a step: no counter is told
        assert box.close(10)
    steps = {"1": 1, "2": 2, "50": 3, "51": 11, "52": 12, "150": 13, "151": 21, "152": 22, "250": 23}
    assert kv.get(KEY) == {"loss": steps}


def _log(folder: Path, number: int) -> None:
    box = outbox(folder)
    for turn in range(TURNS):
        box.write(
            Append(KEY, [LoggedPoint("loss", f"{number}.{turn}"), LoggedPoint(f"own {number}", turn, 10 * turn)]),
            Append(KEY, [LoggedPoint(f"own {number}", -turn)]),
        )
        if turn % 3 == number % 3:
            assert box.flush(30)
    assert box.close(30)


def test_processes_never_take_the_same_number(kv: SQLiteKV, tmp_path: Path) -> None:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_log, tmp_path, number) for number in range(PROCESSES)]:
            future.result()
    series = kv.get(KEY)
    assert series is not None
    assert list(series["loss"]) == [str(step) for step in range(1, PROCESSES * TURNS + 1)]
    for number in range(PROCESSES):
        mine = [value for value in series["loss"].values() if value.startswith(f"{number}.")]
        assert mine == [f"{number}.{turn}" for turn in range(TURNS)]
        own = {str(10 * turn): turn for turn in range(TURNS)} | {str(10 * turn + 1): -turn for turn in range(TURNS)}
        assert series[f"own {number}"] == own


def test_a_batch_that_is_sent_again_has_its_numbers(kv: SQLiteKV, tmp_path: Path) -> None:
    """Its process was killed after the delivery and before the note of it; others went on in between."""
    box = outbox(tmp_path, flush_seconds=30)
    box.write(loss(1, 2, (3, 7), 4))
    journal = box._journal
    assert journal is not None
    journal.finish = lambda end: None  # type: ignore[method-assign]
    with box._delivering:
        box._deliver(journal)
    other = outbox(tmp_path)
    other.write(loss(10), loss((11, 20), 12))
    assert other.settle(10)
    expected = {"loss": {"1": 1, "2": 2, "7": 3, "8": 4, "9": 10, "20": 11, "21": 12}}
    assert kv.get(KEY) == expected
    journal.release()
    box._journal = None
    assert other.deliver_orphans() == 1
    assert kv.get(KEY) == expected
    other.write(loss(13))
    assert other.settle(10)
    assert (kv.get(KEY) or {})["loss"] == {**expected["loss"], "22": 13}
    other.close(5)
    box.close(0)


def test_a_batch_that_was_numbered_and_not_noted(kv: SQLiteKV) -> None:
    """It has not been sent either: a gap is all that may come of it."""
    points = [LoggedPoint("loss", 0.5), LoggedPoint("loss", 0.25)]
    first = StepNumbers(kv).number(KEY, points, "a:1")
    assert [point.step for point in first] == [1, 2]
    assert StepNumbers(kv).number(KEY, points, "a:1") == first
    others = StepNumbers(kv).number(KEY, points, "b:1")
    assert [point.step for point in others] == [3, 4]
    assert [point.step for point in StepNumbers(kv).number(KEY, points, "a:1")] == [5, 6]


def test_more_series_than_are_kept_in_mind(kv: SQLiteKV, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, "_MOST_KNOWN", 1)
    numbers = StepNumbers(kv)
    for turn in range(1, 4):
        for key in (KEY, OTHER):
            points = numbers.number(
                key,
                [LoggedPoint("loss", turn), LoggedPoint("acc", turn, 10 * turn), LoggedPoint("acc", 0)],
                f"{key}:{turn}",
            )
            assert [point.step for point in points] == [turn, 10 * turn, 10 * turn + 1]
            kv.append_metrics(key, points)
            numbers.saw(key, points)
    assert len(numbers._highest) == 1
