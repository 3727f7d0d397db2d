"""Projects on every combination of backends."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.processes import FlowProject

COMBINATIONS: Final = ("local-local", "local-gcs", "gcp-local", "gcp-gcs", "redis-gcs")
"""The KV backend, then the object store."""


@dataclass(frozen=True)
class Cloud:
    """The test servers.

    Attributes:
        firestore: the emulator's host:port.
        gcs: the GCS server's URL.
        bucket: a bucket of this test's own.
        redis: the Redis server's host:port.
    """

    firestore: str
    gcs: str
    bucket: str
    redis: str = ""

    def environ(self) -> dict[str, str]:
        """What a process needs to find them."""
        return {"FIRESTORE_EMULATOR_HOST": self.firestore, "STORAGE_EMULATOR_HOST": self.gcs}

    def section(self, combination: str) -> dict[str, dict[str, Any]]:
        """The section ``experiment.cache``."""
        kv, objects = combination.split("-")
        host, _, port = self.redis.partition(":")
        backends: dict[str, dict[str, Any]] = {
            "local": {"type": "local"},
            "gcp": {"type": "gcp", "gcp_project": "demo-test"},
            "redis": {"type": "redis", "host": host, "port": int(port or 0)},
        }
        return {
            "backend": backends[kv],
            "object_store": {"type": "local"} if objects == "local" else {"type": "gcs", "bucket": self.bucket},
        }

    def config(self, combination: str, project_id: str, more: str = "") -> str:
        """The text of a ``project_config.yaml``."""
        section = yaml.safe_dump({"experiment": {"cache": self.section(combination)}})
        rule = "" if "cache:" in more else "  cache: {default: all}\n"
        return f"{section}prefect:\n  project_id: {project_id}\n{rule}{more}"

    def anywhere(self, folder: Path, combination: str) -> FlowProject:
        """A project whose configuration is the test's own, but for the backends and the id."""
        environ = {**self.environ(), "EXPOPS_PROJECT_ID": f"shop-{uuid.uuid4().hex[:8]}"}
        section = self.section(combination)

        def with_backends(text: str) -> str:
            try:
                content = yaml.safe_load(text)
            except yaml.YAMLError:
                return text
            if not isinstance(content, dict) or not isinstance(content.get("experiment", {}), dict):
                return text
            content["experiment"] = {"cache": section, **content.get("experiment", {})}
            return yaml.safe_dump(content)

        return FlowProject(folder, environ=environ, complete=with_backends)

    def project(self, folder: Path, combination: str, project_id: str, more: str = "") -> FlowProject:
        """A project of its own in an empty folder, as on a machine of its own."""
        return FlowProject(folder, self.config(combination, project_id, more), environ=self.environ())
