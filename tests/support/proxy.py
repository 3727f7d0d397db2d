"""A TCP proxy in front of a server, which can lose it, slow it down, or answer in its place."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Literal
from urllib.parse import urlsplit

Mode = Literal["pass", "refuse", "hang", "answer"]


class Proxy:
    """Forwards connections on a loopback port, as its ``mode`` says.

    ``pass`` forwards; ``refuse`` closes every connection at once; ``hang`` takes what comes and says
    nothing; ``answer`` gives every HTTP request the status line in :attr:`answer`.

    Args:
        target: the server, ``host:port`` or a URL.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target if "//" in target else f"//{target}")
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self._scheme = f"{parts.scheme}://" if parts.scheme else ""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.mode: Mode = "pass"
        self.answer = "503 Service Unavailable"
        self.delay = 0.0
        self.refused = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """The proxy's own address, in the form of the target's."""
        host, port = self._listener.getsockname()[:2]
        return f"{self._scheme}{host}:{port}"

    def switch(self, mode: Mode) -> None:
        """Change the mode, for open connections too."""
        self.mode = mode
        if mode != "pass":
            with self._lock:
                open_now, self._open = self._open, set()
            for connection in open_now:
                _close(connection)

    def close(self) -> None:
        """Stop listening."""
        self.switch("refuse")
        _close(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if self.mode != "pass":
            self.refused += 1
            if self.mode == "hang":
                with self._lock:
                    self._open.add(client)
                return
            if self.mode == "answer":
                with contextlib.suppress(OSError):
                    client.settimeout(2)
                    client.recv(1 << 16)
                    client.sendall(
                        f"HTTP/1.1 {self.answer}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
                    )
            _close(client)
            return
        try:
            server = socket.create_connection(self._target, timeout=10)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        for source, sink in ((client, server), (server, client)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        _close(source)
        _close(sink)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
