"""The real ExpOps server over a folder of projects, and what it answers."""

from __future__ import annotations

import json
import sys
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support import emulators
from tests.support.backends import Cloud
from tests.support.processes import FlowProject
from tests.support.server import Server, clean_environment, free_port
from tests.support.shared_servers import address


def project_on(combination: str, folder: Path, config: str) -> FlowProject:
    """A project in a folder named like it, as ExpOps has it, whose configuration names the Firestore emulator."""
    endpoint = address("gcs_endpoint")
    cloud = Cloud(address("firestore_host"), endpoint, emulators.new_bucket(endpoint), address("redis_host"))
    section = cloud.section(combination)
    if section["backend"]["type"] == "gcp":
        section["backend"]["emulator_host"] = cloud.firestore
    name = f"shop-{uuid.uuid4().hex[:8]}"
    content = yaml.safe_load(config)
    content["experiment"]["cache"] = section
    content["prefect"] = {"project_id": name, "cache": {"default": "all"}}
    environ = {"STORAGE_EMULATOR_HOST": endpoint} if section["object_store"]["type"] == "gcs" else {}
    return FlowProject(folder, yaml.safe_dump(content), name, environ=environ)


class ExpOps:
    """A running server.

    Attributes:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def bytes(self, path: str) -> bytes:
        """The body of an answer of its API."""
        with urllib.request.urlopen(f"{self.url}/api{path}", timeout=20) as answer:
            return bytes(answer.read())

    def json(self, path: str) -> Any:
        """An answer of its API."""
        return json.loads(self.bytes(path))

    def projects(self) -> list[str]:
        """The ids of the workspace's projects."""
        return list(self.json("/projects")["projects"])

    def project(self, project_id: str) -> Shown:
        """What it shows of one project."""
        return Shown(self, f"/projects/{project_id}")


class Shown:
    """What a server shows of one project."""

    def __init__(self, server: ExpOps, base: str) -> None:
        self._server = server
        self._base = base

    def runs(self) -> list[str]:
        """The run ids, in its order."""
        return list(self._server.json(f"{self._base}/runs")["runs"])

    def graph(self) -> Any:
        """The graph of the configured pipeline."""
        return self._server.json(f"{self._base}/graph")

    def statuses(self, run: str) -> dict[str, str]:
        """The status of each process by probe path; the run's own under ``""``."""
        found = self._server.json(f"{self._base}/runs/{run}/status")
        return {**found["process_status"], "": found["status"]}

    def metrics(self, run: str, path: str) -> Any:
        """The series of a probe path."""
        return self._server.json(f"{self._base}/runs/{run}/metrics/{urllib.parse.quote(path, '')}")["metrics"]

    def charts(self, run: str) -> dict[str, Any]:
        """The charts of each process by its short name."""
        return dict(self._server.json(f"{self._base}/runs/{run}/charts")["charts"])

    def chart(self, run: str, item: Mapping[str, str]) -> bytes:
        """A chart's bytes, asked for as the UI does."""
        query = urllib.parse.urlencode({"uri": item["object_path"], "cache_path": item["cache_path"]})
        return self._server.bytes(f"{self._base}/runs/{run}/charts/fetch?{query}")


@contextmanager
def serving(workspace: Path, environ: Mapping[str, str] | None = None) -> Iterator[ExpOps]:
    """Run the server over a folder that contains projects.

    Args:
        workspace: that folder.
        environ: what its environment has besides.
    """
    port = free_port()
    env = {**clean_environment(workspace / "home"), "MLOPS_WORKSPACE_DIR": str(workspace), **(environ or {})}
    command = [sys.executable, "-m", "uvicorn", "expops.web.server:app", "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    server = Server(command, f"{url}/api/projects", workspace / "expops.log", env, cwd=workspace)
    try:
        yield ExpOps(url)
    finally:
        server.stop()
