"""Whether the process of a run is still alive, as seen from any machine.

A process that executes a run writes a heartbeat every :data:`BEAT_SECONDS` to a row of the KV store. It
removes the row when the run ends or is suspended, so the existing rows belong to open runs. On its own
machine it also holds a lock on a file, which the system releases however the process ends.
A run never counts as dead because of its age.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from expops_prefect._internal.file_locks import FileLocks
from expops_prefect._internal.process import of_process
from expops_prefect.errors import FormatError
from expops_prefect.models import names, record_format
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore

BEAT_SECONDS: Final = 15.0
"""How often a run writes its heartbeat."""
SILENT_BEATS: Final = 8
"""A run that missed this many, and whose lock is unknown, is dead: clocks may differ by a minute."""
SIGN_FORMAT: Final = 1
FOLDER: Final = "alive"
"""The folder of the lock files, below the runtime folder."""


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A run's heartbeat.

    Attributes:
        run_id: the run.
        at: when it was written, epoch seconds by the clock of the run's machine.
        every: seconds between two heartbeats.
        host, pid: the run's process.
        boot: identifies the machine and its boot.
        lock: the name of the file that the process has locked.
        format: the version of the stored format.
    """

    run_id: str
    at: float
    every: float = BEAT_SECONDS
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    boot: str = field(default_factory=_boot)
    lock: str = field(default_factory=lambda: uuid.uuid4().hex)
    format: int = SIGN_FORMAT

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def load(cls, value: JSON) -> Heartbeat:
        """Read the JSON form.

        Raises:
            FormatError: not a heartbeat, or one of a newer release.
        """
        return record_format.load(cls, value, "sign of life", SIGN_FORMAT)

    def dead(self, runtime_dir: Path, now: float) -> bool:
        """Whether the run's process has ended.

        Args:
            runtime_dir: the project's runtime folder on this machine.
            now: epoch seconds.
        """
        lock = of_process(FileLocks).state(runtime_dir / FOLDER / Path(self.lock).name)
        if lock == "held":
            return False
        if lock == "free" and self.boot == _boot():
            return True
        # Of another machine, or without a lock.
        return now - self.at > SILENT_BEATS * self.every


def signs(kv: KVStore) -> Iterator[Heartbeat]:
    """The heartbeats of all open runs; skips those of newer releases.

    Raises:
        KVError: the store failed.
    """
    for _, value in tolerant_reads.scan(kv, names.SIGN_PREFIX):
        try:
            yield Heartbeat.load(value)
        except FormatError:
            continue


def hold(runtime_dir: Path, lock: str) -> None:
    """Lock a file until :func:`release`, or until this process ends. If that fails, only heartbeats count."""
    with contextlib.suppress(OSError):
        of_process(FileLocks).create(runtime_dir / FOLDER / lock)


def release(runtime_dir: Path, lock: str) -> None:
    """Remove a lock of this process."""
    of_process(FileLocks).remove(runtime_dir / FOLDER / lock)


def forget_lock(runtime_dir: Path, lock: str) -> None:
    """Remove the lock file of a dead process."""
    with contextlib.suppress(OSError):
        (runtime_dir / FOLDER / Path(lock).name).unlink(missing_ok=True)
