"""``cache invalidate``, ``cache verify`` and ``cache gc``."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.models.names import CACHE_PREFIX, CacheKey
from expops_prefect.stores.outbox.changes import KeepObject
from expops_prefect.stores.outbox.journal import Journal
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.support.cached import PLAIN, read, store
from tests.support.result_stores import own_key

ONE, TWO, FINAL = own_key("one"), own_key("two"), own_key("final", "train_final")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = make_project(tmp_path / "shop", PLAIN)
    opened = Project.open(root)
    for number, key in enumerate((ONE, TWO, FINAL), 1):
        store(opened, key, number)
    monkeypatch.chdir(root)
    return opened


def grow_old(project: Project) -> None:
    """All objects are some hours old."""
    for info in project.objects.list(CACHE_PREFIX):
        os.utime(project.objects.uri(info.key), (time.time() - 20_000,) * 2)


def test_invalidate(cli: Command, project: Project) -> None:
    planned = cli("cache", "invalidate", "train", "--dry-run")
    assert planned.lines[0].split() == ["key", "computed", "size", "run"]
    assert {line.split("/")[0] for line in planned.lines[1:3]} == {"train"}
    assert planned.lines[3] == "2 results would be invalidated"
    assert read(project, ONE) == 1

    done = cli("cache", "invalidate", "--json", "train/" + ONE.split("/")[1][:8]).json()
    assert [entry["key"] for entry in done["results"]] == [ONE]
    assert [read(project, key) for key in (ONE, TWO, FINAL)] == [None, 2, 3]
    assert cli("cache", "invalidate", "--process", "train_final").lines[-1] == (
        "1 result invalidated; their next use recomputes them"
    )
    assert [read(project, key) for key in (TWO, FINAL)] == [2, None]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "which results?"),
        (("",), 2, "the key is empty, which would mean every result"),
        (("/",), 2, "the key is empty"),
        ((" /ab",), 2, "the key is empty"),
        (("--process", ""), 2, "--process is empty"),
        (("--run", "", "--older-than", "1h"), 2, "--run is empty"),
        (("nothing",), 1, "no cached result matches in"),
        (("--run", "nothing"), 1, "no cached result matches in"),
        (("--older-than", "1h"), 0, "0 results invalidated"),
        (("--older-than", "soon"), 2, "not a duration such as"),
    ],
)
def test_invalidate_nothing(cli: Command, project: Project, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = cli("cache", "invalidate", *arguments)
    assert done.code == code
    assert said in done.out + done.err
    assert [read(project, key) for key in (ONE, TWO, FINAL)] == [1, 2, 3]


def test_verify(cli: Command, project: Project) -> None:
    whole = cli("cache", "verify")
    assert (whole.code, whole.err) == (0, "")
    assert whole.lines[0].startswith("3 records verified, 6 objects (")
    assert whole.lines[0].endswith(" read: none broken")

    (payload,) = [info.key for info in project.objects.list("cache/payloads/")][:1]
    project.objects.put(payload, [b"x"])
    broken = cli("cache", "verify")
    assert broken.code == 1
    assert [payload in line for line in broken.lines if "DAMAGED" in line] == [True]
    assert "verify --repair" in broken.err
    assert cli("cache", "verify", "--json").json()["broken"][0]["damaged"] == [payload]

    project.objects.delete(payload)
    repaired = cli("cache", "verify", "--repair")
    assert repaired.code == 0
    assert [payload in line for line in repaired.lines if "MISSING" in line] == [True]
    assert repaired.lines[-1].endswith("1 broken, 1 removed")
    assert cli("cache", "verify").code == 0


@pytest.mark.parametrize("change", ["MISSING", "DAMAGED"])
def test_verify_small_results(cli: Command, recorded: Project, change: str) -> None:
    (item,) = cli("cache", "list", "--task", "train_final", "--json", "--project", recorded.settings.root).json()
    content = recorded.objects.get(item["object_key"])
    assert content is not None
    recorded.objects.delete(item["object_key"])
    if change == "DAMAGED":
        recorded.objects.put(item["object_key"], [bytes(len(content))])
    where = ("--project", recorded.settings.root)
    said = cli("cache", "verify", *where)
    assert said.code == 1
    assert [item["object_key"] in line for line in said.lines if line.endswith(change)] == [True]
    assert said.lines[-1].endswith("none broken, 1 file of small results missing or damaged")
    assert "1 small result only in the record" in " ".join(said.err.split())
    assert len(cli("cache", "verify", "--json", *where).json()["files"]) == 1
    repaired = cli("cache", "verify", "--repair", *where)
    assert (repaired.code, repaired.lines[-1]) == (0, "1 file of small results written")
    assert recorded.objects.get(item["object_key"]) == content
    assert (cli("cache", "verify", *where).code, cli("cache", "verify", *where).err) == (0, "")


def test_verify_files_that_wait_to_be_written(cli: Command, recorded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = cli("cache", "list", "--task", "train_final", "--json", "--project", recorded.settings.root).json()
    content = recorded.objects.get(item["object_key"])
    assert content is not None
    recorded.objects.delete(item["object_key"])
    change = KeepObject(item["object_key"], bytes(content))
    monkeypatch.setattr(Journal, "waiting_in", lambda _: [change])
    said = cli("cache", "verify", "--project", recorded.settings.root)
    assert said.code == 0
    assert "1 file of small results about to be written" in said.err
    recorded.objects.put(item["object_key"], [content], read_only=True)


def test_verify_records_whose_metadata_lead_elsewhere(cli: Command, project: Project) -> None:
    key = CacheKey.parse(ONE)
    assert key is not None
    kv_key = key.record_key
    for metadata in ('{"serializer": {"type": "expops"}, "storage_key": "another"}', "{}"):
        project.kv.put(kv_key, {**(project.kv.get(kv_key) or {}), "prefect_metadata": metadata})
        said = cli("cache", "verify")
        assert said.code == 1
        assert [kv_key in line for line in said.lines if line.endswith("OF ANOTHER KEY")] == [True]
    assert cli("cache", "verify", "--repair").lines[-1].endswith("1 broken, 1 removed")
    assert cli("cache", "verify").code == 0


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("arguments", [(), ("--gcp-project", "churn-prod")])
def test_sync_to_what_is_not_named(cli: Command, arguments: tuple[str, ...]) -> None:
    said = cli("sync", "--to", "gcp", *arguments)
    assert said.code == 2
    assert said.err.startswith("which bucket?" if arguments else "which Google Cloud project?")


def test_gc(cli: Command, project: Project) -> None:
    grow_old(project)
    planned = cli("cache", "gc", "--keep-last", "1", "--dry-run")
    assert planned.code == 0
    assert planned.lines[1].endswith("not among the last")
    assert planned.lines[2].startswith("1 result would be dropped (1 not among the last), 2 kept (")
    assert planned.lines[3] == "0 objects would be freed (0 B)"
    assert planned.lines[4].startswith("2 objects more (")
    assert "in 60 minutes" in planned.lines[4]
    assert [read(project, key) for key in (ONE, TWO, FINAL)] == [1, 2, 3]

    done = cli("cache", "gc", "--keep-last", "1", "--json").json()
    assert [(item["key"], item["reason"]) for item in done["dropped"]] == [(ONE, "not among the last")]
    assert (done["freed"], done["waiting"]) == (0, 2)
    grow_old(project)
    assert cli("cache", "gc", "--json").json()["freed"] == 2
    freed = cli("cache", "gc", "--max-size", "0.001K", "--now")
    assert "2 results dropped (2 size), 0 kept (0 B)" in freed.lines
    assert freed.lines[-1].startswith("4 objects freed (")
    assert list(project.objects.list(CACHE_PREFIX)) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-size", "2Q", "not a size such as 500M"),
        ("--unused-for", "1 x", "not a duration such as"),
        ("--keep-last", "-1", ">= 0"),
    ],
)
@pytest.mark.usefixtures("project")
def test_gc_used_wrongly(cli: Command, option: str, value: str, said: str) -> None:
    done = cli("cache", "gc", option, value)
    assert done.code == 2
    assert said in " ".join(done.err.split())


@pytest.mark.parametrize("command", ["gc", "verify"])
def test_a_project_without_anything(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    root = make_project(tmp_path / "new", "prefect: {project_id: new}")
    monkeypatch.chdir(root)
    assert cli("cache", command).code == 0
    assert not (root / ".new").exists(), "looking leaves no database behind"
