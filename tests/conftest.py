"""The suite's one Prefect server, and a Prefect home of its own for every test process."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.support.processes import FlowProject
from tests.support.server import Server, start_prefect_server

_server: Server | None = None
_folder: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the process that leads the suite; its workers inherit where it is."""
    global _server, _folder
    if hasattr(config, "workerinput"):
        os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-", dir=os.environ["EXPOPS_TEST_FOLDER"])
        return
    if config.option.collectonly:
        return
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLOPS_", "EXPOPS_")):
            del os.environ[name]
    _folder = Path(tempfile.mkdtemp(prefix="expops-prefect-tests-"))
    os.environ["EXPOPS_TEST_FOLDER"] = str(_folder)
    os.environ["PREFECT_HOME"] = str(_folder / "prefect-home")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    # Flows in test processes: a process that outlives the server would try for a minute to send its last lines.
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    _server, os.environ["PREFECT_API_URL"] = start_prefect_server(_folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop it."""
    if _server is not None:
        _server.stop()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


@pytest.fixture
def shop(tmp_path: Path) -> FlowProject:
    """A project folder whose flows run in processes of their own."""
    return FlowProject(tmp_path)
