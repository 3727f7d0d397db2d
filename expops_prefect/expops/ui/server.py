"""Runs ExpOps' real server for one project, in a process of its own."""

from __future__ import annotations

import importlib.util
import pickle
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from expops_prefect.config import server_environment
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.expops.ui.workspace import Workspace
from expops_prefect.models.names import ARTIFACT_PREFIX
from expops_prefect.project import Project

START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 10.0


class ServerError(ExpOpsPrefectError):
    """The server cannot start, or has ended."""


class Server:
    """A running server.

    Attributes:
        url: its address.
        workspace: the folder that it serves.
    """

    def __init__(self, url: str, workspace: Workspace, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.url = url
        self.workspace = workspace
        self._process = process
        self._log = log

    def check(self) -> None:
        """Check that it is running.

        Raises:
            ServerError: it has ended.
        """
        code = self._process.poll()
        if code is not None:
            self._log.seek(0)
            said = self._log.read().decode(errors="replace").strip().splitlines()[-5:]
            raise ServerError(f"ExpOps' server ended with exit code {code}: {' | '.join(said) or 'no output'}")

    def answers(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/api/projects", timeout=5) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


@contextmanager
def serve(project: Project, port: int) -> Iterator[Server]:
    """Run the server while the context is active; it answers from the start.

    Args:
        project: the project that it shows.
        port: the port to listen on; 0 for a free one.

    Raises:
        ServerError: ExpOps is not installed, the port is taken, or the server did not start.
        BackendError: the project's KV store does not answer.
    """
    if importlib.util.find_spec("expops") is None:
        raise ServerError("ExpOps is not installed here: pip install 'expops-prefect[expops]'")
    port = _free_port(port)
    with tempfile.TemporaryDirectory(prefix="expops-prefect-ui-") as folder, tempfile.TemporaryFile() as log:
        workspace = Workspace(project, Path(folder))
        workspace.follow()
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "expops_prefect.expops.ui.serve", str(port), *_chart_places(project)],
            cwd=folder,
            env=server_environment(project.settings, workspace.folder),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C stops this process, which then stops the server.
            start_new_session=True,
        )
        if process.stdin is not None:
            with suppress(BrokenPipeError):  # it has already ended; the log says why
                pickle.dump(project, process.stdin)
                process.stdin.flush()
        server = Server(f"http://127.0.0.1:{port}", workspace, process, log)
        try:
            _wait_until_it_answers(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdin is not None:
                with suppress(BrokenPipeError):
                    process.stdin.close()


def _wait_until_it_answers(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.answers():
        server.check()
        if time.monotonic() > deadline:
            raise ServerError(f"ExpOps' server did not answer within {START_SECONDS:.0f} s; try again")
        time.sleep(0.1)
    server.check()


def _free_port(port: int) -> int:
    with socket.socket() as listener:
        # Like uvicorn: a port that was in use just now may be used again.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise ServerError(
                f"port {port} cannot be used ({error.strerror}); choose another one with --port, or --port 0 for a "
                "free one"
            ) from error
        return int(listener.getsockname()[1])


def _chart_places(project: Project) -> list[str]:
    places = [str(project.settings.runtime_dir / ARTIFACT_PREFIX)]
    if project.remote_objects:
        places.append(project.objects.uri(f"{ARTIFACT_PREFIX}x")[:-1])
    return places
