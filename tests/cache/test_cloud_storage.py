"""The two storage blocks over Firestore and Cloud Storage."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from expops_prefect.project import Project
from tests.config.support import open_project
from tests.support.backends import Cloud
from tests.support.key_storage_conformance import KeyStorageConformance
from tests.support.result_storage_conformance import ResultStorageConformance


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
