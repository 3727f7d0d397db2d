"""The suite's servers, started once, and a Prefect home of its own for every test process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from expops_prefect._internal.process import of_process
from expops_prefect.project import OpenProjects
from tests.support import emulators
from tests.support.backends import COMBINATIONS, Cloud
from tests.support.processes import FlowProject
from tests.support.scheduling import FilesTogether
from tests.support.server import Server, start_prefect_server

_servers: list[Server] = []
_folder: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the process that leads the suite; its workers inherit where it is."""
    global _folder
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell that starts the suite in the background switches Ctrl-C off, and every program would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-", dir=os.environ["EXPOPS_TEST_FOLDER"])
        return
    if config.option.collectonly:
        return
    for name in list(os.environ):
        if name.startswith(("PREFECT_", "MLOPS_", "EXPOPS_", "GOOGLE_", "FIREBASE_", "STORAGE_EMULATOR")):
            del os.environ[name]
    _folder = Path(tempfile.mkdtemp(prefix="expops-prefect-tests-"))
    os.environ["EXPOPS_TEST_FOLDER"] = str(_folder)
    os.environ["PREFECT_HOME"] = str(_folder / "prefect-home")
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    # Flows in test processes: a process that outlives the server would try for a minute to send its last lines.
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    folder = _folder
    starts = {
        "PREFECT_API_URL": start_prefect_server,
        emulators.FIRESTORE: emulators.start_firestore_emulator,
        emulators.GCS: emulators.start_gcs_server,
    }
    found: dict[str, str] = {}

    def start(name: str) -> None:
        server, found[name] = starts[name](folder)
        if server is not None:
            _servers.append(server)

    try:
        with ThreadPoolExecutor(len(starts)) as pool:
            for future in [pool.submit(start, name) for name in starts]:
                future.result()
    except BaseException:
        pytest_unconfigure(config)
        raise
    os.environ.update(found)
    os.environ.pop("FIRESTORE_EMULATOR_HOST", None)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Called in the process that leads the suite."""
    return FilesTogether(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop them."""
    while _servers:
        _servers.pop().stop()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let flows run on other backends."""
    parser.addoption(
        "--backends",
        default=COMBINATIONS[0],
        help=f"the backends of the projects of end-to-end tests, separated by commas; of {', '.join(COMBINATIONS)}",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every test with a project on each of the backends that were asked for."""
    wanted = metafunc.config.getoption("--backends").split(",")
    if "backends" in metafunc.fixturenames and wanted != [COMBINATIONS[0]]:
        if metafunc.definition.get_closest_marker("local") is not None:
            wanted = [COMBINATIONS[0]]
        metafunc.parametrize("backends", wanted)


@pytest.fixture(autouse=True)
def import_path() -> Iterator[None]:
    """Loading a flow by its file puts the file's folder first on the path, for good."""
    path = list(sys.path)
    yield
    sys.path[:] = path


@pytest.fixture(autouse=True)
def projects_closed() -> Iterator[None]:
    """A process keeps its projects open, and each test has one of its own."""
    opened = of_process(OpenProjects).by_root
    before = set(opened)
    yield
    for root in set(opened) - before:
        opened[root][1].close(timeout=1)


@pytest.fixture
def backends() -> str:
    """The KV backend and the object store of a test's project."""
    return COMBINATIONS[0]


@pytest.fixture
def shop(tmp_path: Path, backends: str, request: pytest.FixtureRequest) -> FlowProject:
    """A project folder whose flows run in processes of their own."""
    if backends == COMBINATIONS[0]:
        return FlowProject(tmp_path)
    cloud: Cloud = request.getfixturevalue("cloud")
    return cloud.anywhere(tmp_path, backends)


@pytest.fixture
def firestore_host() -> str:
    """Where the Firestore emulator listens, ``host:port``."""
    return os.environ[emulators.FIRESTORE]


@pytest.fixture
def gcs_endpoint() -> str:
    """The URL of the GCS server."""
    return os.environ[emulators.GCS]


@pytest.fixture
def gcs_bucket(gcs_endpoint: str) -> str:
    """A new bucket."""
    return emulators.new_bucket(gcs_endpoint)


@pytest.fixture
def cloud(firestore_host: str, gcs_endpoint: str, gcs_bucket: str) -> Cloud:
    """The test servers, with a new bucket."""
    return Cloud(firestore_host, gcs_endpoint, gcs_bucket)
