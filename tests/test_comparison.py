"""What differs between two runs."""

from __future__ import annotations

from typing import Any

from expops_prefect.models.names import CacheKey, process_path
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views.comparison import Comparison, Metrics, Pair, ProcessDifference, compare

LOAD, TRAIN, REPORT = (process_path(name) for name in ("load", "train", "report"))


def record(**parameters: str) -> RunRecord:
    return RunRecord("r", "shop", "main", "f", "n", 1.0, parameters=parameters)


def row(path: str, status: str, inputs: str = "a", config: str = "b", function: str = "c", **more: Any) -> Row:
    key = CacheKey("train", inputs * 64, config * 64, function * 64)
    return Row.load(path, {"status": status, "started_at": 1.0, "cache_key": str(key), "execution_time": 2.0, **more})


def test_runs_that_are_the_same() -> None:
    run = (record(n="1"), [row(LOAD, "cached")], {LOAD: {"rows": {"1": "NaN"}}})
    assert compare(run, run) == Comparison()
    assert compare(run, run).same


def test_what_differs() -> None:
    first: tuple[RunRecord, list[Row], Metrics] = (
        record(n="1", gone="2"),
        [row(LOAD, "completed"), row(TRAIN, "completed"), row(REPORT, "completed")],
        {TRAIN: {"loss": {"2": 0.25, "10": 0.125}, "same": {"1": 1}}, LOAD: {"rows": {"1": 3}}},
    )
    second: tuple[RunRecord, list[Row], Metrics] = (
        record(n="3"),
        [row(LOAD, "completed"), row(TRAIN, "completed", inputs="d", function="e"), row(process_path("new"), "failed")],
        {TRAIN: {"loss": {"2": 0.25, "10": 0.5}, "same": {"1": 1}}, LOAD: {"rows": {"1": 3.0}}},
    )
    found = compare(first, second)
    assert found.parameters == {"n": Pair("1", "3"), "gone": Pair("2", None)}
    assert found.processes == (
        ProcessDifference(process_path("new"), Pair(None, "failed"), Pair(None, 2.0)),
        ProcessDifference(REPORT, Pair("completed", None), Pair(2.0, None)),
        ProcessDifference(TRAIN, Pair("completed", "completed"), Pair(2.0, 2.0), ("inputs", "function")),
    )
    assert found.metrics == {(TRAIN, "loss"): Pair(0.125, 0.5), (LOAD, "rows"): Pair(3, 3.0)}


def test_a_process_without_a_key() -> None:
    bare = Row.load(LOAD, {"status": "completed"})
    keyed = row(LOAD, "completed")
    assert compare((record(), [bare], {}), (record(), [keyed], {})).same
