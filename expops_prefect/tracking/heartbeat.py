"""The heartbeats of a process for the runs that it executes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from expops_prefect._internal.process import of_process
from expops_prefect.cache.locking.renewal import Renewer
from expops_prefect.models import names
from expops_prefect.record import liveness
from expops_prefect.record.liveness import BEAT_SECONDS, Heartbeat
from expops_prefect.stores.outbox.changes import Put
from expops_prefect.stores.outbox.outbox import Outbox


class RunHeartbeat:
    """Holds the lock of a run and writes its heartbeat until :meth:`end`.

    Args:
        outbox: delivers the heartbeats.
        runtime_dir: the project's runtime folder.
        run_id: the run.
    """

    failing = "heartbeats not written"

    def __init__(self, outbox: Outbox, runtime_dir: Path, run_id: str) -> None:
        self._outbox = outbox
        self._runtime_dir = runtime_dir
        self._sign = Heartbeat(run_id, time.time())
        self.due = time.monotonic() + BEAT_SECONDS
        self.renewing = True
        liveness.hold(runtime_dir, self._sign.lock)
        of_process(_Signs).add(self)

    def sign(self) -> Put:
        """The change that writes a heartbeat."""
        return Put(names.sign_key(self._sign.run_id), replace(self._sign, at=time.time()).dump())

    def beat(self) -> None:
        """See :class:`~expops_prefect.cache.locking.renewal.Renewable`."""
        self.due = time.monotonic() + BEAT_SECONDS
        # While a store cannot be reached, heartbeats would only pile up.
        if self.renewing and not self._outbox.failing:
            self._outbox.write(self.sign())

    def give_up(self) -> None:
        """See :class:`~expops_prefect.cache.locking.renewal.Renewable`."""
        self.renewing = False

    def end(self) -> None:
        """Stop, because the run has ended or is suspended."""
        self.renewing = False
        liveness.release(self._runtime_dir, self._sign.lock)


class _Signs(Renewer):
    """Writes the heartbeats of this process's runs in a thread of its own: a slow store may hold up the leases'."""
