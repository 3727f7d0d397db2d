"""Servers that answer every call as Google's do when something is wrong: by gRPC as Firestore, by HTTP as Storage."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc  # type: ignore[import-untyped, unused-ignore]


class _Refuse(grpc.GenericRpcHandler):  # type: ignore[misc, unused-ignore]
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        self._answer = code, message

    def service(self, handler_call_details: Any) -> Any:
        def refuse(requests: Any, context: Any) -> Any:
            context.abort(*self._answer)

        return grpc.stream_stream_rpc_method_handler(refuse)


@contextmanager
def refusing_firestore(code: str, message: str) -> Iterator[str]:
    """Where a server listens that ends every call with a status; ``host:port``."""
    pool = ThreadPoolExecutor(4)
    server = grpc.server(pool, handlers=[_Refuse(grpc.StatusCode[code], message)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()


@contextmanager
def refusing_storage(status: int, message: str) -> Iterator[str]:
    """The URL of a server that answers every request with an error in Google's form."""
    body = json.dumps({"error": {"code": status, "message": message, "errors": [{"message": message}]}}).encode()

    class Handler(BaseHTTPRequestHandler):
        def _refuse(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = _refuse

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
