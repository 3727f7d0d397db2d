"""``doctor --count``: what a task run costs, and nothing is left of the flow that shows it."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore

from expops_prefect.config import isolated_environment
from expops_prefect.stores.objects.gcs.store import GCSObjects
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.support.backends import Cloud


def costs(cli: Command, root: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    # A server of its own takes long to start; the test takes the one of the suite.
    monkeypatch.setattr(isolated_environment, "prefect_of_its_own", lambda environ, folder: dict(environ))
    printed = cli("doctor", "--project", root, "--count", "--json")
    assert printed.code == 0, printed
    costs = [check for check in printed.json() if check["name"] == "cost"]
    assert [check["verdict"] for check in costs] == ["ok", "ok", "ok"], costs
    return [check["found"] for check in costs]


@pytest.mark.usefixtures("prefect_server")
def test_doctor_counts_the_calls_of_a_task_run(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    executed, hit, run = costs(cli, root, monkeypatch)
    assert executed.startswith("each task run that is executed: documents: 1 read, ")
    assert executed.endswith("objects: 0 requests to read, 2 written"), "a manifest and a payload"
    assert hit.startswith("each hit: documents: 1 read, ")
    assert " 0 written" in hit.partition("objects")[2]
    assert run.startswith("each flow run in addition: documents: ")
    assert [
        path.name for path in (root / ".shop").iterdir() if not path.name.startswith(("metrics.sqlite", ".gitignore"))
    ] == []


@pytest.mark.usefixtures("prefect_server")
def test_doctor_counts_in_the_cloud_and_leaves_nothing_there(
    cli: Command, tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    name = f"shop-{uuid.uuid4().hex[:8]}"
    project = cloud.project(tmp_path / "one", "gcp-gcs", name).project()
    project.kv.put("k", 1)
    project.objects.put("cache/x", [b"x"])
    executed, hit, _ = costs(cli, project.settings.root, monkeypatch)
    found = re.fullmatch(
        r".*documents: ([\d.]+) read, ([\d.]+) written; objects: 0 requests to read, 2 written", executed
    )
    assert found is not None, executed
    assert float(found[1]) <= 1.2, "its record, and a few of the run's own"
    assert float(found[2]) <= 3, "its record and its row, which is written once more if it is seen running"
    found = re.fullmatch(r".*documents: ([\d.]+) read, ([\d.]+) written; objects: ([\d.]+) requests .*, 0 written", hit)
    assert found is not None, hit
    assert float(found[1]) <= 1.2
    assert float(found[2]) <= 2
    assert float(found[3]) <= 3, "the manifest, the payload's size, the payload"
    client = firestore.Client(project="demo-test", credentials=AnonymousCredentials())
    left = {document.id for document in client.collection("mlops_projects").list_documents()}
    assert name in left
    assert not any(project_id.startswith("doctor-") for project_id in left)
    assert [key for key, _ in project.kv.scan("")] == ["k"]
    other = GCSObjects(bucket=cloud.bucket, prefix="", endpoint=cloud.gcs)
    assert [info.key for info in other.list("")] == [f"{name}/cache/x"]
