"""Protects ExpOps' server: only the browser on this machine gets answers, and the only files served are charts.

Without it the server lets every web site read from it, and sends any file that a request names.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
FETCH: Final = re.compile(r"^/api/projects/[^/]+/runs/[^/]+/charts/fetch/?$")
_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf"})


class Guard:
    """An ASGI application that wraps another one.

    Args:
        app: the server's application.
        charts: where charts may be: folders, and the start of their addresses in a bucket.
    """

    def __init__(self, app: Application, charts: Sequence[str]) -> None:
        self._app = app
        self._folders = [Path(place).resolve() for place in charts if "://" not in place]
        self._prefixes = tuple(place for place in charts if "://" in place)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "lifespan" and not (_is_local(scope) and self._is_allowed(scope)):
            await _refuse(scope, send)
            return
        await self._app(scope, receive, send)

    def _is_allowed(self, scope: Message) -> bool:
        if FETCH.match(scope.get("path", "")) is None:
            return True
        named = [value for _, value in parse_qsl(scope.get("query_string", b"").decode("latin-1")) if value]
        return all(self._is_chart(value) for value in named)

    def _is_chart(self, name: str) -> bool:
        _, address, path = name.partition("://")
        if address:
            return name.startswith(self._prefixes) and posixpath.normpath(unquote(path)) == path
        try:
            file = Path(name).resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        return file.suffix.lower() in _PICTURES and any(file.is_relative_to(folder) for folder in self._folders)


def _is_local(scope: Message) -> bool:
    """Whether a page of this machine asks, under a name of this machine: pages of other sites must not read answers."""
    headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
    origin = headers.get(b"origin")
    return _is_loopback(f"//{headers.get(b'host', '')}") and (origin is None or _is_loopback(origin))


def _is_loopback(url: str) -> bool:
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


async def _refuse(scope: Message, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    body = b"expops-prefect ui serves only this machine's browser, and only charts\n"
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
