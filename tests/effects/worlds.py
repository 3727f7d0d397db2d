"""What flows do outside of themselves, counted: requests, rows, files, and what Prefect's server was told."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

Answer = Callable[["Site", str, str, bytes], tuple[int, Any]]


class Site(ThreadingHTTPServer):
    """A server on loopback that writes down what it is asked.

    Args:
        answer: gives status and JSON for a method, a path and a body.
        keeps_open: a connection is for many requests.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, answer: Answer, *, keeps_open: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Keeping if keeps_open else _Handler)
        self.answer = answer
        self.lock = Lock()
        self.asked: dict[str, list[str]] = defaultdict(list)
        """By the first part of the path: ``GET /rest body`` of each request, in order."""
        self.memory: Counter[str] = Counter()
        """What an answer wants to remember between requests."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, part: str) -> list[str]:
        """The requests below a part of the path since the last time."""
        with self.lock:
            return self.asked.pop(part, [])


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, part, rest = f"{self.path}/".split("/", 2)
        with self.server.lock:
            text = body.decode(errors="replace")
            self.server.asked[part].append(f"{self.command} /{rest.rstrip('/')} {text}".strip())
            status, value = self.server.answer(self.server, self.command, self.path, body)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


class _Keeping(_Handler):
    protocol_version = "HTTP/1.1"


@contextmanager
def site(answer: Answer, *, keeps_open: bool = False) -> Iterator[Site]:
    """A server for a while."""
    server = Site(answer, keeps_open=keeps_open)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
