"""The same flow on every combination of backends, and one cache for several machines."""

from __future__ import annotations

import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import pytest

from expops_prefect.project import Project
from expops_prefect.record.cache_records import read_cache_records
from tests.support.backends import COMBINATIONS, Cloud
from tests.support.processes import FlowProject, short

FLOW = """
import sys
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from executions import ran
from expops_prefect import flow, log_chart, log_metric, log_metrics, task
from helper import factor

PNG = b"\\x89PNG\\r\\n\\x1a\\n a small picture"


@task
def load(n):
    ran("load")
    log_metric("rows", n)
    return pd.DataFrame({"x": np.arange(n, dtype=float), "y": np.arange(n) * 2.0})


@task
def square(values):
    ran("square")
    log_metrics({"largest": float(values.max()), "odd": float("nan")})
    return values**2


@task
def fit(frame, weight):
    ran("fit")
    for epoch in range(3):
        log_metric("loss", weight / (epoch + 1))
    squared = square(frame["x"].to_numpy())
    model = LinearRegression().fit(squared.reshape(-1, 1), frame["y"] * weight * factor())
    return {"model": model, "squared": squared, "weight": weight}


@task
def report(fits):
    ran("report")
    log_chart("weights", PNG)
    return round(sum(float(fit["model"].predict([[4.0]])[0]) + float(fit["squared"][:3].sum()) for fit in fits), 6)


@flow
def main():
    frame = load(60_000)
    print("result", report([future.result() for future in fit.map([frame] * 2, [1, 2])]))


if __name__ == "__main__":
    main()
"""
HELPER = "def factor():\n    return 3\n"


def _with_flow(project: FlowProject) -> FlowProject:
    project.write("main.py", FLOW)
    project.write("helper.py", HELPER)
    return project


EXPECTED_METRICS = {
    "load": {"rows": {"1": 60_000}},
    "p1/fit": {"loss": {"1": 1.0, "2": 0.5, "3": 1 / 3}},
    "p2/fit": {"loss": {"1": 2.0, "2": 1.0, "3": 2 / 3}},
    "p1/fit/square": {"largest": {"1": 59_999.0}, "odd": {"1": "NaN"}},
}


@pytest.mark.parametrize("combination", [each for each in COMBINATIONS if each != "redis-s3"])
def test_a_second_run_executes_nothing(tmp_path: Path, cloud: Cloud, combination: str) -> None:
    shop = _with_flow(cloud.project(tmp_path, combination, f"shop-{uuid.uuid4().hex[:8]}"))
    first = shop.run("main.py").ok()
    # Both fits ask for the same square: the first one's may or may not be stored when the second asks.
    assert first.executions.pop("square") in (1, 2)
    assert first.executions == {"load": 1, "fit": 2, "report": 1}
    before = shop.metrics()
    assert {path: before.get(path) for path in EXPECTED_METRICS} == EXPECTED_METRICS

    again = shop.run("main.py").ok()
    assert again.total == 0, again.output
    assert _result(again.output) == _result(first.output) != []
    assert {status for path, status in shop.statuses().items() if "square" not in path} == {"cached"}
    after = shop.metrics()
    assert {path: after.get(path) for path in EXPECTED_METRICS} == EXPECTED_METRICS
    project = shop.project()
    new, old = project.runs()
    assert (new.status, old.status) == ("completed", "completed")
    (chart,) = project.charts(new.run_id)["//process[@name='report']"]
    assert project.objects.get(chart["object_key"]) == b"\x89PNG\r\n\x1a\n a small picture"
    schemes = {"gcs": "gs://", "s3": "s3://", "azure": "az://", "local": str(shop.root)}
    assert chart["cache_path"].startswith(schemes[combination.partition("-")[2]])
    row = shop.rows()["//process[@name='report']"]
    assert row.cached_run_id == old.run_id
    assert project.kv.get(f"runs:{new.run_id}:stats:cache_hit_count") == 4
    warned = "other machines cannot read" in first.output
    assert warned == (combination == "gcp-local")

    if combination == "gcp-gcs":
        shop.edit("helper.py", "3", "4")
        assert shop.run("main.py").ok().executions == {"fit": 2, "report": 1}


def test_machines_share_one_cache_and_projects_do_not(tmp_path: Path, cloud: Cloud) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    first = _with_flow(cloud.project(tmp_path / "one", "gcp-gcs", name))
    done = first.run("main.py").ok()
    second = _with_flow(cloud.project(tmp_path / "another", "gcp-gcs", name))
    again = second.run("main.py").ok()
    assert again.total == 0, again.output
    assert _result(again.output) == _result(done.output)
    assert len(second.project().runs()) == 2
    assert {short(path) for path in first.project().metrics(second.last_run().run_id)} >= set(EXPECTED_METRICS)
    third = _with_flow(cloud.project(tmp_path / "third", "gcp-gcs", f"{name}x"))
    assert third.run("main.py").ok().executions.keys() == {"load", "fit", "square", "report"}
    assert len(third.project().runs()) == 1


def test_a_changed_payload_in_the_bucket_is_computed_again_and_mended(tmp_path: Path, cloud: Cloud) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    first = _with_flow(cloud.project(tmp_path / "one", "gcp-gcs", name))
    first.run("main.py").ok()
    key = _largest_payload(first.project(), "load")
    whole = first.project().objects.get(key)
    assert whole is not None
    _overwrite(cloud, f"{name}/{key}", whole[:-9] + b"tampered!")
    second = _with_flow(cloud.project(tmp_path / "another", "gcp-gcs", name))
    again = second.run("main.py").ok()
    assert again.executions == {"load": 1}
    warnings = [line for line in again.output.splitlines() if "damaged results" in line]
    assert len(warnings) == 2, "one line, and the run's summary"
    assert key in warnings[0]
    assert first.project().objects.get(key) == whole, "stored again"
    third = _with_flow(cloud.project(tmp_path / "third", "gcp-gcs", name))
    assert third.run("main.py").ok().total == 0


SEVERAL = """
from executions import ran
from prefect.task_runners import ProcessPoolTaskRunner
from expops_prefect import flow, task


@task
def double(n):
    ran("double")
    return 2 * n


@flow
def part(n):
    return double(n)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def main():
    print("result", part(1) + part(2) + sum(future.result() for future in double.map([3, 4])))


if __name__ == "__main__":
    main()
    main()
"""


def test_files_that_other_machines_cannot_read_are_warned_of_once(tmp_path: Path, cloud: Cloud) -> None:
    shop = cloud.project(tmp_path, "gcp-local", f"shop-{uuid.uuid4().hex[:8]}")
    shop.write("main.py", SEVERAL)
    done = shop.run("main.py").ok()
    assert done.executions == {"double": 4}
    assert _result(done.output) == ["result 20"] * 2
    assert done.output.count("other machines cannot read") == 1


def _result(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("result")]


def _largest_payload(project: Project, task: str) -> str:
    found = [record for key, record in read_cache_records(project.kv) if key.task == task]
    return max((payload for record in found for payload in record.payloads), key=lambda payload: payload.size).key


def _overwrite(cloud: Cloud, name: str, data: bytes) -> None:
    url = f"{cloud.gcs}/upload/storage/v1/b/{cloud.bucket}/o?uploadType=media&name={urllib.parse.quote(name, safe='')}"
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/octet-stream"})
    urllib.request.urlopen(request, timeout=10).close()
