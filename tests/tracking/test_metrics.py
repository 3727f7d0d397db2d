"""Every kind of number that people log, and what is refused; nothing reaches the flow as an exception."""

from __future__ import annotations

import enum
import logging
import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from expops_prefect import log_chart, log_metric, log_metrics
from expops_prefect.config import load_settings
from expops_prefect.errors import KVError
from expops_prefect.project import Project
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.tracking import api
from expops_prefect.tracking.metrics import MetricRefusedError, metric_points
from expops_prefect.tracking.run import Run

RUN = "project-shop-20260101000000-0000abcd"


class Tensor:
    """Behaves like torch's: ``size`` is a method, and only one element gives an item."""

    def __init__(self, *elements: Any) -> None:
        self.elements = elements

    def size(self) -> tuple[int, ...]:
        return (len(self.elements),)

    def item(self) -> Any:
        if len(self.elements) != 1:
            raise RuntimeError(f"a Tensor with {len(self.elements)} elements cannot be converted to Scalar")
        return self.elements[0]

    def __float__(self) -> float:
        return float(self.item())


class Level(enum.IntEnum):
    HIGH = 3


class Floating:
    def __float__(self) -> float:
        return 2.5


class Hostile:
    """Its conversion raises something of its own, and it cannot even be shown."""

    def __float__(self) -> float:
        raise LookupError("hostile")

    def __repr__(self) -> str:
        raise LookupError("hostile")


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (3, 3),
        (-(2**63), -(2**63)),
        (2**63 - 1, 2**63 - 1),
        (2**63, float(2**63)),
        (10**300, 1e300),
        (0.1, 0.1),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (Decimal("0.1"), 0.1),
        (Decimal("NaN"), "NaN"),
        (Decimal("-Infinity"), "-Infinity"),
        (Decimal("1e400"), "Infinity"),
        (Fraction(1, 4), 0.25),
        (Level.HIGH, 3),
        (Floating(), 2.5),
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.float16(np.nan), "NaN"),
        (np.longdouble(0.5), 0.5),
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), float(2**64 - 1)),
        (np.int64(7), 7),
        (np.array(1.5), 1.5),
        (np.array([1.5]), 1.5),
        (np.array([[2]]), 2),
        (np.array(Decimal("0.5"), dtype=object), 0.5),
        (Tensor(0.25), 0.25),
        (Tensor(4), 4),
    ],
)
def test_numbers(value: Any, stored: Any) -> None:
    (point,) = metric_points([("m", value)], None)
    assert point == LoggedPoint("m", stored, None)
    assert type(point.value) is type(stored)
    if isinstance(stored, float):
        assert math.copysign(1, point.value) == math.copysign(1, stored)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        np.array([True]),
        Tensor(False),
        "0.5",
        b"0.5",
        np.str_("0.5"),
        None,
        1j,
        np.complex128(1),
        [1.0],
        {"a": 1},
        np.array([1.0, 2.0]),
        np.array([]),
        np.array("2020-01-01", dtype="datetime64[D]"),
        Tensor(1.0, 2.0),
        Decimal("sNaN"),
        10**400,
        10**5000,
        Fraction(10**400),
        object(),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_no_number_is_refused_with_advice(value: Any) -> None:
    with pytest.raises(MetricRefusedError, match=r"^metric 'm' is .*pass a number") as refused:
        metric_points([("m", value)], None)
    assert len(str(refused.value)) < 300


def test_names_and_steps() -> None:
    def names(*given: Any) -> list[str]:
        return [point.name for point in metric_points([(name, 1) for name in given], None)]

    assert names("loss", "val/loss", "ä b") == ["loss", "val/loss", "ä b"]
    # Those that make phantom runs, or that a backend refuses, are changed.
    changed = names("status", "__name__")
    assert "status" not in changed
    assert not any(name.startswith("__") for name in changed)
    for name in ("", None, 3):
        with pytest.raises(MetricRefusedError, match="name"):
            names(name)

    assert [metric_points([("m", 1)], step)[0].step for step in (None, 0, 5, np.int64(7), Tensor(8))] == [
        None,
        0,
        5,
        7,
        8,
    ]
    for bad_step in (1.0, True, "1", np.array([1, 2]), Tensor(1, 2), math.nan, 2**63, -(2**63) - 1, 10**5000):
        with pytest.raises(MetricRefusedError, match="whole number"):
            metric_points([("m", 1)], bad_step)


class Kept:
    """Stands for the run that is recorded: keeps what it is given."""

    def __init__(self) -> None:
        self.points: list[LoggedPoint] = []

    def add_metrics(self, path: str, points: list[LoggedPoint]) -> None:
        self.points += points


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Kept:
    found = Kept()
    monkeypatch.setattr(api, "_here", lambda what: (found, "//process[@name='train']"))
    return found


def test_nothing_is_raised_and_the_good_ones_are_kept(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "prefect.expops"):
        log_metrics({"good one": 1.0, "text one": "high", "hostile one": Hostile(), "good two": 2}, step=4)
        log_metrics(["no", "dictionary"])  # type: ignore[arg-type]
        for number in range(50):
            log_metric("the same again", f"bad {number}")
    assert kept.points == [LoggedPoint("good one", 1.0, 4), LoggedPoint("good two", 2, 4)]
    said = [record.getMessage() for record in caplog.records]
    assert sum("'text one' is 'high'; pass a number" in line for line in said) == 1
    assert sum("hostile" in line for line in said) == 1
    assert sum("log_metrics takes a dictionary, not list" in line for line in said) == 1
    assert sum("the same again" in line for line in said) == 1, "once for each metric, not for each value"


def test_a_recorder_that_fails_fails_no_task(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*given: Any) -> None:
        raise OSError("no such device")

    run = SimpleNamespace(add_metrics=broken, add_chart=broken)
    monkeypatch.setattr(api, "_here", lambda what: (run, "//process[@name='train']"))
    log_metric("loss", 1.0)
    log_chart("picture", b"\x89PNG\r\n")
    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in said] == ["metrics not recorded", "charts not recorded"]


def test_points_under_a_store_that_fails_and_recovers(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "project_config.yaml").write_text("prefect: {record: {flush_seconds: 0.01}}")
    project = Project(load_settings(tmp_path, environ={}))
    run = Run(project, RunRecord(RUN, "shop", "main", "f", "n", 1.0), owner=True)
    append, calls = project.kv.append_metrics, [0]

    def failing(key: str, points: Any) -> None:
        calls[0] += 1
        if calls[0] <= 3:
            raise KVError("away")
        append(key, points)

    monkeypatch.setattr(project.kv, "append_metrics", failing)
    for number in range(3000):
        run.add_metrics(f"//process[@name='p{number % 3}']", [LoggedPoint("m", number)])
    # They wait on disk, not in memory, however long the store is away.
    assert run.outbox.pending > 0
    assert not run.outbox._memory
    assert run.outbox.flush(30)
    assert calls[0] > 3
    found = project.metrics(RUN)
    for remainder in range(3):
        series = found[f"//process[@name='p{remainder}']"]["m"]
        assert series == {str(step): number for step, number in enumerate(range(remainder, 3000, 3), 1)}
    project.outbox.close(5)
