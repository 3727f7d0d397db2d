"""Bad input gets a clear message and loses nothing; the user's own choices keep their meaning."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from expops_prefect.record.cache_records import read_cache_records
from tests.support.processes import FlowProject

AWKWARD = """
import threading
from datetime import timedelta
from prefect.cache_policies import FLOW_PARAMETERS, INPUTS, NO_CACHE
from prefect.runtime import task_run
from prefect.states import Completed, Failed
from executions import ran
from expops_prefect import EXPOPS, DataFile, expops_cache_key, flow, log_chart, log_metric, log_metrics, task
from prefect import task as prefect_task


@task
def nothing(x):
    ran("nothing")


@task
def unpicklable(x):
    ran("unpicklable")
    return threading.Lock()


COMMITTED = []


@unpicklable.on_commit
def committed(txn):
    COMMITTED.append(1)


@task
def unhashable(session):
    ran("unhashable")
    return 1


@task(ignore=["session"])
def ignoring(x, session):
    ran("ignoring")
    return x


@task
def bad_logs(x):
    ran("bad_logs")
    log_chart("gone", "no/such/file.png")
    log_metric("text", "high")
    log_metric("truth", True)
    log_metrics({"fine": 1.0})
    return x


@task(name="my task")
def spaced(x):
    ran("spaced")
    return "spaced"


@task(name="my-task")
def dashed(x):
    ran("dashed")
    return "dashed"


@task
def returns_failed(x):
    ran("returns_failed")
    return Failed(message="no")


@task
def returns_completed(x):
    ran("returns_completed")
    return Completed(data=5)


@task
def generator(n):
    ran("generator")
    yield from range(n)


@task(persist_result=False)
def not_persisted(x):
    ran("not_persisted")
    return x


@task(cache_policy=NO_CACHE)
def no_cache(x):
    ran("no_cache")
    return x


@task(cache_policy=INPUTS)
def own_policy(x):
    ran("own_policy")
    return x


@task(cache_key_fn=lambda context, parameters: "fixed-key")
def own_key(x):
    ran("own_key")
    return x


@prefect_task(cache_key_fn=expops_cache_key, persist_result=True)
def our_key(x):
    ran("our_key")
    return x


@prefect_task(cache_policy=EXPOPS - "y")
def bare(x, y):
    ran("bare")
    return x


@prefect_task(cache_policy=EXPOPS + FLOW_PARAMETERS)
def with_flow_parameters(x):
    ran("with_flow_parameters")
    return x


@prefect_task(cache_policy=INPUTS + EXPOPS)
def compound(x):
    ran("compound")
    return [x]


@task(refresh_cache=True)
def refreshed(x):
    ran("refreshed")
    return x


@task(cache_expiration=timedelta(microseconds=1))
def expired(x):
    ran("expired")
    return x


class Model:
    def __init__(self, rate):
        self.rate = rate

    @task
    def fit(self, x):
        ran("fit")
        return self.rate * x


@task(retries=2)
def flaky(x):
    ran("flaky")
    if x == 1 and task_run.run_count < 3:
        raise ValueError("again")
    return x


@task(timeout_seconds=0.2)
async def slow(x):
    import asyncio
    ran("slow")
    await asyncio.sleep(5)


@task
def outside(x):
    ran("outside")
    return x + 1


@flow
def main():
    lock = threading.Lock()
    nothing(1)
    unpicklable(1)
    assert COMMITTED == [1]
    unhashable(lock)
    assert ignoring(3, session=lock) == 3
    bad_logs(1)
    assert spaced(1) == "spaced" and dashed(1) == "dashed"
    assert returns_failed(1, return_state=True).is_failed()
    assert returns_completed(1, return_state=True).result() == 5
    assert list(generator(3)) == [0, 1, 2]
    for function in (not_persisted, no_cache, own_policy, own_key, our_key, with_flow_parameters, refreshed, expired):
        assert function(4) == 4
    assert bare(4, y=lock) == 4
    assert compound(4) == [4]
    assert Model(2).fit(21) == 42
    assert flaky(1) == 1
    assert flaky.with_options(name="renamed", retries=0)(7) == 7
    assert outside.fn(1) == 2
    assert outside.submit(5, return_state=True).is_completed()
    assert outside(5, return_state=True).is_completed()


if __name__ == "__main__":
    assert outside(10) == 11
    main()
"""

ALWAYS = {
    "nothing": 1,
    "unpicklable": 1,
    "unhashable": 1,
    "returns_failed": 1,
    "returns_completed": 1,
    "generator": 1,
    "not_persisted": 1,
    "no_cache": 1,
    "refreshed": 1,
    "expired": 1,
    "outside": 1,  # task.fn()
}
ONCE = {
    "ignoring": 1,
    "bad_logs": 1,
    "spaced": 1,
    "dashed": 1,
    "own_policy": 1,
    "own_key": 1,
    "our_key": 1,
    "bare": 1,
    "with_flow_parameters": 1,
    "compound": 1,
    "fit": 1,
    "flaky": 4,
    "outside": 3,
}


def test_awkward_input_and_own_choices(shop: FlowProject) -> None:
    shop.write("main.py", AWKWARD)
    first = shop.run("main.py").ok()
    assert dict(first.executions) == {**ALWAYS, **ONCE}
    said = first.output
    # One warning each, that says what to do.
    (unpicklable,) = [line for line in said.splitlines() if "WARNING" in line and "results not stored" in line]
    assert "lock" in unpicklable
    assert "prefect.cache.processes" in unpicklable
    (unhashable,) = [line for line in said.splitlines() if "unhashable runs uncached" in line]
    assert "'session'" in unhashable
    assert "ignore=" in unhashable
    assert said.count("no/such/file.png") == 1
    assert said.count("'high'; pass a number") == 1
    assert said.count("True; pass a number") == 1
    assert "_expops_record" not in said
    statuses = shop.statuses()
    assert statuses["flaky"] == "completed"
    assert statuses["returns_failed"] == "failed"
    assert statuses["generator"] == "completed"
    assert {name for name in statuses if name.startswith("my-task")} == {"my-task", "my-task-" + _hash("my-task")}
    assert shop.metrics()["bad_logs"] == {"fine": {"1": 1.0}}
    labels = {row.label or name for name, row in shop.rows().items() if "my-task" in name}
    assert {"my task"} <= labels, "whoever comes second has the hash of its label in its name"

    again = shop.run("main.py").ok()
    assert dict(again.executions) == ALWAYS
    assert shop.metrics()["bad_logs"] == {"fine": {"1": 1.0}}


def _hash(name: str) -> str:
    from expops_prefect.models.names import short_hash

    return short_hash(name)


def test_prefects_settings_switch_caching_off(shop: FlowProject) -> None:
    shop.write(
        "main.py",
        """
        from executions import ran
        from expops_prefect import EXPOPS, flow, task

        @task
        def default(x):
            ran("default")
            return x

        @task(cache_policy=EXPOPS)
        def explicit(x):
            ran("explicit")
            return x

        @flow
        def main():
            default(1)
            explicit(1)

        if __name__ == "__main__":
            main()
        """,
    )
    both = {"default": 1, "explicit": 1}
    assert shop.run("main.py").ok().executions == both
    assert shop.run("main.py").ok().total == 0
    assert shop.run("main.py", env={"PREFECT_TASKS_DEFAULT_NO_CACHE": "true"}).ok().executions == {"default": 1}
    assert shop.run("main.py", env={"PREFECT_TASKS_DISABLE_CACHING": "true"}).ok().executions == both
    shop.configure("prefect: {project_id: shop, cache: {default: all, enabled: false}}")
    assert shop.run("main.py").ok().executions == both
    shop.configure("prefect: {project_id: shop, cache: {default: all, processes: {default: {enabled: false}}}}")
    assert shop.run("main.py").ok().executions == {"default": 1}


DAMAGE = """
import numpy as np
from executions import ran
from expops_prefect import flow, task


@task
def make(n):
    ran("make")
    # The text is too long for a record.
    return {"small": n, "large": np.arange(n, dtype=float), "text": "x" * 20_000}


@flow
def main():
    made = make(100_000)
    assert made["small"] == 100_000 and made["large"].sum() == sum(range(100_000))


if __name__ == "__main__":
    main()
"""


def _delete(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size - 10)


def _flip_unnoticed(path: Path) -> None:
    """One byte changed in place, with size and modification time as before."""
    before = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(-100, os.SEEK_END)
        byte = file.read(1)
        file.seek(-100, os.SEEK_END)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(0o444)


@pytest.mark.local  # a bucket is damaged elsewhere
@pytest.mark.parametrize("what", ["manifest", "payload"])
def test_damage_is_recomputed_and_mended(shop: FlowProject, what: str) -> None:
    shop.write("main.py", DAMAGE)
    assert shop.run("main.py").ok().total == 1
    for damage in (_delete, _truncate, _flip_unnoticed):
        project = shop.project()
        ((_, record),) = read_cache_records(project.kv)
        key = record.object_key if what == "manifest" else record.payloads[0].key
        path = project.objects.path(key)
        assert path is not None
        damage(path)
        outcome = shop.run("main.py").ok()
        assert outcome.executions == {"make": 1}, damage
        ours = [line for line in outcome.output.splitlines() if "WARNING | prefect.expops" in line]
        warnings = [line for line in ours if "temporary folder" not in line]
        assert len(warnings) == 1, warnings
        assert path.name in warnings[0]
        assert shop.run("main.py").ok().total == 0, "stored again"


@pytest.mark.parametrize(
    ("config", "env", "says"),
    [
        ("experiment: {cache: {backend: {type: mongo}}}", {}, ["backend.type", "'mongo'", "local"]),
        ("experiment: {cache: {backend: {type: gcp}}}", {}, ["gcp_project"]),
        ("prefect: {cach: {}}", {}, ["prefect.cach", "did you mean 'cache'"]),
        ("a: [", {}, ["not YAML"]),
        ("- 1", {}, ["a list"]),
        ("experiment: {cache: {object_store: {type: gcs, bucket: 12}}}", {}, ["bucket", "12"]),
        ("", {"EXPOPS_PROJECT_ROOT": "/does/not/exist"}, ["EXPOPS_PROJECT_ROOT", "/does/not/exist"]),
    ],
)
def test_a_wrong_configuration_ends_the_run_before_its_first_task(
    shop: FlowProject, config: str, env: dict[str, str], says: list[str]
) -> None:
    shop.configure(config)
    shop.write("main.py", DAMAGE)
    outcome = shop.run("main.py", env=env)
    assert outcome.returncode != 0
    assert outcome.total == 0
    (line,) = {line for line in outcome.output.splitlines() if line.startswith("expops_prefect.errors.Configuration")}
    assert all(part in line for part in says), line


def test_a_bare_policy_with_a_wrong_configuration_runs_uncached(shop: FlowProject) -> None:
    shop.configure("prefect: {cach: {}}")
    shop.write(
        "main.py",
        """
        from prefect import flow, task
        from executions import ran
        from expops_prefect import EXPOPS

        @task(cache_policy=EXPOPS)
        def work(x):
            ran("work")
            return x

        @flow
        def main():
            assert [work(1), work(2)] == [1, 2]

        if __name__ == "__main__":
            main()
        """,
    )
    for _ in range(2):
        outcome = shop.run("main.py").ok()
        assert outcome.executions == {"work": 2}
        assert len([line for line in outcome.output.splitlines() if "ERROR" in line]) == 1
