"""The runs that are open in this process: those that it started, and those whose tasks it received."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import asdict, replace
from typing import Any, Final

from expops_prefect._internal.diagnostics import concern, degrade, events_of_run
from expops_prefect._internal.process import ForkSafeLock, of_process
from expops_prefect.errors import BackendError
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record import process_rows, run_records
from expops_prefect.record.liveness import forget_lock
from expops_prefect.record.process_rows import Status
from expops_prefect.record.run_records import RunRecord
from expops_prefect.run_context import Call
from expops_prefect.stores.outbox.changes import Put
from expops_prefect.tracking.ending import take_rows
from expops_prefect.tracking.parameters import shown_parameters
from expops_prefect.tracking.run import Run

_clock = time.monotonic
_IDLE: Final = 600.0
"""Seconds after its last task after which a worker forgets a run of another process."""


class _OpenRuns:
    """The runs that are open in this process.

    Attributes:
        lock: held while a run is started or joined.
        by_id: runs by run id.
        used: when a task of another process's run was last seen here.
    """

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.by_id: dict[str, Run] = {}
        self.used: dict[str, float] = {}

    def in_forked_child(self) -> None:
        """A forked child has no open runs."""
        self.by_id.clear()
        self.used.clear()


def open_runs() -> list[Run]:
    """The runs that are open in this process."""
    return list(of_process(_OpenRuns).by_id.values())


def start_run(project: Project, flow_name: str, flow_run: Any) -> Run:
    """Open the run of a root flow run. A retried or resumed one keeps its run id and start.

    Args:
        project: the project that records it.
        flow_name: the flow's name.
        flow_run: Prefect's flow run.

    Raises:
        KVError: the KV store failed.
    """
    from expops_prefect.tracking.task_states import watch

    watch()
    flow_run_id = str(flow_run.id)
    events, here = events_of_run(project.outbox.folder), of_process(_OpenRuns)
    # The flow's body inherits it, and so do its tasks and threads.
    concern(events)
    with here.lock:
        known = _known_run(project, flow_run_id)
        if known is not None:
            again = replace(known, attempt=known.attempt + 1, status="running", ended_at=None, died=False)
            again = replace(again, failure="", failed_path="", failed_log="", failed_because="")
            record = replace(again, host=socket.gethostname(), pid=os.getpid())
        else:
            started = time.time()
            record = RunRecord(
                run_id=names.run_id(project.project_id, started, flow_run_id),
                project_id=project.project_id,
                flow=flow_name,
                flow_run_id=flow_run_id,
                flow_run_name=str(flow_run.name or ""),
                started_at=started,
                host=socket.gethostname(),
                pid=os.getpid(),
                parameters=shown_parameters(flow_run.parameters),
            )
        earlier = here.by_id.get(record.run_id)
        if earlier is not None and earlier.life is not None:
            earlier.life.end()
        run = Run(project, record, owner=True, events=events, on_end=lambda: here.by_id.pop(record.run_id, None))
        sign = run.live()
        run.outbox.look_around()
        run.outbox.write(
            Put(names.flow_run_key(flow_run_id), {"run_id": record.run_id}),
            Put(names.run_record_key(record.run_id), asdict(record)),
            Put(names.run_timestamps_key(record.run_id), {"start": record.started_at, "end": None}),
            Put(names.run_status_key(record.run_id), "running"),
            sign,
        )
        here.by_id[record.run_id] = run
        return run


def _known_run(project: Project, flow_run_id: str) -> RunRecord | None:
    """The record of an earlier start of this flow run, which is being retried or resumed."""
    for run in open_runs():
        if run.record.flow_run_id == flow_run_id:
            return run.record
    try:
        # If this waits for an unreachable store, the tasks need not.
        with project.kv_availability.watch():
            mapped = project.kv.get(names.flow_run_key(flow_run_id))
            return None if mapped is None else run_records.read_run(project.kv, mapped["run_id"])
    except BackendError as error:
        degrade("record delayed", f"{error}; the run is recorded when the store can be reached", key=flow_run_id)
        return None


def join_run(call: Call) -> Run:
    """The run of a call that another process sent here with its task."""
    here = of_process(_OpenRuns)
    run = here.by_id.get(call.run_id)
    if run is None:
        with here.lock:
            run = here.by_id.get(call.run_id)
            if run is None:
                _forget_idle(here)
                record = RunRecord(call.run_id, call.project.project_id, "", "", "", 0.0, attempt=call.attempt)
                run = here.by_id[call.run_id] = Run(call.project, record, owner=False)
    if not run.owner:
        here.used[call.run_id] = _clock()
    return run


def _forget_idle(here: _OpenRuns) -> None:
    """Forget idle runs of other processes: a worker may live for months and is not notified when a run ends."""
    now = _clock()
    for run_id, used in list(here.used.items()):
        run = here.by_id.get(run_id)
        if run is None or (now - used > _IDLE and run.is_idle):
            here.used.pop(run_id, None)
            if run is not None and not run.owner:
                here.by_id.pop(run_id, None)


def end_from_outside(project: Project, flow_run_id: str, status: Status, failure: str = "") -> None:
    """End a run in a process that did not run it (a deployment's runner, after a crash)."""
    # Deliver the dead process's records first.
    project.outbox.deliver_orphans()
    mapped = project.kv.get(names.flow_run_key(flow_run_id))
    if mapped is None:
        return
    record = run_records.read_run(project.kv, mapped["run_id"])
    if record is None or record.status in process_rows.TERMINAL:
        return
    sign = project.kv.get(names.sign_key(record.run_id))
    if sign is not None:
        forget_lock(project.settings.runtime_dir, str(sign.get("lock")))
    run = Run(project, record, owner=True)
    take_rows(run, process_rows.read_rows(project.kv, record.run_id))
    run.flow_ended(status, failure)
