"""The storage blocks in Prefect's API: saved once, found again by later processes, shown by Prefect's UI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.blocks.core import Block
from prefect.filesystems import LocalFileSystem

from expops_prefect._internal.process import Parts
from expops_prefect.cache.blocks import Blocks
from expops_prefect.cache.storage import ExpOpsKeyStorage, ExpOpsResultStorage
from expops_prefect.config import load_settings
from expops_prefect.project import Project

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(load_settings(tmp_path, environ={}))


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the requests that reach Prefect's API."""
    seen: list[str] = []
    send = httpx.Client.send

    def noted(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        seen.append(request.method)
        return send(self, request, **options)

    monkeypatch.setattr(httpx.Client, "send", noted)
    return seen


def in_a_new_process(monkeypatch: pytest.MonkeyPatch, project: Project) -> ExpOpsResultStorage:
    monkeypatch.setattr(project, "part", Parts(project))
    return project.part(Blocks).storages[0]


def test_a_later_process_looks_and_does_not_save(
    monkeypatch: pytest.MonkeyPatch, project: Project, requests: list[str]
) -> None:
    saved = in_a_new_process(monkeypatch, project)
    assert "POST" in requests
    requests.clear()
    found = in_a_new_process(monkeypatch, project)
    assert set(requests) == {"GET"}
    assert len(requests) <= 2
    assert found._block_document_id == saved._block_document_id is not None
    assert (found.project_root, found.project_id) == (saved.project_root, saved.project_id)


def test_a_block_that_somebody_changed_is_saved_again(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    saved = in_a_new_process(monkeypatch, project)
    name = saved._block_document_name
    assert name is not None
    ExpOpsResultStorage(project_root="elsewhere").save(name, overwrite=True, _sync=True)  # type: ignore[call-arg]
    again = in_a_new_process(monkeypatch, project)
    assert again.project_root == str(project.settings.root)
    loaded = ExpOpsResultStorage.load(name, _sync=True)  # type: ignore[call-arg]
    assert isinstance(loaded, ExpOpsResultStorage)
    assert loaded.project_root == str(project.settings.root)


def test_without_the_api_the_cache_has_its_block(
    monkeypatch: pytest.MonkeyPatch, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(httpx.Client, "send", fail)
    block = in_a_new_process(monkeypatch, project)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "prefect.expops"]
    assert said.startswith("storage block not saved: ")
    assert "nobody there" in said
    assert block._block_document_id is None
    assert block.project_root == str(project.settings.root)


def test_a_server_that_is_busy_is_asked_again_at_once(monkeypatch: pytest.MonkeyPatch, project: Project) -> None:
    send = httpx.Client.send
    refused: list[httpx.URL] = []

    def busy(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        if request.url.path.endswith("/block_documents/") and len(refused) < 2:
            refused.append(request.url)
            return httpx.Response(503, request=request)
        return send(self, request, **options)

    monkeypatch.setattr(httpx.Client, "send", busy)
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    assert in_a_new_process(monkeypatch, project)._block_document_id is not None
    assert len(refused) == 2
    # The real server may be busy, too, for a moment.
    assert max(pauses) < 4, "Prefect's own pauses grow to half a minute"


@pytest.mark.parametrize("kind", [ExpOpsResultStorage, ExpOpsKeyStorage])
def test_what_prefects_page_of_blocks_shows(kind: type[Block], prefect_server: str) -> None:
    kind.register_type_and_schema()
    with httpx.Client(base_url=f"{prefect_server}/") as api:
        asked = {"block_types": {"name": {"like_": kind.get_block_type_name()}}}
        (shown,) = api.post("block_types/filter", json=asked).raise_for_status().json()
        by_type = {"block_schemas": {"block_type_id": {"any_": [shown["id"]]}}}
        newest = api.post("block_schemas/filter", json=by_type).raise_for_status().json()[0]
    assert shown["slug"] == kind.get_block_type_slug()
    assert shown["description"].startswith("Keeps ")
    assert "\n" not in shown["description"], "the page shows one paragraph"
    fence, example = shown["code_example"].split("```python\n")
    assert not fence.strip()
    code = example.removesuffix("\n").removesuffix("```")
    assert kind.__name__ in code
    compile(code, "the example", "exec")
    # Addresses that Prefect serves: others would show as a broken picture or link.
    assert shown["logo_url"] == str(LocalFileSystem._logo_url)
    assert shown["documentation_url"] == str(LocalFileSystem._documentation_url)
    assert not shown["is_protected"]
    assert sorted(newest["capabilities"]) == ["read-path", "write-path"]
    fields = newest["fields"]["properties"]
    assert {name: field["title"] for name, field in fields.items()} == {
        "project_root": "Project Root",
        "project_id": "Project Id",
    }
    assert all(field["description"].endswith(".") for field in fields.values())
