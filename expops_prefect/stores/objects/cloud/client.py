"""obstore's clients of one process."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from expops_prefect.stores.objects.cloud import transfer
from expops_prefect.stores.objects.cloud.service import Service

_started_in: Final[set[int]] = set()
"""The processes in which obstore was used: this one, and those that it was forked from. Forks must not clear it."""


def works_here() -> bool:
    """Whether this process can use obstore: a forked child has none of the threads that obstore started before."""
    return not _started_in or _started_in == {os.getpid()}


class Connection:
    """Clients that are opened on first use, for one process: a forked child makes its own."""

    def __init__(self, service: Service, timeout: float) -> None:
        self.process = os.getpid()
        self.counting = threading.Lock()
        self.bucket_seen = False
        """Whether the bucket has answered: if so, a missing object does not mean a missing bucket."""
        self._service = service
        self._timeout = timeout
        self._opening = threading.Lock()
        self._clients: dict[str, Any] = {}

    def client(self, kind: str) -> Any:
        """A client for ``short`` requests, for those with ``content``, or for requests that are sent ``once``.

        Raises:
            ObjectStoreError: the credentials cannot be used.
        """
        with self._opening:
            found = self._clients.get(kind)
            if found is None:
                _started_in.add(os.getpid())
                seconds = transfer.seconds(self._timeout) if kind == "content" else self._timeout
                again = 0.0 if kind == "once" else self._timeout
                found = self._clients[kind] = self._service.open(seconds, again=again)
            return found

    def close(self) -> None:
        """Forget the clients."""
        with self._opening:
            self._clients = {}
