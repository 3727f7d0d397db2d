"""Projects on every combination of backends."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support import cloud_servers
from tests.support.processes import FlowProject
from tests.support.shared_servers import FOLDER, address

COMBINATIONS: Final = (
    *("local-local", "local-gcs", "gcp-local", "gcp-gcs", "redis-gcs"),
    *("local-s3", "redis-s3", "redis-azure"),
)
"""The KV backend, then the object store."""


def _credentials(name: str, text: str) -> dict[str, str]:
    """The setting that names a file with credentials, which is written unless it is there."""
    file = Path(os.environ[FOLDER]) / f"{name}-credentials"
    if not file.exists():
        whole = file.with_suffix(f".{os.getpid()}")
        whole.write_text(text)
        whole.replace(file)
    return {"credentials_file": str(file)}


@dataclass(frozen=True)
class Cloud:
    """The test servers.

    Attributes:
        firestore: the emulator's host:port.
        gcs: the GCS server's URL.
        bucket: a bucket of this test's own; its name is used in S3 and Azure too, whose servers start when a project
            is to use one.
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
        return {"backend": backends[kv], "object_store": self._objects(objects)}

    def _objects(self, kind: str) -> dict[str, Any]:
        if kind == "s3":
            endpoint = address("s3_endpoint")
            cloud_servers.new_s3_bucket(endpoint, self.bucket)
            keys = "".join(f"{name.lower()}={value}\n" for name, value in cloud_servers.AWS_KEYS.items())
            place = {"endpoint": endpoint, "region": cloud_servers.REGION}
            return {"type": "s3", "bucket": self.bucket, **place, **_credentials("aws", f"[default]\n{keys}")}
        if kind == "azure":
            endpoint = address("azure_endpoint")
            cloud_servers.new_azure_container(endpoint, self.bucket)
            text = cloud_servers.connection_string(endpoint)
            return {"type": "azure", "container": self.bucket, **_credentials("azure", text)}
        return {"type": "local"} if kind == "local" else {"type": "gcs", "bucket": self.bucket}

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
