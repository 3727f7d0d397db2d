"""Processes of Python that need not import Prefect first: see :mod:`tests.support.warm`."""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_WARM = Path(__file__).with_name("warm.py")
_TAKEN_OVER = frozenset({"PYTHONPATH", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"})
"""Variables of Python's own that a forked process can be given; others count when it starts."""
_servers: dict[str, _Server] = {}
_lock = threading.Lock()


def start(arguments: list[str], folder: Path, environ: Mapping[str, str], **streams: Any) -> subprocess.Popen[str]:
    """Start ``python *arguments``.

    Args:
        arguments: as the command line has them.
        folder: where.
        environ: its whole environment.
        streams: as :class:`subprocess.Popen` takes them.
    """
    own = {name for name in environ if name.startswith("PYTHON")}
    if own <= _TAKEN_OVER and (not arguments[0].startswith("-") or arguments[0] in ("-m", "-c")):
        with _lock:
            seed = environ.get("PYTHONHASHSEED", "random")
            server = _servers.get(seed)
            if server is None:
                server = _servers[seed] = _Server(seed)
        return _Forked(server, arguments, cwd=folder, env=environ, text=True, **streams)
    return subprocess.Popen([sys.executable, *arguments], cwd=folder, env=environ, text=True, **streams)


class _Server:
    def __init__(self, seed: str) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PYTHON"))}
        home = os.environ.get("EXPOPS_TEST_FOLDER", os.environ.get("PREFECT_HOME", ""))
        environ = kept | {"PYTHONHASHSEED": seed, "PREFECT_HOME": home}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, str(_WARM), str(theirs.fileno())], pass_fds=[theirs.fileno()], env=environ
            )
        self._lock = threading.Lock()
        atexit.register(self._end)

    def fork(self, request: dict[str, Any], descriptors: list[int]) -> int:
        """The id of the process that was forked for a request."""
        with self._lock:
            # In two parts: the descriptors come with the first byte, and a stream may deliver a long text in pieces.
            data = json.dumps(request).encode()
            socket.send_fds(self._socket, [len(data).to_bytes(4, "big")], descriptors)
            self._socket.sendall(data)
            answer = b""
            while not answer.endswith(b"\n"):
                part = self._socket.recv(64)
                if not part:
                    raise RuntimeError(f"{_WARM.name} has ended with {self._process.wait()}")
                answer += part
            return int(answer)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait(30)


class _Forked(subprocess.Popen[str]):
    """A process that is another one's child, which says how it ended."""

    def __init__(self, server: _Server, arguments: list[str], **options: Any) -> None:
        self._server = server
        self._ended, self._end = os.pipe()
        self._looking = threading.Lock()
        super().__init__(arguments, **options)

    def _execute_child(
        self, args: list[str], executable: Any, preexec: Any, close: Any, passed: Any, cwd: Path,
        env: Mapping[str, str], startup: Any, flags: Any, shell: Any, p2cread: int, p2cwrite: int, c2pread: int,
        c2pwrite: int, errread: int, errwrite: int, *others: Any,
    ) -> None:  # fmt: skip
        request = {"arguments": list(args), "folder": str(cwd), "environ": dict(env)}
        streams = [number if given == -1 else given for number, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = self._server.fork(request, [self._end, *streams])
            self._child_created = True
        finally:
            os.close(self._end)
            close_theirs: Any = getattr(self, "_close_pipe_fds")  # noqa: B009 - Python's own, without a type
            close_theirs(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None and not self._look(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        return self.returncode

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            self._look(0)
        return self.returncode

    def _look(self, timeout: float | None) -> bool:
        if not select.select([self._ended], [], [], timeout)[0]:
            return False
        with self._looking:
            if self.returncode is None:
                said = os.read(self._ended, 64)
                os.close(self._ended)
                self.returncode = int(said) if said else -9
        return True
