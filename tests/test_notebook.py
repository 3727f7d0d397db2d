"""Frames, and runs that show themselves in a notebook."""

from __future__ import annotations

import math
import pickle
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pytest

from expops_prefect.models.names import process_path, step_path
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views import timeline
from expops_prefect.views.notebook import MetricValues, RunList, ShownRun

HOSTILE = "<script>alert('&\"')</script>"
TRAIN = process_path("train", 2)


def record(number: int = 0, **changes: Any) -> RunRecord:
    run = f"project-shop-2026010100000{number}-0000abcd"
    given: dict[str, Any] = {"started_at": 100.0 + number, "ended_at": 104.0, "status": "completed", **changes}
    return RunRecord(run, "shop", HOSTILE, f"flow-run-{number}", "happy-cat", **given)


def row(path: str, status: str, start: float, end: float | None, **more: Any) -> Row:
    return Row.load(path, {"status": status, "started_at": start, "ended_at": end, **more})


def shown(rows: list[Row], metrics: Mapping[str, Any] | None = None, run: RunRecord | None = None) -> str:
    return ShownRun.of(run or record(), lambda: (rows, MetricValues(metrics or {})))._repr_html_()


def pictures(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(text) for text in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


SVG = "{http://www.w3.org/2000/svg}"


def test_runs_as_a_frame() -> None:
    runs = RunList([record(1, ended_at=None, status="running", parameters={"n": "1"}), record(0, degraded={"a": 2})])
    frame = runs.frame()
    assert list(frame["run_id"]) == [run.run_id for run in runs]
    assert frame["started"].dt.tz is not None
    assert frame["started"][1] == pd.Timestamp(100, unit="s", tz="UTC")
    assert math.isnan(frame["seconds"][0])
    assert frame["seconds"][1] == 4.0
    assert list(frame["degraded"]) == [0, 2]
    assert frame["parameter.n"][0] == "1"
    assert RunList().frame().empty
    assert isinstance(runs, list)


def test_metrics_as_a_frame() -> None:
    values: dict[str, dict[str, Any]] = {"loss": {"10": 0.25, "2": 0.5}, "gap": {"1": "-Infinity", "2": "NaN"}}
    metrics = MetricValues({TRAIN: values, step_path(TRAIN, "scale"): {"n": {"1": 3}}, "//other": {"n": {"1": 1}}})
    frame = metrics.frame()
    assert list(frame.columns) == ["process", "call", "within", "metric", "step", "value"]
    loss = frame[frame["metric"] == "loss"]
    assert (list(loss["step"]), list(loss["value"])) == ([2, 10], [0.5, 0.25])
    assert set(loss["call"]) == {2}
    assert next(iter(frame[frame["metric"] == "gap"]["value"])) == -math.inf
    assert list(frame[frame["metric"] == "n"]["within"].fillna("")) == ["scale", ""]
    assert frame["value"].dtype == "float64"
    assert MetricValues().frame().empty


def test_without_pandas_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for values in (RunList(), MetricValues()):
        with pytest.raises(ImportError, match="pip install pandas"):
            values.frame()


def test_a_shown_run_is_its_record() -> None:
    plain = record()
    run = ShownRun.of(plain, lambda: ([], MetricValues()))
    assert run == plain
    assert plain == run
    assert run != record(1)
    assert asdict(run) == asdict(plain)
    assert replace(plain, status="failed") != run
    assert pickle.loads(pickle.dumps(run)) == plain
    assert run != "a text"


def test_the_timeline_has_a_bar_for_each_call() -> None:
    rows = [
        row(process_path("train"), "completed", 101, 103, calls={"completed": 2}),
        row(TRAIN, "cached", 101, 101.5, cached_execution_time=7.0),
        row(process_path("load"), "failed", 100, 101),
        row(process_path("now"), "running", 102, None),
        row(process_path("odd"), "melted", 102, 103),
    ]
    html = shown(rows)
    (picture,) = pictures(html)
    bars = picture.findall(f"{SVG}rect")
    titles = [title.text for bar in bars for title in bar.findall(f"{SVG}title")]
    assert titles == ["load: failed, 1.00 s", "train #2: cached, 0.50 s, saved 6.50 s", *titles[2:]]
    assert len(bars) == 4
    assert len({bar.get("fill") for bar in bars}) == 4
    lefts = [float(bar.get("x", "0")) for bar in bars]
    assert lefts == sorted(lefts)
    assert all(float(bar.get("x", "0")) + float(bar.get("width", "0")) <= 760 for bar in bars)
    assert "3 executed, 1 from the cache, 6.50 s saved" in html


def test_curves_of_metrics() -> None:
    many = {str(step): step / 7 for step in range(1000)}
    metrics = {
        TRAIN: {"loss": {"1": 1.0, "2": 0.5, "3": "NaN"}, "once": {"1": 1}, "many": many},
        process_path("other"): {"loss": {"1": 2, "5": 2}},
    }
    loss, much = pictures(shown([], metrics))
    titles = {title.text for title in loss.iter(f"{SVG}title")}
    assert titles == {"other", "train #2"}
    (line,) = much.findall(f"{SVG}polyline")
    assert len(line.get("points", "").split()) == timeline.SHOWN_POINTS
    assert "many" in ElementTree.tostring(much, "unicode")


def test_nothing_that_users_named_becomes_html() -> None:
    rows = [row(f"//{HOSTILE}", "cached", 100, 101), row(TRAIN, HOSTILE, 100, 101)]
    html = shown(rows, {TRAIN: {HOSTILE: {"1": 1, "2": 2}}}, record(status=HOSTILE))
    assert "<script" not in html
    assert len(pictures(html)) == 2
    assert "<script" not in RunList([record()])._repr_html_()


def test_long_runs_are_cut() -> None:
    rows = [row(process_path("t", number), "completed", 100 + number, 101 + number) for number in range(1, 100)]
    metrics = {TRAIN: {f"m{number}": {"1": 1, "2": 2} for number in range(20)}}
    html = shown(rows, metrics)
    assert "… and 39 more calls" in html
    assert "… and 8 more metrics" in html
    assert "… and 10 more" in RunList([record(1)] * 40)._repr_html_()
