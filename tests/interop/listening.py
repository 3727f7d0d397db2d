"""ExpOps' listener SDK in node, and what it delivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.support.server import require_program, wait_until

_SCRIPT: Final = Path(__file__).with_name("listener.mjs")
_PACKAGES: Final = Path(sys.prefix) / "node"


class Listener:
    """What the SDK has delivered so far. Events are dictionaries, see ``listener.mjs``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._events: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line)
            if line.startswith("{"):
                self._events.append(json.loads(line))

    def events(self, kind: str, **named: str) -> list[dict[str, Any]]:
        """Events of a kind, oldest first."""
        wanted = {"kind": kind, **named}
        return [event for event in list(self._events) if wanted.items() <= event.items()]

    def runs(self) -> list[str] | None:
        """The run list as it was delivered last."""
        found = self.events("runs")
        return found[-1]["data"]["runs"] if found else None

    def subscribed(self, run: str, paths: Sequence[str]) -> bool:
        """Whether the server has answered the subscriptions to these metrics, be it with nothing."""
        answered = [*self.events("subscribed", run=run), *self.events("metrics", run=run)]
        return {event["path"] for event in answered} >= set(paths)

    def metrics(self, run: str, path: str) -> list[dict[str, dict[str, Any]]]:
        """The series of a probe path each time that they changed, from the first point on."""
        data = [event["data"] for event in self.events("metrics", run=run, path=path)]
        # In local mode the SDK hands the server's answer on.
        return [series for series, _ in groupby(item.get("metrics", item) for item in data) if series]

    def statuses(self, run: str, path: str = "") -> list[str]:
        """The statuses of a process, or of the run itself, each time that they changed."""
        found = [event["data"] for event in self.events("status", run=run)]
        values = [item["process_status"].get(path) if path else item["status"] for item in found]
        # Before it knows the run's document the SDK calls it unknown.
        return [status for status, _ in groupby(values) if status not in (None, "unknown")]

    def now(self, run: str, path: str = "") -> str | None:
        """The status as it was delivered last."""
        return self.statuses(run, path)[-1] if self.statuses(run, path) else None

    def wait(self, predicate: Callable[[], bool], what: str) -> None:
        """Wait until something has been delivered."""
        wait_until(predicate, 60, what, on_failure=lambda: "".join(self._lines[-15:]))

    def stop(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        self._process.stdout.close()


@contextmanager
def listening(
    mode: str, address: str, project: str, paths: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator[Listener]:
    """Subscribe to a project's runs, and to the statuses and metrics of each.

    Args:
        mode: ``firestore`` or ``local``.
        address: the Firestore emulator's host:port; in local mode the URL of an ExpOps server.
        project: its id.
        paths: the probe paths whose metrics are wanted.
        environ: what its environment has besides.
    """
    node = require_program("node", "apt-get install nodejs npm")
    assert (_PACKAGES / "node_modules/@expops/listener-sdk").is_dir(), (
        f"the listener SDK is missing; install it: make .venv/.node, or npm install --prefix {_PACKAGES} "
        "with tests/interop/package.json in that folder"
    )
    process = subprocess.Popen(
        [node, str(_SCRIPT), mode, "demo-test", address, project, *paths],
        env={**os.environ, "EXPOPS_TEST_NODE": str(_PACKAGES), **(environ or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    listener = Listener(process)
    try:
        listener.wait(lambda: listener.runs() is not None, "the first run list")
        yield listener
    finally:
        listener.stop()
