"""One recorded run in one process: its calls, rows, metrics and charts on their way to the KV store.

The process that starts the root flow keeps the run itself (status, times). Worker processes hold a
run object of their own, which writes the rows of the calls that they execute. Sums over calls are
made by atomic updates, so any number of processes may take part.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from expops_prefect import names, records
from expops_prefect.caching import attempts
from expops_prefect.caching.attempts import Attempt
from expops_prefect.caching.parts import keep_sources
from expops_prefect.degraded import Events, degrade, described
from expops_prefect.errors import BackendError
from expops_prefect.forks import ForkSafeLock
from expops_prefect.kv.base import MetricPoint
from expops_prefect.liveness import forget_lock
from expops_prefect.outbox.changes import APPLIED, AnyChange, Append, Change, Copy, Delete, Increment, Put
from expops_prefect.project import Project
from expops_prefect.recording.artifacts import write_artifacts
from expops_prefect.recording.charts import store_chart
from expops_prefect.recording.life import Life
from expops_prefect.recording.outputs import Outputs
from expops_prefect.recording.overview import Overview
from expops_prefect.recording.parameters import shown_parameters
from expops_prefect.records import TERMINAL, CacheRecord, Output, Row, RunRecord, Status
from expops_prefect.rows import OF_ONE_CALL, call_row, cut_off, total_arguments
from expops_prefect.scope import Call, Place, Scope

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

    from expops_prefect.caching.reasons import Reason

_logger = logging.getLogger("prefect.expops")
HIT_COUNT: Final = "cache_hit_count"
_NAMES: Final = 20_000
"""Task runs of which it is known to which process their data belong: the newest."""
_WORKER_FLUSH: Final = 5.0
"""Seconds that a task waits at most for its record to be delivered, where that matters to others."""


@dataclass(slots=True)
class _Open:
    """A call that has begun: its row's status so far and what is known of it."""

    call: Call
    run_uuid: str
    status: Status | None = None
    started: float | None = None
    attempt: Attempt | None = None
    upstream: tuple[str, ...] = ()
    why: Reason | None = None


class Run:
    """A recorded run, as one process sees it.

    Args:
        project: where it is recorded.
        record: the run's own record; in a worker process only its ids count.
        owner: whether this process runs the root flow.
    """

    def __init__(self, project: Project, record: RunRecord, *, owner: bool) -> None:
        self.project = project
        self.record = record
        self.owner = owner
        self.outbox = project.outbox
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()
        self._open: dict[UUID, _Open] = {}
        self._name_of: dict[str, str] = {}
        self._outputs = Outputs()
        self._inside: set[UUID] = set()
        self._submitted = 0
        self._elsewhere: set[str] = set()
        self._final: Status | None = None
        self._ended = False
        self._tally: Counter[str] = Counter()
        self._saved = 0.0
        self._overview = Overview()
        self._events = Events()
        self._life: Life | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    # Calls -------------------------------------------------------------------------------------

    def new_call(
        self, scope: Scope | None, name: str, label: str, *, mapped: bool = False, place: Place | None = None
    ) -> Call:
        """Number a call where it is made: a process in the flow's body, else a step of the enclosing call.

        Args:
            scope: where it is made.
            name: the normalised name of the process or step.
            label: the user's name for it.
            mapped: whether it is one of several by its nature, so that the first one has a number too.
            place: where it stands, if that is known.
        """
        if place is not None:
            path, above = place.path, place.upstream
            return Call(self.run_id, self.project, name, label, path, path, path, None, self.record.attempt, above)
        outer = None if scope is None else scope.call
        if outer is None:
            total, step_of = names.process_path(name), None
        else:
            total, step_of = names.step_path(outer.process, name), (outer.process, name)
        with self._lock:
            self._numbers[total] += 1
            number = self._numbers[total]
        plain = number == 1 and not mapped
        if plain:
            path = total
        elif outer is None:
            path = names.process_path(name, number)
        else:
            path = names.step_path(outer.process, name, number)
        process = path if outer is None else outer.process
        return Call(self.run_id, self.project, name, label, path, total, process, step_of, self.record.attempt)

    def begin(self, run_uuid: UUID, call: Call, upstream: tuple[UUID, ...] = ()) -> Call:
        """A call is about to be looked up or executed. Asking again for the same one changes nothing.

        Args:
            run_uuid: the id of the task run, or of the subflow run.
            call: the call.
            upstream: the task runs whose results it takes.
        """
        with self._lock:
            held = self._open.get(run_uuid)
            if held is None:
                above = {*call.upstream, *self.processes_of(upstream)}
                held = _Open(call, str(run_uuid), upstream=tuple(sorted(above)))
                self._open[run_uuid] = held
                self._elsewhere.discard(call.path)
                self.made_by(run_uuid, call)
            return held.call

    def made_by(self, run_uuid: UUID, call: Call) -> None:
        """Data of this task run or subflow run is that of a call."""
        # Data that comes out of a step comes out of its process, as the graph sees it.
        self._name_of[str(run_uuid)] = _graph_name(call)
        if len(self._name_of) > _NAMES:
            # A flow may have any number of task runs; their data are mostly used soon.
            self._name_of.pop(next(iter(self._name_of)), None)

    def processes_of(self, run_uuids: Iterable[UUID]) -> set[str]:
        """The processes that these task runs and subflow runs belong to, as far as this process knows them."""
        return {name for run_uuid in run_uuids if (name := self._name_of.get(str(run_uuid)))}

    def call_of(self, run_uuid: UUID) -> Call | None:
        """The call of a task run or subflow run that has begun in this process."""
        held = self._open.get(run_uuid)
        return None if held is None else held.call

    def contains(self, flow_run_id: UUID) -> None:
        """A subflow run has begun inside the task that stands for it, whose row is that task's."""
        self._inside.add(flow_run_id)

    def is_inside(self, flow_run_id: UUID) -> bool:
        """Whether a subflow run is inside a task that stands for it."""
        return flow_run_id in self._inside

    def attach(self, context: TaskRunContext, attempt: Attempt) -> None:
        """See :meth:`expops_prefect.scope.ActiveRun.attach`."""
        from expops_prefect.recording.calls import call_of_context

        call = call_of_context(self, context)
        held = self._open[context.task_run.id]
        held.attempt = attempt
        attempt.run_id, attempt.path, attempt.step_of = self.run_id, call.path, call.step_of
        attempt.outputs = lambda: self.outputs(call)
        attempt.on_miss = lambda: self.executing(context.task_run.id)
        if not getattr(context.task.fn, "__expops_wrapper__", False):
            # Made by Prefect's own decorator and cached by our policy: nothing would say how it ended.
            from expops_prefect.recording.hooks import add_task_hooks

            add_task_hooks(context.task)

    def uncached(self, context: TaskRunContext, why: Reason) -> None:
        """See :meth:`expops_prefect.scope.ActiveRun.uncached`; the first reason counts."""
        from expops_prefect.recording.calls import call_of_context

        call_of_context(self, context)
        held = self._open[context.task_run.id]
        held.why = held.why or why

    def executing(self, run_uuid: UUID) -> None:
        """The body of a call runs now: its row says so. Retries do not say it again."""
        held = self._open.get(run_uuid)
        if held is None or held.status == "running":
            return
        held.started = time.time()
        self._transition(held, "running", {"started_at": held.started, "ended_at": None})

    def end(self, run_uuid: UUID, status: Status, *, started: float | None = None) -> None:
        """A call has ended.

        Args:
            run_uuid: its task run or subflow run.
            status: ``completed`` or ``failed``; a hit at the cache turns the former into ``cached``.
            started: when it began, where the body was not seen to begin.
        """
        with self._lock:
            held = self._open.pop(run_uuid, None)
        if held is None:
            return
        now = time.time()
        fields: dict[str, Any] = {"started_at": held.started or started or now, "ended_at": now}
        record = None if held.attempt is None or held.attempt.missed else held.attempt.hit
        more: list[AnyChange] = []
        if status == "completed" and record is not None:
            status = "cached"
            fields |= {
                "cached_run_id": record.run_id,
                "cached_started_at": record.started_at,
                "cached_ended_at": record.ended_at,
                "cached_execution_time": record.execution_time,
                "cache_path": record.cache_path,
            }
            more = [*self._carried_over(record, held.call), Increment(names.stat_key(self.run_id, HIT_COUNT))]
            self._saved += record.execution_time
            self._overview.hit(held.run_uuid, "" if held.attempt is None else held.attempt.key, record)
        self._tally[status] += 1
        self._transition(held, status, fields, more)
        self._forget_outputs(held)
        if not self.owner:
            events = self._events.take()
            if events:
                self.outbox.write(Change(names.degraded_key(self.run_id), "degraded.add", events))
            # A worker may be taken down as soon as it is idle.
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        self._end_if_over()

    def _transition(self, held: _Open, status: Status, fields: dict[str, Any], more: Sequence[AnyChange] = ()) -> None:
        call, before = held.call, held.status
        held.status = status
        fields = {**fields, "task_run_id": held.run_uuid, "upstream": list(held.upstream)}
        if held.attempt is not None and held.attempt.cache_key is not None:
            fields["cache_key"] = held.attempt.key
            if held.attempt.waited:
                fields["waited_seconds"] = held.attempt.waited
        why = held.why if held.attempt is None else held.attempt.why
        if why is not None and status != "cached":
            fields |= why.fields()
            if held.attempt is not None and held.attempt.not_kept is not None:
                fields["not_kept"] = held.attempt.not_kept
            written = None if held.attempt is None else held.attempt.written
            if written is not None and (status == "failed" or "not_kept" in fields):
                # There will be no record that says it.
                fields["parts"] = written.text
                keep_sources(self.project, written.code)
        if status in TERMINAL:
            self._overview.ended(call.total, call.label, status, fields)
            if held.attempt is not None and held.attempt.object_key is not None:
                self._overview.objects[held.attempt.key] = held.attempt.object_key
        # The row of a name says of one call alone, its first, why that was executed.
        first = call.path == call.total
        shared = fields if first else {name: fields[name] for name in fields if name not in OF_ONE_CALL}
        arguments = total_arguments(call, before, status, shared)
        total = Change(names.row_key(self.run_id, call.total), "rows.total", arguments)
        if first:
            self.outbox.write(*more, total, brief=status == "running")
        else:
            row = Put(names.row_key(self.run_id, call.path), call_row(call, status, fields))
            # One call is one write to the journal: after each, this thread may have to wait for others.
            self.outbox.write(*more, row, total, brief=status == "running")

    # Metrics and charts ------------------------------------------------------------------------

    def add_chart(self, path: str, name: str, data: bytes, suffix: str) -> None:
        """Store a chart under a probe path."""
        self._outputs.add_charts(path)
        self._overview.charts = True
        store_chart(self.project, self.run_id, path, name, data, suffix)

    def add_metrics(self, path: str, points: Sequence[MetricPoint]) -> None:
        """Take in points of a probe path."""
        self._outputs.add_metrics(path)
        self._overview.points(path, points)
        self.outbox.write(Append(names.metrics_key(self.run_id, path), points))

    def outputs(self, call: Call) -> tuple[Output, ...]:
        """Where a call and its steps left metrics and charts; a hit elsewhere may ask for them from now on."""
        return self._delivered(self._outputs.of(call.path))

    def _delivered(self, found: tuple[Output, ...]) -> tuple[Output, ...]:
        if found:
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        return found

    def _forget_outputs(self, held: _Open) -> None:
        """A process has ended. What commits its result later asks once more."""
        found = self._outputs.of(held.call.path)
        if held.attempt is not None:
            held.attempt.outputs = lambda: self._delivered(found)
        if held.call.step_of is None:
            self._outputs.forget(held.call.path)

    def _carried_over(self, record: CacheRecord, call: Call) -> Iterator[Copy]:
        """Show a hit's metrics and charts under this run too: clients do not follow ``cached_run_id``."""
        for output in record.outputs:
            source, target = record.path + output.path, call.path + output.path
            if output.metrics:
                self._outputs.add_metrics(target)
                self._overview.carried.append(target)
                old, new = names.metrics_key(record.run_id, source), names.metrics_key(self.run_id, target)
                yield Copy(old, new)
            if output.charts:
                self._outputs.add_charts(target)
                self._overview.charts = True
                old, new = names.charts_key(record.run_id, source), names.charts_key(self.run_id, target)
                yield Copy(old, new)

    # The run itself ----------------------------------------------------------------------------

    def live(self) -> Put:
        """Give signs of life from now on; the first one."""
        self._life = Life(self.outbox, self.project.settings.runtime_dir, self.run_id)
        return self._life.sign()

    def suspended(self) -> None:
        """The flow is left before its end, to be taken up again by some process: nothing is dead without one."""
        if self._life is not None and not self._ended:
            self._life.end()
            self.outbox.write(Delete(names.sign_key(self.run_id)))

    def submitted(self, call: Call) -> None:
        """A call was handed to a task runner, which may execute it in another process."""
        with self._lock:
            self._submitted += 1
            self._elsewhere.add(call.path)

    def submission_done(self) -> None:
        """A call that was handed to a task runner is done, or was cancelled."""
        with self._lock:
            self._submitted -= 1
        self._end_if_over()

    def flow_ended(self, status: Status) -> None:
        """The root flow has ended; the run ends with its last call."""
        self._final = status
        self._end_if_over()

    def _end_if_over(self) -> None:
        with self._lock:
            if not self.owner or self._final is None or self._ended or self._submitted > 0:
                return
            self._ended = True
            final: Status = self._final
            left = list(self._open)
        for run_uuid in left:
            # A crashed task has no hook of its own.
            self.end(run_uuid, "failed")
        self._take_in_other_processes()
        self._write_end(final)
        active.pop(self.run_id, None)

    def _take_in_other_processes(self) -> None:
        """What processes that died left behind is delivered, and calls that they did not end have failed."""
        if not self._elsewhere:
            return
        try:
            with self.project.kv_availability.watch():
                self.outbox.deliver_orphans(_WORKER_FLUSH)
                if not self.outbox.flush(_WORKER_FLUSH, while_failing=False):
                    return
                rows = records.read_rows(self.project.kv, self.run_id)
                elsewhere = self.project.kv.get(names.degraded_key(self.run_id)) or {}
        except BackendError as error:
            degrade("ends of other processes not recorded", str(error), key=self.run_id)
            return
        for kind, event in elsewhere.items():
            if kind != APPLIED:
                self._events.add(kind, event["count"], event["since"])
        rows = self._cut_off(rows)
        self._overview.replace(rows)
        self._tally = sum((Counter(row.calls) for row in rows), Counter())
        single = (row for row in rows if row.status == "cached" and sum(row.calls.values()) <= 1)
        self._saved = sum(row.cached_execution_time or 0.0 for row in single)

    def _cut_off(self, rows: Sequence[Row]) -> list[Row]:
        now = time.time()
        ended = {row.path: cut_off(row.fields, now) for row in rows if row.status == "running"}
        self.outbox.write(*(Put(names.row_key(self.run_id, path), fields) for path, fields in ended.items()))
        return [Row.load(row.path, ended[row.path]) if row.path in ended else row for row in rows]

    def _write_end(self, status: Status) -> None:
        now = time.time()
        events = self._events
        degraded, since = dict(events.counts), dict(events.since)
        self.record = replace(self.record, status=status, ended_at=now, degraded=degraded, degraded_since=since)
        self.outbox.write(
            Put(names.run_timestamps_key(self.run_id), {"start": self.record.started_at, "end": now}),
            Put(names.run_record_key(self.run_id), asdict(self.record)),
            Put(names.run_status_key(self.run_id), status),
            Delete(names.sign_key(self.run_id)),
        )
        if self._life is not None:
            self._life.end()
        if not self.outbox.settle(self.project.settings.record.final_flush_seconds):
            _logger.warning(
                "run %s: %d changes of its record are not delivered yet; they wait in %s",
                self.run_id,
                self.outbox.pending,
                f"the memory of this process, and {self.outbox.folder} cannot be written: at its end they are lost"
                if self.outbox.in_memory
                else f"{self.outbox.folder} for the next run of the project, or for: expops-prefect sync",
            )
        if self.project.settings.record.artifacts:
            write_artifacts(self.project, self.record, self._overview)
            late = dict(events.counts)
            if late != degraded:
                degraded, since = late, dict(events.since)
                self.record = replace(self.record, degraded=degraded, degraded_since=since)
                self.outbox.write(Put(names.run_record_key(self.run_id), asdict(self.record)))
                self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        executed = self._tally["completed"] + self._tally["failed"]
        _logger.info(
            "run %s %s: %d executed, %d from the cache (%.1f s saved)%s",
            self.run_id,
            status,
            executed,
            self._tally["cached"],
            self._saved,
            "" if not degraded else f"; degraded: {described(degraded, since)}",
        )


active: dict[str, Run] = {}
"""The runs that are open in this process, by run id."""
_starting = ForkSafeLock()


def start_run(project: Project, flow_name: str, flow_run: Any) -> Run:
    """Open the run of a root flow run; one that is retried or resumed goes on with its run id and start.

    Args:
        project: where it is recorded.
        flow_name: the flow's name.
        flow_run: Prefect's flow run.

    Raises:
        KVError: the KV store failed.
    """
    flow_run_id = str(flow_run.id)
    with _starting:
        known = _known_run(project, flow_run_id)
        if known is not None:
            again = replace(known, attempt=known.attempt + 1, status="running", ended_at=None, died=False)
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
        earlier = active.get(record.run_id)
        if earlier is not None and earlier._life is not None:
            earlier._life.end()
        run = Run(project, record, owner=True)
        sign = run.live()
        run.outbox.look_around()
        run.outbox.write(
            Put(names.flow_run_key(flow_run_id), {"run_id": record.run_id}),
            Put(names.run_record_key(record.run_id), asdict(record)),
            Put(names.run_timestamps_key(record.run_id), {"start": record.started_at, "end": None}),
            Put(names.run_status_key(record.run_id), "running"),
            sign,
        )
        active[record.run_id] = run
        return run


def _known_run(project: Project, flow_run_id: str) -> RunRecord | None:
    """The record of a flow run that was started before: it is retried, or goes on after a pause."""
    for run in active.values():
        if run.record.flow_run_id == flow_run_id:
            return run.record
    try:
        mapped = project.kv.get(names.flow_run_key(flow_run_id))
        return None if mapped is None else records.read_run(project.kv, mapped["run_id"])
    except BackendError as error:
        degrade("record delayed", f"{error}; the run is recorded when the store can be reached", key=flow_run_id)
        return None


def join_run(call: Call) -> Run:
    """The run of a call that came to this process with its task."""
    run = active.get(call.run_id)
    if run is None:
        with _starting:
            run = active.get(call.run_id)
            if run is None:
                record = RunRecord(call.run_id, call.project.project_id, "", "", "", 0.0, attempt=call.attempt)
                run = active[call.run_id] = Run(call.project, record, owner=False)
    return run


def end_from_outside(project: Project, flow_run_id: str, status: Status) -> None:
    """End a run in a process that did not run it (a deployment's runner, after a crash)."""
    # What the dead process had still to say comes first.
    project.outbox.deliver_orphans()
    mapped = project.kv.get(names.flow_run_key(flow_run_id))
    if mapped is None:
        return
    record = records.read_run(project.kv, mapped["run_id"])
    if record is None or record.status in records.TERMINAL:
        return
    sign = project.kv.get(names.sign_key(record.run_id))
    if sign is not None:
        forget_lock(project.settings.runtime_dir, str(sign.get("lock")))
    run = Run(project, record, owner=True)
    run._overview.replace(run._cut_off(records.read_rows(project.kv, record.run_id)))
    run.flow_ended(status)


def forget_process_state() -> None:
    """Drop what a forked child inherited."""
    active.clear()
    attempts.reset()


os.register_at_fork(after_in_child=forget_process_state)


def _graph_name(call: Call) -> str:
    if call.step_of is None:
        return call.name
    parsed = names.parse_path(call.process)
    return call.name if parsed is None else parsed.process
