"""Each executed task run says in its row why, in a few words."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from expops_prefect import DataFile, Project, flow, task
from tests.config.support import make_project

pytestmark = pytest.mark.usefixtures("prefect_server")

CONFIG = """
prefect:
  project_id: shop
  cache:
    processes: {switched: {enabled: false}, brief: {ttl: 1h}}
"""


@task
def plain(x: int) -> int:
    return x


@task
def large(x: int) -> bytes:
    return bytes(50_000)


@task
def nothing(x: int) -> None:
    return None


@task
def stateful(x: int) -> State[int]:
    return Completed(data=x)


@task
def switched(x: int) -> int:
    return x


@task
def brief(x: int) -> int:
    return x


@task(cache_policy=NO_CACHE)
def uncached(x: int) -> int:
    return x


@task(persist_result=False)
def unpersisted(x: int) -> int:
    return x


@task(cache_policy=INPUTS)
def other_policy(x: int) -> int:
    return x


@task(cache_key_fn=lambda *_: "test_reasons")
def own_key(x: int) -> int:
    return x


@task
def generator(x: int) -> Iterator[int]:
    yield x


@task
def locked(x: dict[str, Any]) -> int:
    return 1


@task
def counted(x: DataFile) -> int:
    return 1


@task
def unpicklable(x: int) -> Any:
    return threading.Lock()


@task(cache_expiration=timedelta(microseconds=1))
def expiring(x: int) -> int:
    return x


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    root = make_project(tmp_path / "shop", CONFIG)

    def run(*calls: Callable[[], object]) -> dict[str, Any]:
        @flow(project=root)
        def calling() -> None:
            for call in calls:
                call()

        calling()
        project = Project.open(root)
        newest = project.runs()[0].run_id
        return {row.path.split("'")[1]: row.fields for row in project.rows(newest)}

    return run


def test_why_a_task_run_is_executed(rows: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    calls: list[Callable[[], object]] = [
        *(lambda each=each: each(1) for each in (plain, nothing, switched, brief, uncached, unpersisted, other_policy)),
        *(lambda each=each: each(1) for each in (own_key, unpicklable, expiring)),
        lambda: stateful(1, return_state=True),
        lambda: list(generator(1)),
        lambda: locked({"a": threading.Lock()}),
        lambda: counted(DataFile(tmp_path / "nowhere")),
    ]
    first = rows(*calls)
    absent = {name for name, row in first.items() if row["miss"] == "absent"}
    assert absent == {"plain", "nothing", "brief", "unpicklable", "expiring", "stateful"}
    assert "lock" in first["unpicklable"]["not_kept"]

    unread = first["counted"]
    assert unread["miss"] == "unhashable"
    assert unread["miss_reason"] == f"the content of x is part of the key, and {tmp_path / 'nowhere'} does not exist"
    own = "which found no result"
    assert first["other_policy"]["miss_reason"] == f"it has its own cache policy, Inputs, {own}"
    assert first["own_key"]["miss_reason"] == f"it has its own cache_key_fn, {own}"

    kv = Project.open(tmp_path / "shop").kv
    ((key, record),) = kv.scan("process://process[@name='brief']")
    kv.put(key, {**record, "ended_at": record["ended_at"] - 7200})
    second = rows(*calls)
    assert "miss" not in second["plain"]
    said = {name: (row["miss"], row["miss_reason"]) for name, row in second.items() if "miss" in row}
    expired = said.pop("brief"), said.pop("expiring")
    assert {kind for kind, _ in expired} == {"expired"}
    assert all(text.startswith("its cached result expired at 20") for _, text in expired)
    off_by = "caching is switched off: "
    assert said == {
        "nothing": ("not kept", "it returns None, so it is executed every time (prefect.cache.none_results)"),
        "stateful": ("not kept", "it returns a Prefect state, so it is executed every time"),
        "switched": ("off", f"{off_by}prefect.cache.processes.switched.enabled is false in project_config.yaml"),
        "uncached": ("off", f"{off_by}cache_policy=NO_CACHE"),
        "unpersisted": ("off", f"{off_by}persist_result=False"),
        "unpicklable": ("absent", "no result yet for these inputs, configuration and code"),
        "generator": ("generator", "generator tasks are never cached"),
        "counted": ("unhashable", unread["miss_reason"]),
        "locked": ("unhashable", "cannot be fingerprinted: x['a'] (_thread.lock)"),
    }


def test_a_refreshed_and_a_damaged_result(rows: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    rows(lambda: large(1))
    refreshed = rows(lambda: large.with_options(refresh_cache=True)(1))["large"]
    assert (refreshed["miss"], refreshed["miss_reason"]) == ("refreshed", "the cache is refreshed (refresh_cache)")
    project = Project.open(tmp_path / "shop")
    ((_, record),) = project.kv.scan("process:")
    project.objects.delete(record["object_key"])
    gone = rows(lambda: large(1))["large"]
    assert gone["miss"] == "damaged"
    assert gone["miss_reason"] == f"its cached result is damaged: the manifest {record['cache_path']} is gone"


def test_data_that_is_missing_made_and_changed(
    rows: Callable[..., dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "shop" / "data"
    (tmp_path / "shop" / "configs" / "project_config.yaml").write_text(f"{CONFIG}\ndata: {{path: data}}\n")

    def executed() -> bool:
        return bool(rows(lambda: plain(1))["plain"]["status"] == "completed")

    assert executed()
    assert not executed()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if "data.path" in text] == [
        f"{data} (data.path) does not exist: results do not depend on it until it does. If no task creates it, "
        "correct the path in the configuration."
    ]
    (data / "raw").mkdir(parents=True)
    (data / "raw" / "train.csv").write_text("1,2")
    assert executed()
    assert not executed()
    (data / "raw" / "train.csv").write_text("1,3")
    assert executed()


def test_prefects_settings_switch_it_off(rows: Callable[..., dict[str, Any]]) -> None:
    from prefect.settings import PREFECT_TASKS_DEFAULT_NO_CACHE, PREFECT_TASKS_DISABLE_CACHING, temporary_settings

    for setting in (PREFECT_TASKS_DEFAULT_NO_CACHE, PREFECT_TASKS_DISABLE_CACHING):
        with temporary_settings({setting: True}):

            @task
            def made_here(x: int) -> int:
                return x

            row = rows(lambda made=made_here: made(1))["made_here"]
        assert (row["miss"], row["miss_reason"]) == ("off", f"caching is switched off: {setting.name}")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("keys.code_fingerprint", "its key could not be computed: RuntimeError('our mistake')"),
        ("results.hit_of", "the cache could not be read: RuntimeError('our mistake')"),
    ],
)
def test_a_mistake_of_ours_is_said(
    rows: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch, place: str, said: str
) -> None:
    """Prefect takes any exception for a miss, or for a task without a key, and goes on without a word."""
    rows(lambda: plain(1))

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("our mistake")

    monkeypatch.setattr(f"expops_prefect.cache.{place}", fail)
    row = rows(lambda: plain(1))["plain"]
    assert (row["status"], row["miss"], row["miss_reason"]) == ("completed", "unreadable", said)


def test_the_log_says_what_does_not_go_without_saying(
    rows: Callable[..., dict[str, Any]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def ends(*calls: Callable[[], object]) -> list[str]:
        caplog.clear()
        rows(*calls)
        texts = [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]
        return [text.removeprefix("Finished in state ") for text in texts if text.startswith("Finished in state ")]

    each: tuple[Callable[[int], object], ...] = (brief, nothing, switched, uncached, other_policy, large)
    calls = [partial(one, 77) for one in each]
    assert ends(*calls) == ["Completed()"] * 6
    project = Project.open(tmp_path / "shop")
    ((key, record),) = project.kv.scan("process://process[@name='brief']")
    project.kv.put(key, {**record, "ended_at": record["ended_at"] - 7200})
    ((_, record),) = project.kv.scan("process://process[@name='large']")
    project.objects.delete(record["object_key"])
    expired, *usual, damaged = ends(*calls)
    assert expired.startswith("Completed(); executed: its cached result expired at ")
    assert damaged.startswith("Completed(); executed: its cached result is damaged: ")
    assert not [text for text in usual if "executed" in text]
