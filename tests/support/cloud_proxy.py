"""A server in front of the one for S3 or Azure, which holds requests up, and answers some in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.support.gcs_proxy import GCSProxy

REMOVAL = ".tmp-removal"


@dataclass
class Gate:
    """Where a request waits.

    Attributes:
        method: of the request; a removal is ``DELETE``, whatever the service's protocol has.
        of_marker: whether the request is one for the marker of an object.
        when: whether it waits before it reaches the server, or its answer.
        reached: set when it waits.
        opened: lets it go on.
    """

    method: str
    of_marker: bool
    when: Literal["before", "after"] = "before"
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def stop(self, method: str, of_marker: bool, when: str) -> None:
        """Wait, if this is the request, and the first of its kind."""
        if (method, of_marker, when) == (self.method, self.of_marker, self.when) and not self.reached.is_set():
            self.reached.set()
            assert self.opened.wait(60)


class CloudProxy(GCSProxy):
    """Passes requests on.

    Attributes:
        gate: where one of them waits.
        seen: method and path of all.
        told: the body of the answer in its place, with ``refuse`` and ``status``.
        takes_effect: whether a refused request is passed on all the same.
    """

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self.gate: Gate | None = None
        self.seen: list[tuple[str, str]] = []
        self.told = b""
        self.takes_effect = False

    def is_content(self, method: str, path: str) -> bool:
        """See :class:`GCSProxy`."""
        return method == "GET" and "?" not in path

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes | None) -> tuple[int, Any, bytes]:
        """See :class:`GCSProxy`."""
        meant, of_marker = method, REMOVAL in path
        if method == "POST" and ("delete" in path or "comp=batch" in path):
            meant, of_marker = "DELETE", REMOVAL.encode() in (body or b"")
        self.seen.append((meant, path))
        if self.gate is not None:
            self.gate.stop(meant, of_marker, "before")
        if meant == self.refuse and not of_marker:
            if self.takes_effect:
                self.pass_on(method, path, headers, body)
            return self.status, {"Content-Type": "application/xml"}, self.told
        result = self.pass_on(method, path, headers, body)
        if self.gate is not None:
            self.gate.stop(meant, of_marker, "after")
        return result


@contextmanager
def cloud_proxy(upstream: str) -> Iterator[CloudProxy]:
    """A proxy while the block runs."""
    with CloudProxy(upstream) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
