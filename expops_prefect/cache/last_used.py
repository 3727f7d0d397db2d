"""Notes when cached results were last used, at most once a day for each result on each machine.

A hit costs no other write, and the record is not rewritten. On its first day, a result's computation
counts as its use.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Final

from expops_prefect._internal.files import FILE_MODE, make_folder
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord
from expops_prefect.stores.outbox.changes import Put

DAY: Final = 86_400.0
"""The resolution of the time of last use, seconds."""
_LIMIT: Final = 50_000


class NotedUses(dict[str, int]):
    """The day of the last use of a project's results that this process has noted, by record key."""

    def __init__(self, project: Project) -> None:
        self.folder = project.settings.runtime_dir / "uses"


def note_use(project: Project, record_key: str, record: CacheRecord) -> None:
    """Note that a result is used now, once a day. Never raises, never waits for a store.

    Args:
        project: the project.
        record_key: the KV key of the record.
        record: the record.
    """
    now = time.time()
    # Another program may have written something that is not a number.
    computed = record.ended_at if isinstance(record.ended_at, int | float) else 0.0
    if now - computed < DAY:
        return
    day = int(now // DAY)
    noted = project.part(NotedUses)
    if noted.get(record_key) == day:
        return
    if len(noted) >= _LIMIT:
        noted.clear()
    noted[record_key] = day
    key = names.use_key(record_key)
    if _first_of_the_day(noted.folder, day, key.removeprefix(names.USE_PREFIX)):
        project.outbox.write(Put(key, {"at": now}))


def _first_of_the_day(folder: Path, day: int, name: str) -> bool:
    """Whether this is the first process of this machine to note it today; an empty file marks it as noted."""
    today = folder / str(day)
    for _ in range(2):
        try:
            os.close(os.open(today / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE))
            return True
        except FileExistsError:
            return False
        except OSError:
            _begin_day(today)
    return True  # the folder cannot be written: each process notes it


def _begin_day(today: Path) -> None:
    try:
        make_folder(today)
        for other in today.parent.iterdir():
            # Keep yesterday's: another process may see midnight a moment later.
            if other.name.isdecimal() and int(other.name) < int(today.name) - 1:
                shutil.rmtree(other, ignore_errors=True)
    except OSError:
        return
