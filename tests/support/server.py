"""A real Prefect server, on a free loopback port, in a folder of its own; and what all servers of the suite share."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]


class Server:
    """A server process that this object started and ends.

    Args:
        command: what to run.
        health: the URL that answers once it is up; ``tcp://host:port`` for a port that takes connections.
        log: the file that takes its output.
        env: its whole environment.
        cwd: its current folder.
        group: whether it starts processes of its own, which end with it.
        shared: whether another process may have to end it, by the id that is then written beside the log.
    """

    def __init__(
        self,
        command: list[str],
        health: str,
        log: Path,
        env: dict[str, str],
        *,
        cwd: Path | None = None,
        group: bool = False,
        shared: bool = False,
    ) -> None:
        self.log = log
        self._group = group
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                stdin=subprocess.DEVNULL,
                cwd=cwd,
                start_new_session=group,
            )
        if shared:
            started = psutil.Process(self.process.pid).create_time()
            log.with_suffix(".pid").write_text(f"{-self.process.pid if group else self.process.pid} {started}")
        try:
            wait_until(lambda: self._answers(health), 240, f"{command[0]} at {health}", on_failure=self.tail)
        except BaseException:
            self.stop()
            raise

    def _answers(self, url: str) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.tail()}")
        try:
            if url.startswith("tcp://"):
                host, _, port = url.removeprefix("tcp://").partition(":")
                with socket.create_connection((host, int(port)), timeout=2):
                    return True
            with urllib.request.urlopen(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def tail(self) -> str:
        """The end of what the server printed."""
        return self.log.read_text(errors="replace")[-3000:]

    def stop(self) -> None:
        """End the server."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server, with the processes that it started if it is a group."""
        if self._group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)


def stop_all(folder: Path) -> None:
    """End the servers whose logs lie in a folder, whichever process started them."""
    running: list[tuple[int, psutil.Process]] = []
    for file in folder.glob("*.pid"):
        identifier, started = file.read_text().split()
        try:
            process = psutil.Process(abs(int(identifier)))
            if process.create_time() == float(started):
                running.append((int(identifier), process))
        except psutil.NoSuchProcess:
            continue
    for ending, seconds in ((signal.SIGTERM, 15), (signal.SIGKILL, 15)):
        running = [(number, process) for number, process in running if not _ended(process)]
        for number, _ in running:
            with suppress(ProcessLookupError):
                os.kill(number, ending)  # a group, if the number is negative
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not all(_ended(process) for _, process in running):
            time.sleep(0.05)


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def start_prefect_server(folder: Path, *, keeps_events: bool = True) -> tuple[Server, str]:
    """Start Prefect's server; its API's URL comes back with it.

    Args:
        folder: for its database and its output.
        keeps_events: whether it stores events and acts on them, which takes a third of its time.
    """
    port = free_port()
    home = folder / ("prefect-server-with-events" if keeps_events else "prefect-server")
    home.mkdir(parents=True)
    env = {
        **clean_environment(home),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_LOG_RETRYABLE_ERRORS": "true",
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
    }
    env.pop("PREFECT_API_URL", None)
    if not keeps_events:
        services = ("EVENT_PERSISTER", "TRIGGERS")
        env |= {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in services}
    command = [
        sys.executable,
        "-m",
        "tests.support.prefect_server",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return Server(command, f"http://127.0.0.1:{port}/api/health", folder / f"{home.name}.log", env, shared=True), (
        f"http://127.0.0.1:{port}/api"
    )


def clean_environment(home: Path) -> dict[str, str]:
    """An environment without the user's settings of Prefect, ExpOps or this package.

    Args:
        home: the folder for Prefect's own files.
    """
    dropped = ("PREFECT_", "MLOPS_", "EXPOPS_", "GOOGLE_", "FIREBASE_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    keep = os.environ.get("PREFECT_API_URL")
    return {
        **env,
        **({"PREFECT_API_URL": keep} if keep else {}),
        "PREFECT_HOME": str(home),
        # Prefect 3.8.0 does not derive it from there.
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLI_PROMPT": "false",
    }


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(
    predicate: Callable[[], bool], timeout: float, what: str, *, on_failure: Callable[[], str] = str
) -> None:
    """Ask until it is true.

    Raises:
        AssertionError: it was not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    pause = 0.02
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout} s\n{on_failure()}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)


def require_program(name: str, install: str) -> str:
    """The path of a program that the tests need.

    Raises:
        AssertionError: it is missing; the message says how to install it.
    """
    found = shutil.which(name)
    if found is None:
        raise AssertionError(f"{name} is missing; install it: {install}")
    return found
