"""A real Redis server."""

from __future__ import annotations

from pathlib import Path

from tests.support.server import Server, clean_environment, free_port, require_program

ADVICE = "apt-get install redis-server"


def start_redis(
    folder: Path, *options: str, port: int | None = None, sentinel: Path | None = None, shared: bool = False
) -> tuple[Server, int]:
    """Start a server that keeps its data in memory alone.

    Args:
        folder: for its output.
        options: further options of its command line.
        port: where it listens; a free one by default.
        sentinel: the configuration of a sentinel, which keeps no data.
        shared: see :class:`~tests.support.server.Server`.

    Returns:
        The server and its port.
    """
    chosen = port or free_port()
    command = [require_program("redis-server", ADVICE), *([] if sentinel is None else [str(sentinel), "--sentinel"])]
    command += ["--port", str(chosen), "--bind", "127.0.0.1", "--dir", str(folder), *options]
    command += [] if sentinel is not None else ["--save", "", "--appendonly", "no"]
    log = folder / f"redis-{chosen}.log"
    env = clean_environment(folder / "redis-home")
    return Server(command, f"tcp://127.0.0.1:{chosen}", log, env, shared=shared), chosen


def start_redis_server(folder: Path) -> tuple[Server, str]:
    """The server that all tests share; its ``host:port``."""
    server, port = start_redis(folder, shared=True)
    return server, f"127.0.0.1:{port}"
