"""Remove selected records, so that their next use recomputes them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from expops_prefect.maintenance.entries import Entry, read_entries, refresh_objects, remove_records, unshared
from expops_prefect.models import names
from expops_prefect.project import Project


@dataclass(frozen=True, slots=True)
class Selection:
    """The cached results that match all of the given conditions.

    Attributes:
        key: ``<task>/<inputs>/<config>/<function>``, or the start of each of its first parts.
        process: the name of a process: selects its results and those of the steps inside it.
        run: the id of the run that computed them.
        older_than: computed at least this long ago.
    """

    key: str | None = None
    process: str | None = None
    run: str | None = None
    older_than: timedelta | None = None

    def of(self, entries: list[Entry], now: float) -> list[Entry]:
        """The entries that match.

        Raises:
            ValueError: no condition is given, or an empty text, which would match all.
        """
        task = None if self.key is None else self.key.split("/")[0]
        empty = any(text is not None and not text.strip() for text in (task, self.process, self.run))
        if self == Selection() or empty:
            raise ValueError("an empty selection would match all; for that use Selection(older_than=timedelta(0))")
        found = entries
        if self.key is not None:
            found = _by_key(found, self.key)
        if self.process is not None:
            called = {names.process_name(self.process), names.normalise(self.process)}
            found = [entry for entry in found if not called.isdisjoint({entry.task, _process_of(entry)})]
        if self.run is not None:
            found = [entry for entry in found if entry.record.run_id == self.run]
        if self.older_than is not None:
            limit = now - self.older_than.total_seconds()
            found = [entry for entry in found if entry.record.ended_at <= limit]
        return found


def invalidate(
    project: Project, selection: Selection, *, dry_run: bool = False, clock: Callable[[], float] = time.time
) -> list[Entry]:
    """Remove the records of cached results; :func:`~expops_prefect.maintenance.collect` removes their objects.

    A task that is storing such a result at the same time may store it again.

    Args:
        project: the project.
        selection: the results.
        dry_run: only return the results.
        clock: returns the time, epoch seconds.

    Returns:
        The selected results.

    Raises:
        BackendError: a store failed; call it again to go on.
        FormatError: a newer release has written to the cache.
        ValueError: the selection is empty.
    """
    entries = read_entries(project)
    chosen = selection.of(entries, clock())
    if chosen and not dry_run:
        doomed = [stored for entry in chosen for stored in entry.stored]
        names_of = {entry.name for entry in chosen}
        kept = [stored for entry in entries if entry.name not in names_of for stored in entry.stored]
        refresh_objects(project, unshared(doomed, kept))
        remove_records(project, doomed, "invalidated")
    return chosen


def _by_key(entries: list[Entry], text: str) -> list[Entry]:
    matching = [entry for entry in entries if entry.key is not None and entry.key.begins_with(text)]
    # A task's whole name means that task, even if other names start with it.
    return [entry for entry in matching if entry.task == text.split("/")[0]] or matching


def _process_of(entry: Entry) -> str | None:
    path = names.parse_path(entry.record.path)
    return None if path is None else path.process
