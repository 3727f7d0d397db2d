"""The suite's servers, and a Prefect home of its own for every test process."""

from __future__ import annotations

import compileall
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import expops_prefect
from expops_prefect._internal.process import of_process
from expops_prefect.project import OpenProjects
from tests.support import cloud_servers, emulators, shared_servers
from tests.support.backends import COMBINATIONS, Cloud
from tests.support.processes import FlowProject
from tests.support.scheduling import FilesTogether
from tests.support.shared_servers import LEVELS

_SETTINGS = (
    *("PREFECT_", "MLOPS_", "EXPOPS_", "GOOGLE_", "FIREBASE_", "FIRESTORE_", "STORAGE_EMULATOR"),
    *("AWS_", "AZURE_"),
)
_starting: list[Thread] = []


def pytest_configure(config: pytest.Config) -> None:
    """Make a folder for the run, in the process that leads it, and a Prefect home for each process."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # A shell that starts the suite in the background switches Ctrl-C off, and every program would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-home-", dir=os.environ[shared_servers.FOLDER])
        return
    emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
    for name in list(os.environ):
        if name.startswith(_SETTINGS):
            del os.environ[name]
    folder = tempfile.mkdtemp(prefix="expops-prefect-tests-")
    os.environ[shared_servers.FOLDER] = folder
    os.environ["PREFECT_HOME"] = f"{folder}/prefect-home"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    # Flows in test processes: a process that outlives the server would try for a minute to send its last lines.
    os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"
    if emulator is not None:
        shared_servers.runs_already("firestore_host", emulator)
    shared_servers.reach("unit", ())
    # Flow processes write no bytecode, and would each compile what none of the suite's own has imported yet.
    compileall.compile_dir(expops_prefect.__path__[0], quiet=2)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start what the tests need, all at once."""
    if session.config.option.collectonly:
        return
    needed = {name for item in session.items for name in fixtures_of(item) if name in shared_servers.SERVERS}
    _starting.extend(shared_servers.begin(needed))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let a test use what belongs to its level, and Prefect's server only if it asks for it."""
    shared_servers.reach(level_of(item), fixtures_of(item))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its level, by what it asks for."""
    for item in items:
        if not any(item.get_closest_marker(level) for level in LEVELS):
            asked = fixtures_of(item)
            integration = not shared_servers.SERVERS.keys().isdisjoint(asked)
            item.add_marker("e2e" if "flow_processes" in asked else "integration" if integration else "unit")


def level_of(item: pytest.Item) -> str:
    """One of ``LEVELS``."""
    return next(level for level in LEVELS if item.get_closest_marker(level) is not None)


def fixtures_of(item: pytest.Item) -> Sequence[str]:
    """The fixtures that a test asks for, directly or not."""
    found: Sequence[str] = getattr(item, "fixturenames", ())
    return found


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether:
    """Called in the process that leads the suite."""
    return FilesTogether(config, log)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers, in the process that leads the suite, and remove its folder."""
    for thread in _starting:
        thread.join()
    if not hasattr(config, "workerinput"):
        shared_servers.end()
        shutil.rmtree(os.environ[shared_servers.FOLDER], ignore_errors=True)


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
def shop(tmp_path: Path, backends: str, flow_processes: None, request: pytest.FixtureRequest) -> FlowProject:
    """A project folder whose flows run in processes of their own."""
    if backends == COMBINATIONS[0]:
        return FlowProject(tmp_path)
    cloud: Cloud = request.getfixturevalue("cloud")
    return cloud.anywhere(tmp_path, backends)


@pytest.fixture(scope="session")
def prefect_server() -> str:
    """The URL of Prefect's API, which Prefect uses in a test that asks for it."""
    return shared_servers.address("prefect_server")


@pytest.fixture(scope="session")
def prefect_events() -> str:
    """The URL of another API, whose server stores events and acts on them; it precedes the first one."""
    return shared_servers.address("prefect_events")


@pytest.fixture(scope="session")
def flow_processes(prefect_server: str) -> None:
    """What a test asks for that starts flows in processes of their own; this makes it an end-to-end test."""


@pytest.fixture(scope="session")
def firestore_host() -> str:
    """Where the Firestore emulator listens, ``host:port``."""
    return shared_servers.address("firestore_host")


@pytest.fixture(scope="session")
def gcs_endpoint() -> str:
    """The URL of the GCS server."""
    return shared_servers.address("gcs_endpoint")


@pytest.fixture(scope="session")
def redis_host() -> str:
    """Where the Redis server listens, ``host:port``."""
    return shared_servers.address("redis_host")


@pytest.fixture(scope="session")
def s3_endpoint() -> str:
    """The URL of the server that speaks S3's protocol."""
    return shared_servers.address("s3_endpoint")


@pytest.fixture(scope="session")
def azure_endpoint() -> str:
    """The URL of an account on the server that speaks Azure's protocol."""
    return shared_servers.address("azure_endpoint")


@pytest.fixture
def s3_bucket(s3_endpoint: str) -> str:
    """A new bucket."""
    return cloud_servers.new_s3_bucket(s3_endpoint)


@pytest.fixture
def azure_container(azure_endpoint: str) -> str:
    """A new container."""
    return cloud_servers.new_azure_container(azure_endpoint)


@pytest.fixture
def gcs_bucket(gcs_endpoint: str) -> str:
    """A new bucket."""
    return emulators.new_bucket(gcs_endpoint)


@pytest.fixture
def cloud(firestore_host: str, gcs_endpoint: str, gcs_bucket: str, redis_host: str) -> Cloud:
    """The test servers, with a new bucket."""
    return Cloud(firestore_host, gcs_endpoint, gcs_bucket, redis_host)
