"""A flow whose names try everything, read back by the real ExpOps server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expops_prefect.models.names import normalise, process_path, shown
from tests.interop.expops import project_on, serving
from tests.support.server import wait_until

NAMES = [
    *("../../outside", "a/b", "a.b", "<script>alert(1)</script>", "\"'><img src=x onerror=y>", "status", "__x__"),
    *("line\nbreak", "\u202etfel", "🎉", "train", "Train", "x" * 10_000, "a]'b", ".."),
]
CONFIG = "experiment: {pipeline: {process_adjlist: '', processes: [{name: train}]}}\n"
FLOW = """
import base64, json
from expops_prefect import flow, log_chart, log_metric, task

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NAMES = json.loads(open("names.json").read())


def work(name, number):
    log_metric(name, number)
    for other in NAMES:
        log_metric(other, number, step=2)
    log_chart(name, PNG)
    return number


TASKS = [task(name=name, ignore=["name"])(work) for name in NAMES]


@flow(name="'odd' \\u202e..")
def main():
    for number, each in enumerate(TASKS):
        each(NAMES[number], number)


if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("combination", ["local-local", "gcp-local"])
def test_odd_names_arrive_and_do_no_harm(tmp_path: Path, combination: str) -> None:
    workspace = tmp_path / "workspace"
    shop = project_on(combination, workspace, CONFIG)
    shop.write("main.py", FLOW)
    shop.write("names.json", json.dumps(NAMES))
    shop.run("main.py").ok()
    project, run = shop.project(), shop.last_run().run_id
    rows = project.rows(run)
    paths = {process_path(normalise(name)): name for name in NAMES}
    assert len(paths) == len(NAMES)
    assert {row.path for row in rows} == set(paths)
    for row in rows:
        assert (row.status, row.label) == ("completed", shown(paths[row.path]))
    charts = project.charts(run)
    assert charts.keys() == set(paths)
    with serving(workspace) as server:
        seen = server.project(shop.root.name)
        wait_until(lambda: run in seen.runs(), 30, "the run is listed")
        assert seen.runs() == [run], "no run that is none"
        statuses = seen.statuses(run)
        assert statuses.pop("") == "completed"
        assert set(statuses) == set(paths)
        for number, (path, name) in enumerate(paths.items()):
            found = seen.metrics(run, path)
            assert len(found) == len(NAMES), f"{name!r:.40}: a series is missing, or two fell together"
            assert all(not set("<>\"'&") & set(metric) for metric in found)
            assert {series["2"] for series in found.values()} == {number}
            (item,) = charts[path]
            assert not set("<>\"'&") & set(str(item["title"]))
            assert seen.chart(run, item).startswith(b"\x89PNG")
    # Nothing lies anywhere but in the project's folder; the others are the test's own.
    own = {shop.root.name, "expops.log", "support", "prefect-home", "executions-1.log"}
    assert {item.name for item in workspace.iterdir()} == own
    assert [item.name for item in tmp_path.iterdir()] == ["workspace"]
