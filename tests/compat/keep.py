"""Keeps what this release stores, for the tests of later ones: ``python -m tests.compat.keep``, once a release.

It runs the flow of :mod:`tests.compat.flows` in an empty project and writes the KV file, as SQL, and the
objects, in base64, to ``tests/compat/<version>/``. What is kept there is never changed.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import sqlite3
import tempfile
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from expops_prefect.project import Project

HERE = Path(__file__).resolve().parent
KV, OBJECTS = "kv.sql", "objects.json"


def run_flow() -> Project:
    """Run the flow in the project of ``EXPOPS_PROJECT_ROOT``, where nothing is stored yet."""
    from tests.compat import flows

    project = Project.open()
    configuration = project.settings.root / "configs" / "project_config.yaml"
    configuration.parent.mkdir()
    configuration.write_text(flows.CONFIG)
    flows.RAN.clear()
    found = flows.main()
    assert sorted(flows.RAN) == sorted(flows.EXECUTED), flows.RAN
    assert not flows.differences(found)
    project = Project.open()
    assert project.outbox.flush(60)
    return project


def keep(project: Project, folder: Path) -> None:
    """Write everything that a project's local stores hold."""
    project.kv.close()
    with closing(sqlite3.connect(project.settings.runtime_dir / "metrics.sqlite")) as connection:
        schema = connection.execute("PRAGMA user_version").fetchone()[0]
        lines = [*connection.iterdump(), f"PRAGMA user_version = {schema};"]
    folder.mkdir()
    text = "\n".join(lines).replace(socket.gethostname(), "builder").replace(tempfile.gettempdir(), "/srv")
    (folder / KV).write_text(f"{text}\n")
    keys = [info.key for prefix in ("cache/", "artifacts/") for info in project.objects.list(prefix)]
    objects = {key: base64.b64encode(project.objects.get(key) or b"").decode() for key in keys}
    (folder / OBJECTS).write_text(json.dumps(objects, indent=1) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="compat-") as root:
        os.environ |= {
            "EXPOPS_PROJECT_ROOT": root,
            "PREFECT_HOME": f"{root}/prefect",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        }
        keep(run_flow(), HERE / version("expops-prefect"))
