"""The end of a run, in the process that runs its root flow."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

from expops_prefect._internal.diagnostics import concern, degrade, described, first
from expops_prefect._internal.formatting import saving
from expops_prefect.errors import BackendError
from expops_prefect.models import names
from expops_prefect.record import process_rows, run_records
from expops_prefect.record.process_rows import Row, Status
from expops_prefect.record.row_changes import cut_off
from expops_prefect.stores.outbox.changes import APPLIED, Delete, Put

if TYPE_CHECKING:
    from expops_prefect.tracking.run import Run

_logger = logging.getLogger("prefect.expops")
_WORKER_FLUSH: Final = 5.0
"""Seconds to wait at most for the results of other processes."""


def end_run(run: Run, status: Status) -> None:
    """Record a run's end, wait for its delivery as long as configured, and log its summary."""
    concern(run.events)
    _include_other_processes(run)
    degraded, since = _write_end(run, status)
    if not run.outbox.settle(run.project.settings.record.final_flush_seconds):
        _logger.warning(
            "run %s: %d changes to its record are not yet delivered; they wait in %s",
            run.run_id,
            run.outbox.pending,
            f"the memory of this process, and {run.outbox.folder} cannot be written: they are lost when it ends"
            if run.outbox.in_memory
            else f"{run.outbox.folder} for the next run of the project, or for: expops-prefect sync",
        )
    if run.project.settings.record.artifacts:
        from expops_prefect.tracking.artifacts import write_artifacts

        write_artifacts(run.project, run.record, run.summary)
        late = dict(run.events.counts)
        if late != degraded:
            degraded, since = late, dict(run.events.since)
            run.record = replace(run.record, degraded=degraded, degraded_since=since)
            run.outbox.write(Put(names.run_record_key(run.run_id), asdict(run.record)))
            run.outbox.flush(_WORKER_FLUSH, while_failing=False)
    if status == "completed":
        _warn_of_unmatched_names(run)
    _logger.info(
        "run %s %s: %d executed, %d from the cache%s%s",
        run.run_id,
        status,
        run.tally["completed"] + run.tally["failed"],
        run.tally["cached"],
        f" ({saving(run.saved)} saved)" if saving(run.saved) else "",
        "" if not degraded else f"; degraded: {described(degraded, since)}",
    )


def _warn_of_unmatched_names(run: Run) -> None:
    """Warn once of configured tasks that the run does not have."""
    if not run.project.settings.cache.processes:
        return
    from expops_prefect.cache.unmatched_names import names_of, unmatched

    seen = names_of(line.path for line in run.summary.lines)
    try:
        with run.project.kv_availability.watch():
            for text in unmatched(run.project, seen, complete=not run.tally["cached"]):
                if first("configured names", text):
                    _logger.warning("%s", text)
    except BackendError:
        return  # another run will warn


def take_rows(run: Run, rows: Sequence[Row]) -> None:
    """Count the rows of a run, including those of other processes. Calls that are still running have failed."""
    rows = _cut_off_rows(run, rows)
    run.summary.replace(rows)
    # A call in another process may have failed before the first failure here.
    run.record = run_records.with_first_failed(run.record, rows)
    run.tally = sum((Counter(row.calls) for row in rows), Counter())
    hits = (row for row in process_rows.single_calls(rows) if row.status == "cached")
    run.saved = sum(row.saved or 0.0 for row in hits)


def _cut_off_rows(run: Run, rows: Sequence[Row]) -> list[Row]:
    """Mark calls that still appear to be running as failed; return the changed rows."""
    now = time.time()
    ended = {row.path: cut_off(row.fields, now) for row in rows if row.status == "running"}
    run.outbox.write(*(Put(names.row_key(run.run_id, path), fields) for path, fields in ended.items()))
    return [Row.load(row.path, ended[row.path]) if row.path in ended else row for row in rows]


def _include_other_processes(run: Run) -> None:
    """Deliver the journals of dead processes, and mark their unfinished calls as failed."""
    if not run.elsewhere:
        return
    try:
        with run.project.kv_availability.watch():
            run.outbox.deliver_orphans(_WORKER_FLUSH)
            if not run.outbox.flush(_WORKER_FLUSH, while_failing=False):
                return
            rows = process_rows.read_rows(run.project.kv, run.run_id)
            elsewhere = run.project.kv.get(names.degraded_key(run.run_id)) or {}
    except BackendError as error:
        degrade("ends of other processes not recorded", str(error), key=run.run_id)
        return
    for kind, event in elsewhere.items():
        if kind != APPLIED:
            run.events.add(kind, event["count"], event["since"])
    take_rows(run, rows)


def _write_end(run: Run, status: Status) -> tuple[dict[str, int], dict[str, float]]:
    now = time.time()
    degraded, since = dict(run.events.counts), dict(run.events.since)
    run.record = replace(run.record, status=status, ended_at=now, degraded=degraded, degraded_since=since)
    run.outbox.write(
        Put(names.run_timestamps_key(run.run_id), {"start": run.record.started_at, "end": now}),
        Put(names.run_record_key(run.run_id), asdict(run.record)),
        Put(names.run_status_key(run.run_id), status),
        Delete(names.sign_key(run.run_id)),
    )
    if run.life is not None:
        run.life.end()
    return degraded, since
