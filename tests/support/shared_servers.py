"""The servers of a test run: the first test that needs one starts it, for all processes of the run.

The folder of the run has, of each server, a lock, its process id and its address. The process that leads the suite
ends the servers, whichever worker started them.
"""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Final

from tests.support import cloud_servers, emulators
from tests.support.redis_server import start_redis_server
from tests.support.server import Server, start_prefect_server, stop_all

FOLDER: Final = "EXPOPS_TEST_FOLDER"
"""The variable with the folder of the run."""
NOWHERE: Final = "http://127.0.0.1:1/this-test-must-ask-for-the-fixture-prefect_server/api"
"""What a test that asks for no Prefect server finds in PREFECT_API_URL. Without a URL Prefect would start a server."""
LEVEL: Final = "EXPOPS_TEST_LEVEL"
"""The variable with the level of the test that runs, one of ``LEVELS``."""
LEVELS: Final = ("e2e", "integration", "unit")
"""Flows in processes of their own; servers, and flows in the test's process at most; neither."""
SERVERS: Final[dict[str, Callable[[Path], tuple[Server, str]]]] = {
    "prefect_server": partial(start_prefect_server, keeps_events=False),
    "prefect_events": start_prefect_server,
    "firestore_host": emulators.start_firestore_emulator,
    "gcs_endpoint": emulators.start_gcs_server,
    "redis_host": start_redis_server,
    "s3_endpoint": cloud_servers.start_s3_server,
    "azure_endpoint": cloud_servers.start_azure_server,
}
"""By the fixture that asks for the server."""
# Kept, so that nothing warns when one is forgotten that runs on: the process that leads the suite ends it.
_started: Final[list[Server]] = []


def address(name: str) -> str:
    """Where a server listens, which is started if it does not run yet.

    Args:
        name: one of ``SERVERS``.

    Raises:
        AssertionError: it does not start, or did not in another process of this run, or a unit test asks for it.
    """
    assert os.environ.get(LEVEL) != "unit", f"a unit test has no servers: mark it as integration or ask for {name}"
    folder = _folder()
    told, failed = folder / f"{name}.address", folder / f"{name}.failed"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if failed.exists():
            raise AssertionError(failed.read_text())
        if not told.exists():
            try:
                server, found = SERVERS[name](folder)
            except BaseException as error:
                failed.write_text(f"{name} did not start: {error}")
                raise
            _started.append(server)
            told.write_text(found)
        return told.read_text()


def runs_already(name: str, found: str) -> None:
    """Use a server that somebody else started."""
    (_folder() / f"{name}.address").write_text(found)


def begin(names: Iterable[str]) -> list[threading.Thread]:
    """Start several servers at once, in threads; a test that needs one waits for it."""
    threads = [threading.Thread(target=_try, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    return threads


def _try(name: str) -> None:
    try:
        address(name)
    except AssertionError:
        pass  # the tests that need it say so


def end() -> None:
    """End all that were started."""
    stop_all(_folder())


def reach(level: str, fixtures: Collection[str]) -> None:
    """Let this process, and those that it starts, use what a test may.

    Args:
        level: its level, one of ``LEVELS``.
        fixtures: the names of its fixtures, which tell whether it uses one of Prefect's servers.
    """
    os.environ[LEVEL] = level
    prefect = next((name for name in ("prefect_events", "prefect_server") if name in fixtures), None)
    url = NOWHERE if prefect is None else address(prefect)
    if os.environ.get("PREFECT_API_URL") != url:
        os.environ["PREFECT_API_URL"] = url
        if "prefect.context" in sys.modules:
            sys.modules["prefect.context"].refresh_global_settings_context()
    if prefect:
        # Not sooner: Prefect reads its settings when it is imported. As in the processes that warm.py forks.
        from prefect.flow_engine import BaseFlowRunEngine

        BaseFlowRunEngine.heartbeat_seconds = None  # type: ignore[assignment]


def _folder() -> Path:
    folder = Path(os.environ[FOLDER]) / "servers"
    folder.mkdir(exist_ok=True)
    return folder
