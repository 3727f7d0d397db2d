"""Whoever can write to the object store gets no code run, and no wrong result in."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect.serializers import PickleSerializer

from expops_prefect.cache import results
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.payloads import StoredPayloads
from expops_prefect.cache.results import record_key
from expops_prefect.errors import ExpOpsPrefectError, IntegrityError
from expops_prefect.project import Project
from expops_prefect.serialization import pickling
from expops_prefect.serialization.manifest import pack, unpack
from expops_prefect.serialization.payloads import PayloadRef
from expops_prefect.serialization.references import ARRAY_MARKER, MODEL_MARKER, OWN_MARKER
from tests.compat.flows import Doubler, Holder
from tests.config.support import open_project
from tests.security.evil import Swapping, evil_manifest, evil_pickle, object_keys, overwrite
from tests.support.backends import Cloud
from tests.support.result_stores import own_key, record, result_store

OBJECTS = ["manifest", ".npz", ".arrow", ".joblib", ".buf"]
SPILL = 4096
CONFIG = "cache: {small_bytes: 0, spill_bytes: 4096}"
KEY = own_key("one")


def value() -> dict[str, Any]:
    """A result with a payload of every kind."""
    return {
        "array": np.arange(2000.0),
        "frame": pd.DataFrame({"x": np.arange(3000)}),
        "model": Doubler(weights=list(range(5000))),
        "holder": Holder(np.arange(1500.0)),
    }


def same(found: Any) -> bool:
    made = value()
    return bool(
        (found["array"] == made["array"]).all()
        and found["frame"].equals(made["frame"])
        and found["model"].weights == made["model"].weights
        and (found["holder"].values == made["holder"].values).all()
    )


@pytest.fixture(params=["local", pytest.param("gcs", marks=pytest.mark.integration)])
def project(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with one cached result, in files or in a bucket."""
    config = f"prefect: {{project_id: shop, {CONFIG}}}\n"
    if request.param == "gcs":
        cloud: Cloud = request.getfixturevalue("cloud")
        for name, text in cloud.environ().items():
            monkeypatch.setenv(name, text)
        config = cloud.config("local-gcs", f"shop-{uuid.uuid4().hex[:8]}", f"  {CONFIG}\n")
    project = open_project(tmp_path / "shop", config)
    assert project.remote_objects == (request.param == "gcs")
    result_store(project).write(value(), key=KEY)
    assert set(object_keys(record(project, KEY))) == set(OBJECTS)
    return project


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    """A file that unpickling makes; the test fails if it is there in the end."""
    file = tmp_path / "code was run"
    yield file
    assert not file.exists()


def by_reference(project: Project) -> Any:
    """The result as somebody gets it who has a reference to it: past the key storage."""
    store = result_store(project)
    return store.serializer.loads(store.result_storage.read_path(KEY, _sync=True))  # type: ignore[union-attr,call-arg,arg-type,unused-ignore]


def on_a_new_machine(project: Project) -> None:
    """No copies of objects are here."""
    if project.remote_objects:
        folder = project.settings.runtime_dir / "downloads"
        for file in list(folder.rglob("*")):
            if file.is_file():
                file.unlink()


@pytest.mark.parametrize("same_size", [False, True])
@pytest.mark.parametrize("which", OBJECTS)
def test_replaced_objects_are_not_unpickled(project: Project, marker: Path, which: str, same_size: bool) -> None:
    key = object_keys(record(project, KEY))[which]
    content = evil_manifest(marker) if which == "manifest" else evil_pickle(marker)
    overwrite(project, key, content, same_size=same_size)
    on_a_new_machine(project)
    store = result_store(project)
    assert not store.exists(KEY)
    with pytest.raises(IntegrityError):
        by_reference(project)
    store.write(value(), key=KEY)
    assert store.exists(KEY)
    assert same(by_reference(project)), "mended"


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("project", ["gcs"], indirect=True)
@pytest.mark.parametrize("which", [".npz", ".arrow", ".buf", ".joblib"])
def test_a_copy_that_was_replaced_on_this_machine(project: Project, marker: Path, which: str) -> None:
    assert same(by_reference(project))
    path = project.objects.path(object_keys(record(project, KEY))[which])
    assert path is not None
    size = path.stat().st_size
    path.unlink()
    path.write_bytes(evil_pickle(marker).ljust(size, b"\0"))
    assert result_store(project).exists(KEY)
    assert same(by_reference(project)), "downloaded again"


@pytest.mark.parametrize("reads", range(5))
def test_objects_that_change_from_one_read_to_the_next(
    project: Project, marker: Path, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    store = result_store(project)
    sizes = {item.key: item.size for item in record(project, KEY).payloads}

    def other(key: str) -> bytes:
        return evil_pickle(marker).ljust(sizes[key], b"\0") if key in sizes else evil_manifest(marker)

    swapping = Swapping(project.objects, reads, other)
    monkeypatch.setattr(project, "objects", swapping)
    try:
        found = by_reference(project)
    except ExpOpsPrefectError:
        found = None
    assert found is None or same(found)
    swapping.left = reads
    store.exists(KEY)


# In a process that knows nothing of the project but the reference that Prefect keeps.
LOAD = """
import asyncio, json, sys
from uuid import UUID
from prefect.results import ResultStore, resolve_result_storage
from prefect._internal.result_records import ResultRecordMetadata
resolve_result_storage(UUID(sys.argv[1]), _sync=True)
metadata = ResultRecordMetadata.load_bytes(sys.argv[2].encode())
record = asyncio.run(ResultStore._from_metadata(metadata))
print("LOADED", sorted(record.result))
"""


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("which", ["nothing", "manifest"])
def test_a_state_of_prefects_that_another_process_asks(tmp_path: Path, marker: Path, which: str) -> None:
    project = open_project(tmp_path / "shop", f"prefect: {{project_id: shop, {CONFIG}}}\n")
    storage, keys = project.part(Blocks).storages
    store = result_store(project, result_storage=storage, metadata_storage=keys)
    store.write(value(), key=KEY)
    metadata = json.loads(record(project, KEY).prefect_metadata or "")
    metadata["storage_block_id"] = str(storage._block_document_id)
    if which == "manifest":
        overwrite(project, record(project, KEY).object_key, evil_manifest(marker))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(storage._block_document_id), json.dumps(metadata)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ("LOADED" in done.stdout) == (which == "nothing"), done.stderr
    assert (done.returncode == 0) == (which == "nothing")
    assert which == "nothing" or "was changed after it was written" in done.stderr


@pytest.fixture
def local(tmp_path: Path) -> Project:
    project = open_project(tmp_path / "shop", f"prefect: {{project_id: shop, {CONFIG}}}\n")
    result_store(project).write(value(), key=KEY)
    return project


@pytest.mark.parametrize("which", OBJECTS)
@pytest.mark.parametrize("place", ["file", "folder"])
def test_links_are_not_followed(local: Project, marker: Path, tmp_path: Path, which: str, place: str) -> None:
    path = local.objects.path(object_keys(record(local, KEY))[which])
    assert path is not None
    evil = tmp_path / "elsewhere" / path.name
    evil.parent.mkdir()
    evil.write_bytes(evil_manifest(marker) if which == "manifest" else evil_pickle(marker))
    if place == "file":
        path.unlink()
        path.symlink_to(evil)
    else:
        path.parent.rename(tmp_path / "moved")
        path.parent.symlink_to(evil.parent)
    assert not result_store(local).exists(KEY)
    with pytest.raises(ExpOpsPrefectError):
        by_reference(local)


def test_a_link_to_the_very_bytes_is_refused_too(local: Project, tmp_path: Path) -> None:
    # It might lead elsewhere the next moment.
    path = local.objects.path(record(local, KEY).object_key)
    assert path is not None
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    assert not result_store(local).exists(KEY)


def manifest_of(skeleton: Any) -> bytes:
    """A manifest that says that there are references in it."""
    linked = pack({"x": np.zeros(10)}, spill_bytes=1).manifest
    head = linked[: linked.index(b"linked") + len(b"linked") + 1]
    return head + pickling.dumps(skeleton)


def test_references_that_the_record_does_not_name(local: Project, marker: Path) -> None:
    # The bytes of the other payload are whole, and lie where its digest says: but nobody vouched for them here.
    evil = pack(Doubler(weights=list(range(9000))), spill_bytes=SPILL)
    (payload,) = evil.payloads
    local.objects.put(payload.ref.key, [evil_pickle(marker)])
    for listed in (record(local, KEY), replace(record(local, KEY), payloads=())):
        with pytest.raises(IntegrityError, match="which its record does not"):
            unpack(evil.manifest, StoredPayloads(local, listed))


@pytest.mark.parametrize(
    "fields",
    [
        {"suffix": "/../../../../outside.joblib"},
        {"suffix": ".joblib/../../x"},
        {"digest": "../../../outside"},
        {"digest": "/outside"},
        {"digest": 7},
        {"digest": None},
        {"size": -1},
        {"size": 10**30},
        {"size": "1"},
        {"suffix": ".joblib"},
        {"uri": "gs://another/bucket.npz", "digest": "0" * 64},
    ],
)
@pytest.mark.parametrize("marked", [ARRAY_MARKER, MODEL_MARKER, OWN_MARKER])
def test_references_lead_nowhere_else(local: Project, fields: dict[str, Any], marked: str) -> None:
    listed = record(local, KEY)
    stored = next(item for item in listed.payloads if item.key.endswith(".npz"))
    link = {marked: True, "format": "bytes", "uri": "x", "digest": stored.digest, "size": stored.size}
    link |= {"suffix": ".npz", "meta": {"dtype": "<f8", "shape": (2000,), "order": "C", "writeable": True}}
    with pytest.raises(IntegrityError):
        unpack(manifest_of({"a": link | fields}), StoredPayloads(local, listed))


@pytest.mark.parametrize(
    "key",
    ["../outside", "/etc/hostname", "metrics.sqlite", "cache/../metrics.sqlite", "cache/steps/../../x", "", "a\0b"],
)
def test_records_that_lead_elsewhere(local: Project, key: str) -> None:
    listed = record(local, KEY)
    (payload, *_) = listed.payloads
    kv = local.settings.runtime_dir / "metrics.sqlite"
    for forged in (
        replace(listed, object_key=key),
        replace(listed, payloads=(replace(payload, key=key), *listed.payloads[1:])),
    ):
        local.kv.put(record_key(KEY), forged.dump())
        store = result_store(local)
        if forged.object_key:  # without one, Prefect is told that another storage has the result
            assert not store.exists(KEY)
        with pytest.raises(ExpOpsPrefectError):
            by_reference(local)
        assert kv.exists()


def test_a_payload_of_data_is_never_loaded_as_code(local: Project) -> None:
    reader = StoredPayloads(local, record(local, KEY))
    for item in reader.record.payloads:
        ref = PayloadRef(item.digest, item.size, Path(item.key).suffix)
        assert (reader.file(ref) is None) == (ref.suffix == ".joblib"), "what is unpickled is not read by its path"


@pytest.mark.parametrize(
    "metadata",
    [
        {"serializer": {"type": "pickle"}},
        {"serializer": {"type": "json"}},
        {"serializer": {"type": "compressed/pickle"}},
        {"serializer": None},
        {"serializer": {}},
        {"storage_key": 7},
        {"storage_key": "of/another/key"},
    ],
)
def test_metadata_that_name_another_serializer(local: Project, metadata: dict[str, Any]) -> None:
    listed = record(local, KEY)
    known = {**json.loads(listed.prefect_metadata or ""), **metadata}
    local.kv.put(record_key(KEY), replace(listed, prefect_metadata=json.dumps(known)).dump())
    store = result_store(local)
    assert not store.exists(KEY)
    store.write(value(), key=KEY)
    assert store.exists(KEY)
    assert same(by_reference(local))


def test_bytes_of_another_serializer_are_verified_too(tmp_path: Path, marker: Path) -> None:
    project = open_project(tmp_path / "raw", f"prefect: {{project_id: shop, {CONFIG}}}\n")
    store = result_store(project, serializer=PickleSerializer())
    store.write({"a": 1}, key=KEY)
    assert record(project, KEY).kind == "raw"
    overwrite(project, record(project, KEY).object_key, evil_pickle(marker))
    assert not store.exists(KEY)
    with pytest.raises(IntegrityError):
        results.verified(project, KEY, record(project, KEY))
