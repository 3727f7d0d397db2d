"""What earlier releases have stored is read: their cached results are hits, their runs are shown."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from expops_prefect.cache.session import session
from expops_prefect.maintenance import verify
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, read_cache_records
from expops_prefect.stores.kv.sqlite.schema import FORMAT
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from tests.compat import flows, keep
from tests.config.support import open_project

RELEASES = sorted(path.parent.name for path in keep.HERE.glob(f"*/{keep.KV}"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in which nothing is stored yet."""
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(tmp_path / "shop"))
    session().in_forked_child()
    flows.RAN.clear()
    return open_project(tmp_path / "shop", flows.CONFIG)


def restore(release: str, file: Path) -> SQLiteKV:
    """The KV file of an earlier release."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((keep.HERE / release / keep.KV).read_text())
    return SQLiteKV(file)


def restore_objects(release: str, project: Project) -> None:
    """The objects of an earlier release."""
    for key, content in json.loads((keep.HERE / release / keep.OBJECTS).read_text()).items():
        project.objects.put(key, [base64.b64decode(content)], read_only=key.startswith("cache/"))


def records_of(kv: Any) -> dict[str, CacheRecord]:
    return {key.task: record for key, record in read_cache_records(kv)}


def test_something_is_kept_of_every_release() -> None:
    assert "0.1.0" in RELEASES


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("release", RELEASES)
def test_a_flow_hits_what_an_earlier_release_stored(project: Project, tmp_path: Path, release: str) -> None:
    flows.main()
    assert sorted(flows.RAN) == sorted(flows.EXECUTED)
    assert project.outbox.flush(60)
    old = records_of(restore(release, tmp_path / "old.sqlite"))
    assert old.keys() == set(flows.EXECUTED)
    # Under today's keys: those hold the versions of Python and of libraries, which are not what is tried here.
    for key, record in list(read_cache_records(project.kv)):
        assert record.object_key != old[key.task].object_key
        stored = old[key.task]
        metadata = json.loads(stored.prefect_metadata or "")
        metadata["storage_key"] = str(key)
        project.kv.put(key.record_key, replace(stored, prefect_metadata=json.dumps(metadata)).dump())
    for info in list(project.objects.list("cache/")):
        project.objects.delete(info.key)
    restore_objects(release, project)
    flows.RAN.clear()
    assert not flows.differences(flows.main())
    assert flows.RAN == []
    assert project.outbox.flush(60)
    (newest, *_) = project.runs()
    assert {row.cached_run_id for row in project.rows(newest.run_id)} == {old["plain"].run_id}


@pytest.mark.parametrize("release", RELEASES)
def test_a_whole_project_of_an_earlier_release(project: Project, release: str) -> None:
    file = project.settings.runtime_dir / "metrics.sqlite"
    restore(release, file).close()
    restore_objects(release, project)
    (run,) = project.runs()
    assert (run.status, run.flow) == ("completed", "compat")
    rows = {row.path: row.status for row in project.rows(run.run_id)}
    assert rows.pop("//process[@name='process']/step[@name='step']") in ("completed", "cached")
    # Called by the flow too, after the process had computed it.
    assert rows.pop("//process[@name='step']") == "cached"
    assert rows == {f"//process[@name='{name}']": "completed" for name in set(flows.EXECUTED) - {"step"}}
    assert project.metrics(run.run_id) == {"//process[@name='plain']": {"n": {"1": 5}}}
    (chart,) = project.charts(run.run_id)["//process[@name='plain']"]
    assert project.objects.get(chart["object_key"]) == flows.PNG
    checked = verify(project)
    assert (checked.records, checked.broken) == (len(flows.EXECUTED) + 1, ())
    project.kv.put("new", 1)
    project.kv.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
