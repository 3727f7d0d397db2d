"""``ui``: what keeps it from starting, and which requests its guard lets through."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from expops_prefect.expops.ui.guard import Guard, Message
from tests.cli.conftest import Command
from tests.config.support import make_project


def test_what_keeps_it_from_starting(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_project(tmp_path / "shop", "metadata: {}")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        taken = cli("ui", "--no-browser", "--port", port, "--project", root)
    assert taken.code == 1
    assert f"port {port} cannot be used (Address already in use); choose another one with --port" in taken.err
    assert cli("ui", "--port", 70000).code == 2
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", lambda name: None)
        missing = cli("ui", "--no-browser", "--project", root)
    assert (missing.code, missing.out) == (1, "")
    assert missing.err.splitlines()[-1] == "ExpOps is not installed here: pip install 'expops-prefect[expops]'"
    monkeypatch.setattr("expops_prefect.expops.ui.server.server_environment", lambda *_: {"PYTHONPATH": "/nowhere"})
    monkeypatch.setattr(sys, "executable", "/bin/false")
    ended = cli("ui", "--no-browser", "--port", 0, "--project", root)
    assert ended.code == 1
    assert "ExpOps' server ended with exit code 1" in ended.err


# The guard -------------------------------------------------------------------------------------------------


def answer(
    places: list[str], path: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> int:
    """The status with which a request is answered, of an application that takes any."""
    sent: list[Message] = []

    async def anything(scope: Message, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {}

    given = [(name.encode(), value.encode()) for name, value in {"host": "localhost:8000", **(headers or {})}.items()]
    scope = {"type": "http", "path": path, "query_string": urlencode(query or {}).encode(), "headers": given}
    asyncio.run(Guard(anything, places)(scope, receive, send))
    return int(sent[0]["status"])


def test_charts_alone_are_fetched(tmp_path: Path) -> None:
    charts = tmp_path / "artifacts"
    charts.mkdir()
    (charts / "link.png").symlink_to(tmp_path / "key.png")
    places = [str(charts), "gs://bucket/shop/artifacts/", "s3://bucket/shop/artifacts/"]
    fetch = "/api/projects/shop/runs/r/charts/fetch"
    for good in (str(charts / "v" / "a.png"), "gs://bucket/shop/artifacts/v/a.svg", places[2] + "a.png", ""):
        assert answer(places, fetch, {"uri": good, "cache_path": good}) == 200, good
    for bad in (
        "/etc/passwd",
        str(charts / "key.json"),
        str(charts / ".." / "key.png"),
        str(charts / "link.png"),
        "relative.png",
        "gs://bucket/shop/cache/steps/a.png",
        "gs://bucket/shop/artifacts/../cache/a.png",
        "s3://bucket/shop/artifacts/../cache/a.png",
        "az://bucket/shop/artifacts/a.png",
        "gs://other/shop/artifacts/a.png",
        "a\0.png",
    ):
        assert answer(places, fetch, {"uri": bad}) == 403, bad
        assert answer(places, fetch, {"cache_path": bad, "uri": str(charts / "a.png")}) == 403, bad
        assert answer(places, f"{fetch}/", {"cache_path": bad}) == 403, bad
        assert answer(places, "/api/projects", {"uri": bad}) == 200, "other requests name no files"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "null"}, 403),
        ({"origin": "https://pages.invalid"}, 403),
        ({"origin": "http://localhost.pages.invalid"}, 403),
        ({"host": "localhost.pages.invalid"}, 403),
        ({"host": ""}, 403),
        ({"host": "[::1"}, 403),
    ],
)
def test_who_may_ask(headers: dict[str, str], status: int) -> None:
    assert answer([], "/api/projects", headers=headers) == status
