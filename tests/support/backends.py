"""Projects on every combination of backends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.processes import FlowProject

COMBINATIONS: Final = ("local-local", "local-gcs", "gcp-local", "gcp-gcs")
"""The KV backend, then the object store."""


@dataclass(frozen=True)
class Cloud:
    """The test servers.

    Attributes:
        firestore: the emulator's host:port.
        gcs: the GCS server's URL.
        bucket: a bucket of this test's own.
    """

    firestore: str
    gcs: str
    bucket: str

    def environ(self) -> dict[str, str]:
        """What a process needs to find them."""
        return {"FIRESTORE_EMULATOR_HOST": self.firestore, "STORAGE_EMULATOR_HOST": self.gcs}

    def config(self, combination: str, project_id: str, more: str = "") -> str:
        """The text of a ``project_config.yaml``."""
        kv, objects = combination.split("-")
        backend = "{type: local}" if kv == "local" else "{type: gcp, gcp_project: demo-test}"
        store = "{type: local}" if objects == "local" else f"{{type: gcs, bucket: {self.bucket}}}"
        return (
            f"experiment:\n  cache:\n    backend: {backend}\n    object_store: {store}\n"
            f"prefect:\n  project_id: {project_id}\n{more}"
        )

    def project(self, folder: Path, combination: str, project_id: str, more: str = "") -> FlowProject:
        """A project of its own in an empty folder, as on a machine of its own."""
        return FlowProject(folder, self.config(combination, project_id, more), environ=self.environ())
