"""A server in front of the GCS server, which passes everything on, but for what a test makes it do wrong."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OF_THE_CONNECTION = {"host", "connection", "transfer-encoding", "content-length"}


class GCSProxy(ThreadingHTTPServer):
    """Passes requests on.

    Attributes:
        damage: flips a bit in each piece of an object's content that is downloaded.
        damage_uploads: flips one in each piece of content that is uploaded in a session.
        breaks: so many downloads of content break off half way.
        refuse: the method of requests that are answered with ``status``, ``None`` for no requests.
        status: that answer.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.damage = self.damage_uploads = False
        self.breaks = 0
        self.refuse: str | None = None
        self.status = 500

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that hang up are no news."""

    def is_content(self, method: str, path: str) -> bool:
        """Whether a request asks for the bytes of an object."""
        return method == "GET" and "alt=media" in path

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        """What the client gets: status, headers, body."""
        if method == self.refuse:
            return self.status, {}, b"refused on purpose"
        return self.pass_on(method, path, headers, body)

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        """The server's answer."""
        if self.damage_uploads and method == "PUT" and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        # Not by urllib, which adds a type to content that has none.
        connection = http.client.HTTPConnection(urlsplit(self.upstream).netloc, timeout=30)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if "json" in (reply.headers.get("Content-Type") or ""):
            # Links to an object's content must lead here as well.
            data = data.replace(self.upstream.encode(), self.url.encode())
        elif self.damage and self.is_content(method, path) and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        return reply.status, reply.headers, data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GCSProxy

    def _pass_on(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_THE_CONNECTION}
        status, answered, data = self.server.answer(self.command, self.path, headers, body)
        self.send_response(status)
        for name, value in answered.items():
            if name.lower() not in _OF_THE_CONNECTION:
                self.send_header(name, value.replace(self.server.upstream, self.server.url))
        of_head = answered.get("Content-Length", "0") if self.command == "HEAD" and answered else len(data)
        self.send_header("Content-Length", str(of_head))
        self.end_headers()
        if self.server.is_content(self.command, self.path) and self.server.breaks > 0:
            self.server.breaks -= 1
            data, self.close_connection = data[: len(data) // 2], True
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass_on

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextmanager
def gcs_proxy(upstream: str) -> Iterator[GCSProxy]:
    """A proxy while the block runs."""
    with GCSProxy(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
