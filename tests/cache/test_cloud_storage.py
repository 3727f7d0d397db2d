"""The two storage blocks over Firestore and Cloud Storage."""

from __future__ import annotations

import uuid
from pathlib import Path

import numpy as np
import pytest

from expops_prefect.errors import IntegrityError
from expops_prefect.project import Project
from tests.config.support import open_project
from tests.support.backends import Cloud
from tests.support.key_storage_conformance import KeyStorageConformance
from tests.support.result_storage_conformance import ResultStorageConformance
from tests.support.result_stores import own_key, record, result_store


@pytest.fixture
def project(tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "shop"
    more = "  cache: {processes: {short: {ttl: 1s}}}\n"
    config = cloud.config("gcp-gcs", f"shop-{uuid.uuid4().hex[:8]}", more)
    return open_project(root, config)


class TestCloudKeyStorage(KeyStorageConformance):
    """Over Firestore."""


class TestCloudResultStorage(ResultStorageConformance):
    """Over Cloud Storage."""


def test_results_are_read_back_from_the_cloud(project: Project) -> None:
    value, key = {"array": np.arange(100_000), "small": 1}, own_key("one")
    result_store(project).write(value, key=key)
    np.testing.assert_equal(project.result(key), value)
    np.testing.assert_equal(project.result("train"), value)
    (payload,) = record(project, key).payloads
    project.objects.delete(payload.key)
    copy = project.objects.path(payload.key) or project.objects.fetch(payload.key)
    if copy is not None:
        copy.unlink()
    with pytest.raises(IntegrityError, match=r"the payload gs://.* is gone; remove it with .* --repair"):
        project.result(key)
