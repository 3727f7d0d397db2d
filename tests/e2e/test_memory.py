"""A large result goes to a bucket and comes back without copies piling up in memory."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.support.backends import Cloud
from tests.support.processes import FlowProject

FLOW = """
import numpy as np
from executions import ran
from expops_prefect import flow, task


def peak():
    # Of this program alone: what getrusage says is at least the peak of the process that started it.
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


@task
def small(n):
    return np.ones(n)


@task
def large(n):
    ran("large")
    return np.full(n, 2.0)


@flow
def main():
    small(60_000)
    before = peak()
    array = large(1 << 27)
    assert array.nbytes == 1 << 30 and array[::4096].sum() == 2.0 * (1 << 15)
    print("peak", peak() - before)


if __name__ == "__main__":
    main()
"""
GIB = 1 << 30


def _peak(shop: FlowProject, executions: int) -> int:
    shop.write("main.py", FLOW)
    done = shop.run("main.py").ok()
    assert done.executions["large"] == executions, done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("peak")]
    return int(line.split()[1])


@pytest.mark.nightly
def test_storing_and_loading_a_gibibyte(tmp_path: Path, cloud: Cloud) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    storing = _peak(cloud.project(tmp_path / "one", "gcp-gcs", name), 1)
    loading = _peak(cloud.project(tmp_path / "two", "gcp-gcs", name), 0)
    assert storing < GIB + 1.25 * GIB, f"{storing / GIB:.2f} GiB, the array included"
    assert loading < GIB + 1.25 * GIB, f"{loading / GIB:.2f} GiB, the array included"
    print(f"storing {storing / GIB:.2f} GiB, loading {loading / GIB:.2f} GiB, the array included")
