"""Signed records: nothing that others wrote into the KV store is used."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expops_prefect import EXPOPS, flow, task
from expops_prefect._internal import diagnostics
from expops_prefect._internal.signing import FIELD, Signatures
from expops_prefect.cache.results import read_hit, record_key
from expops_prefect.cache.session import session
from expops_prefect.config import load_settings
from expops_prefect.errors import ConfigurationError, IntegrityError
from expops_prefect.maintenance import verify
from expops_prefect.maintenance.sync import copy_project
from expops_prefect.models.record_format import RECORD_FORMAT
from expops_prefect.project import Project
from tests.config.support import make_project
from tests.support.result_stores import own_key, read, record, result_store

OLD, NEW = "an old key that is long enough to be one", "a new key that is long enough to be one, too"
CONFIG = "prefect: {project_id: shop, cache: {spill_bytes: 1024, signing_key_file: secrets/signing}}\n"
VALUE = {"array": np.arange(1000), "small": 1}
RAN: list[str] = []


def project_of(root: Path, *keys: str, config: str = CONFIG) -> Project:
    """The project as a process finds it that starts now."""
    make_project(root, config)
    (root / "secrets").mkdir(exist_ok=True)
    (root / "secrets" / "signing").write_text("# keys\n\n" + "".join(f"  {key}\n" for key in keys))
    (root / "secrets" / "signing").chmod(0o600)
    return Project(load_settings(root, environ={}))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return tmp_path / "shop"


@pytest.fixture
def opened(shop: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that blocks find by its root."""
    project_of(shop, OLD)
    session().in_forked_child()
    RAN.clear()
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(shop))
    return Project.open(shop)


def unsigned() -> int:
    return diagnostics.counts().get("unsigned records", 0)


@task(ignore=["ran"], cache_policy=EXPOPS)
def step(n: int, ran: list[str]) -> int:
    ran.append("step")
    return n + 1


@task(ignore=["ran"], cache_policy=EXPOPS)
def process(n: int, ran: list[str]) -> int:
    ran.append("process")
    return step(n, ran) * 10


@flow(persist_result=False)
def main() -> int:
    return process(1, RAN)


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_hits_its_own_records_and_no_others(opened: Project) -> None:
    assert [main(), main()] == [20, 20]
    assert RAN == ["process", "step"]
    records = {key: value for prefix in ("process:", "steps:") for key, value in opened.kv.scan(prefix)}
    assert len(records) == 3
    for key, value in records.items():
        assert value[FIELD].startswith("hmac-sha256:")
        assert opened.signatures.valid(key, value)
        assert not any(opened.signatures.valid(other, value) for other in records if other != key)
        assert OLD not in str(value)
    before = unsigned()
    for key, value in records.items():
        opened.kv.put(key, {**value, "run_id": "another"})
    assert main() == 20
    assert RAN == ["process", "step"] * 2
    assert unsigned() == before + 2
    assert main() == 20
    assert RAN == ["process", "step"] * 2, "mended"


def changed(name: str, value: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda record: {**record, name: value}


@pytest.mark.parametrize(
    "forge",
    [
        lambda value: {name: item for name, item in value.items() if name != FIELD},
        changed(FIELD, ""),
        changed(FIELD, None),
        changed(FIELD, "hmac-sha256:" + "0" * 64),
        changed(FIELD, "hmac-sha256:é"),
        changed("digest", "0" * 64),
        changed("stamp", "another"),
        changed("payloads", []),
        changed("of a later release", 1),
        changed("prefect_metadata", "{}"),
        changed("status", "kept"),
        changed("expires_at", 9e9),
        changed("inline", "gAUu"),
        lambda value: Signatures((NEW.encode(),)).signed(record_key(own_key("one")), value),
        lambda value: Signatures((OLD.encode(),)).signed(record_key(own_key("two")), value),
    ],
)
def test_a_forged_record_is_no_record(opened: Project, forge: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    store, key = result_store(opened), own_key("one")
    store.write(VALUE, key=key)
    assert store.exists(key)
    value = opened.kv.get(record_key(key))
    assert value is not None
    opened.kv.put(record_key(key), forge(value))
    before = unsigned()
    assert not store.exists(key)
    assert unsigned() == before + 1
    # Nor for who has a reference: that way goes past the key storage.
    with pytest.raises(IntegrityError, match="no result"):
        store.result_storage.read_path(key, _sync=True)  # type: ignore[union-attr,call-arg,unused-ignore]


def test_a_record_of_another_key_is_not_taken(opened: Project) -> None:
    store = result_store(opened)
    store.write(VALUE, key=own_key("one"))
    opened.kv.put(record_key(own_key("two")), opened.kv.get(record_key(own_key("one"))))
    assert not store.exists(own_key("two"))
    assert store.exists(own_key("one"))


def test_keys_are_changed_one_by_one(shop: Path) -> None:
    def seen(project: Project) -> list[bool]:
        return [read_hit(project, own_key(name)) is not None for name in ("unsigned", "old", "new")]

    def wrote(project: Project, name: str) -> Project:
        result_store(project).write(VALUE, key=own_key(name))
        return project

    wrote(Project.open(make_project(shop, "prefect: {project_id: shop}\n")), "unsigned")
    for name, keys in (("old", [OLD]), ("new", [NEW, OLD])):
        project_of(shop, *keys)
        project = Project.open(shop)
        project.__dict__.pop("signatures", None)
        wrote(project, name)
    assert seen(project_of(shop, OLD)) == [False, True, False]
    assert seen(project_of(shop, NEW, OLD)) == [False, True, True]
    assert seen(project_of(shop, NEW)) == [False, False, True]
    assert seen(project_of(shop, NEW, config="prefect: {project_id: shop}\n")) == [True, True, True]


def test_a_stamp_that_was_refreshed_is_signed_again(opened: Project) -> None:
    store, key = result_store(opened), own_key("one")
    store.write(VALUE, key=key)
    (payload,) = record(opened, key).payloads
    path = opened.objects.path(payload.key)
    assert path is not None
    os.utime(path)
    for _ in range(2):
        assert store.exists(key)
    (refreshed,) = record(opened, key).payloads
    assert refreshed.stamp != payload.stamp
    assert opened.signatures.valid(record_key(key), opened.kv.get(record_key(key)))


def test_a_machine_without_the_key_leaves_signatures_alone(opened: Project, shop: Path) -> None:
    store, key = result_store(opened), own_key("one")
    store.write(VALUE, key=key)
    (payload,) = record(opened, key).payloads
    path = opened.objects.path(payload.key)
    assert path is not None
    os.utime(path)
    (shop / "configs" / "project_config.yaml").write_text("prefect: {project_id: shop, cache: {spill_bytes: 1024}}\n")
    keyless = Project.open(shop)
    assert keyless is not opened
    assert result_store(keyless).exists(key)
    assert opened.signatures.valid(record_key(key), opened.kv.get(record_key(key)))


def test_verify_tells_and_removes(opened: Project) -> None:
    store = result_store(opened)
    for name in ("one", "two"):
        store.write(VALUE, key=own_key(name))
    name = record_key(own_key("one"))
    opened.kv.put(name, {**(opened.kv.get(name) or {}), FIELD: "hmac-sha256:"})
    (broken,) = verify(opened).broken
    assert (broken.stored.kv_key, broken.stored.trusted, broken.missing, broken.damaged) == (name, False, (), ())
    assert verify(opened, repair=True).repaired == 1
    assert verify(opened).broken == ()
    assert read(store, own_key("two"))["small"] == 1


def test_sync_signs_what_it_copies_and_nothing_else(opened: Project, tmp_path: Path) -> None:
    store = result_store(opened)
    for name in ("one", "two"):
        store.write(VALUE, key=own_key(name))
    forged = record_key(own_key("two"))
    opened.kv.put(forged, {**(opened.kv.get(forged) or {}), "run_id": "x"})
    assert opened.outbox.flush(30)
    target = project_of(tmp_path / "there" / "shop", NEW)
    newer = {"format": RECORD_FORMAT + 1}
    copied = copy_project(opened, target)
    assert (copied.records, copied.skipped >= 1) == (1, True)
    assert read_hit(target, own_key("one")) is not None
    assert target.kv.get(forged) is None
    # What is there already and cannot be used is replaced; what a newer release wrote stays.
    name = record_key(own_key("one"))
    target.kv.put(name, {**(target.kv.get(name) or {}), FIELD: ""})
    assert copy_project(opened, target).records == 1
    assert read_hit(target, own_key("one")) is not None
    target.kv.put(name, newer)
    assert copy_project(opened, target).records == 0
    assert target.kv.get(name) == newer


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        (b"", "no key"),
        (b"# only a comment\n\n", "no key"),
        (b"short\n", "fewer than 32"),
        (OLD.encode() + b"\nshort-secret\n", "fewer than 32"),
        (b"\xff" * 64, "not text"),
    ],
)
def test_a_wrong_key_file_is_an_error(shop: Path, content: bytes | None, says: str) -> None:
    make_project(shop, CONFIG)
    if content is not None:
        (shop / "secrets").mkdir()
        (shop / "secrets" / "signing").write_bytes(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_settings(shop, environ={})
    text = str(caught.value)
    assert "prefect.cache.signing_key_file is 'secrets/signing'; allowed: a file" in text
    assert "at least 32 characters" in text
    assert OLD not in text
    assert "short-secret" not in text


@pytest.mark.parametrize(
    "key", [OLD, "q83vEjRWeJCrze8SNFZ4kKvN7xI0Vni/jRWeJA=", "/83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ", "k" * 300]
)
def test_a_key_in_the_place_of_its_file_is_not_shown(shop: Path, key: str) -> None:
    make_project(shop, CONFIG.replace("secrets/signing", f"'{key}'"))
    with pytest.raises(ConfigurationError) as caught:
        load_settings(shop, environ={})
    assert key not in str(caught.value)
    assert "is a value of type str (not shown)" in str(caught.value)


def test_the_long_path_of_a_file_is_shown(shop: Path, tmp_path: Path) -> None:
    for path in ("configs/of/all/the/environments/that/there/are", f"{tmp_path}/shop/secrets/for-signing"):
        make_project(shop, CONFIG.replace("secrets/signing", path))
        with pytest.raises(ConfigurationError, match=f"is '{path[:40]}"):
            load_settings(shop, environ={})


def test_a_key_file_that_others_can_read_is_told_of(shop: Path) -> None:
    project_of(shop, OLD)
    assert not [line for line in load_settings(shop, environ={}).warnings if "chmod" in line]
    (shop / "secrets" / "signing").chmod(0o640)
    (warning,) = (line for line in load_settings(shop, environ={}).warnings if "chmod" in line)
    assert "secrets/signing" in warning


def test_keys_are_not_shown_and_do_not_travel(shop: Path) -> None:
    project = project_of(shop, OLD, NEW)
    assert project.signatures.required
    copy = pickle.dumps(project)
    for text in (repr(project.signatures), repr(project.settings), repr(project), copy.decode("latin1")):
        assert OLD not in text
        assert NEW not in text
    with pytest.raises(TypeError):
        pickle.dumps(project.signatures)
    assert pickle.loads(copy).signatures.required
