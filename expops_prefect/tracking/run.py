"""One recorded run in one process: its calls, rows, metrics and charts on their way to the KV store.

The process that starts the root flow keeps the run itself (status, times). Each worker process has a
run object of its own, which writes the rows of the calls that it executes. Sums over calls are
updated atomically, so any number of processes may take part.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from expops_prefect._internal.diagnostics import Events, events_of_run
from expops_prefect.cache.context import CacheContext
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record.cache_records import CacheRecord, Output
from expops_prefect.record.process_rows import BY_PREFECT, Status, saved_seconds
from expops_prefect.record.run_records import RunRecord
from expops_prefect.run_context import Call, CallPlacement, RunContext
from expops_prefect.stores.outbox.changes import AnyChange, Append, Change, Delete, Increment, Put
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.tracking.active_calls import ActiveCall, RecordedTask, hit_fields
from expops_prefect.tracking.call_numbering import Numbers
from expops_prefect.tracking.charts import store_chart
from expops_prefect.tracking.data_producers import DataProducers
from expops_prefect.tracking.ending import end_run
from expops_prefect.tracking.heartbeat import RunHeartbeat
from expops_prefect.tracking.outputs import Outputs
from expops_prefect.tracking.recorded_call import RecordedCall
from expops_prefect.tracking.run_summary import RunSummary
from expops_prefect.tracking.wrapping import Surrounded

if TYPE_CHECKING:
    from prefect.context import TaskRunContext

    from expops_prefect.cache.reasons import Reason

HIT_COUNT: Final = "cache_hit_count"
_LONGEST_PATH: Final = 600
_WORKER_FLUSH: Final = 5.0
"""Seconds that a task waits at most for its record to be delivered, if other processes need it."""


class Run:
    """A recorded run, as one process sees it.

    Args:
        project: the project that records it.
        record: the run's own record; in a worker process only its ids count.
        owner: whether this process runs the root flow.
        events: the events so far.
        on_end: called when the run has ended.

    Attributes:
        producers: the processes that produced data.
        life: its heartbeat, in the process that runs the root flow.
        tally: how many calls ended with each status.
        saved: seconds that hits saved over computing.
        summary: the data of its final summary.
        events: failures beside the flow since it began.
        elsewhere: the probe paths of calls that were submitted to a task runner and have not begun here.
    """

    def __init__(
        self,
        project: Project,
        record: RunRecord,
        *,
        owner: bool,
        events: Events | None = None,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self.project = project
        self.record = record
        self.owner = owner
        self.outbox = project.outbox
        self._lock = threading.Lock()
        self._numbers = Numbers()
        self._open: dict[UUID, ActiveCall] = {}
        self.producers = DataProducers()
        self._outputs = Outputs()
        self._inside: set[UUID] = set()
        self._submitted = 0
        self.elsewhere: set[str] = set()
        self._final: Status | None = None
        self._ended = False
        self.tally: Counter[str] = Counter()
        self.saved = 0.0
        self.summary = RunSummary()
        self.events = events or events_of_run(project.outbox.folder)
        self.life: RunHeartbeat | None = None
        self._on_end = on_end

    @property
    def is_idle(self) -> bool:
        """Whether this process has no open call."""
        return not self._open

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    # Calls -------------------------------------------------------------------------------------

    def new_call(
        self,
        scope: RunContext | None,
        name: str,
        label: str,
        *,
        mapped: bool = False,
        place: CallPlacement | None = None,
        apart: bool = False,
    ) -> Call:
        """Number a call where it is made: a process in the flow's body, or a step of the enclosing call.

        Args:
            scope: the run context of the caller.
            name: the normalised name of the process or step.
            label: the user's name for it.
            mapped: whether it belongs to a group, such as a mapped task, so that the first one has a number too.
            place: its position in the source, if known.
            apart: whether its own calls go below it instead of beside it in its process. This is so for a subflow,
                and for a call in another process, where the calls beside it cannot be counted.
        """
        run_id, project, attempt = self.run_id, self.project, self.record.attempt
        if place is not None:
            path = place.path
            return RecordedCall(run_id, project, name, label, path, path, path, None, attempt, path, place.upstream)
        outer = None if scope is None else scope.call
        around = None if outer is None else outer.inside
        name = self._numbers.name(around, name, label)
        path, total = self._numbers.next(around, name, mapped=mapped)
        process, step_of = (path, None) if outer is None else (outer.process, (outer.process, name))
        # A recursive flow must not make keys and ids of any length.
        own = outer is None or (apart and len(path) < _LONGEST_PATH)
        inside = path if own or outer is None else outer.inside
        return RecordedCall(run_id, project, name, label, path, total, process, step_of, attempt, inside)

    def begin(self, run_uuid: UUID, call: Call, upstream: tuple[UUID, ...] = ()) -> Call:
        """Record that a call is about to be looked up or executed. Repeating it for the same call changes nothing.

        Args:
            run_uuid: the id of the task run, or of the subflow run.
            call: the call.
            upstream: the task runs whose results it uses.
        """
        with self._lock:
            held = self._open.get(run_uuid)
            if held is None:
                above = {*call.upstream, *self.producers.of(upstream)}
                held = ActiveCall(call, str(run_uuid), upstream=tuple(sorted(above)))
                self._open[run_uuid] = held
                self.elsewhere.discard(call.path)
                self.producers.add(run_uuid, call)
            return held.call

    def call_of(self, run_uuid: UUID) -> Call | None:
        """The call of a task run or subflow run that has begun in this process."""
        held = self._open.get(run_uuid)
        return None if held is None else held.call

    def is_open(self, call: Call | None) -> bool:
        """See :meth:`expops_prefect.run_context.ActiveRun.is_open`."""
        if call is None:
            return not self._ended
        return any(held.call is call for held in list(self._open.values()))

    def contains(self, flow_run_id: UUID) -> None:
        """Record that a subflow run has begun inside the task that stands for it; both share that task's row."""
        self._inside.add(flow_run_id)

    def is_inside(self, flow_run_id: UUID) -> bool:
        """Whether a subflow run is inside the task that stands for it."""
        return flow_run_id in self._inside

    def attach(self, context: TaskRunContext, cache_context: CacheContext) -> None:
        """See :meth:`expops_prefect.run_context.ActiveRun.attach`."""
        from expops_prefect.tracking.calls import call_of_context

        call = call_of_context(self, context)
        held = self._open[context.task_run.id]
        held.cache_context = cache_context
        cache_context.computed_in = f"{self.run_id} {call.attempt}"
        run_uuid = context.task_run.id
        cache_context.recorder = RecordedTask(call, lambda: self.executing(run_uuid), lambda: self.outputs(call))
        if not isinstance(context.task, Surrounded):
            # Made with Prefect's decorator and cached by our policy: without hooks its end would not be recorded.
            from expops_prefect.tracking.hooks import add_task_hooks

            add_task_hooks(context.task)

    def uncached(self, context: TaskRunContext, why: Reason) -> None:
        """See :meth:`expops_prefect.run_context.ActiveRun.uncached`. The first reason counts."""
        from expops_prefect.tracking.calls import call_of_context

        call_of_context(self, context)
        held = self._open[context.task_run.id]
        held.why = held.why or why

    def plain(self, run_uuid: UUID) -> None:
        """Record that a call has begun whose body is not instrumented."""
        self._open[run_uuid].plain = True

    def plain_call(self, run_uuid: UUID) -> Call | None:
        """The call of a task run whose body is not instrumented."""
        held = self._open.get(run_uuid)
        return held.call if held is not None and held.plain else None

    def found_by_prefect(self, run_uuid: UUID, record: CacheRecord | None) -> None:
        """Record a result from Prefect's own cache, with the record of the call that computed it, if known."""
        held = self._open.get(run_uuid)
        if held is not None:
            held.by_prefect, held.found = True, record

    def forget(self, run_uuid: UUID) -> None:
        """Forget a call that was looked up; the engine begins it anew."""
        with self._lock:
            self._open.pop(run_uuid, None)

    def never_began(self, run_uuid: UUID, why: Reason) -> None:
        """Record that a call was neither looked up nor executed, because its dependencies failed."""
        with self._lock:
            held = self._open.pop(run_uuid, None)
        if held is not None:
            held.why = why
            self.tally["pending"] += 1
            self._transition(held, "pending", {"started_at": None, "ended_at": None})
            self._end_if_over()

    def executing(self, run_uuid: UUID) -> None:
        """Record that the body of a call is running. Retries change nothing."""
        held = self._open.get(run_uuid)
        if held is None or held.status == "running":
            return
        held.started = time.time()
        self._transition(held, "running", {"started_at": held.started, "ended_at": None})

    def end(
        self,
        run_uuid: UUID,
        status: Status,
        *,
        started: float | None = None,
        failure: str = "",
        kind: Literal["task-run", "flow-run"] = "task-run",
    ) -> None:
        """Record that a call has ended.

        Args:
            run_uuid: its task run or subflow run.
            status: ``completed`` or ``failed``; for a cache hit ``completed`` becomes ``cached``.
            started: when it began, if its body was not seen to begin.
            failure: why it failed, without secrets.
            kind: how Prefect files its log.
        """
        with self._lock:
            held = self._open.pop(run_uuid, None)
        if held is None:
            return
        now = time.time()
        fields: dict[str, Any] = {"started_at": held.started or started or now, "ended_at": now}
        if status == "failed":
            fields |= {"failure": failure, "log": f"{kind}/{run_uuid}"}
            self._failed(held.call.path, fields)
        record = held.outcome.hit
        more: list[AnyChange] = []
        if held.by_prefect:
            fields["cached_by"] = BY_PREFECT
        if status == "completed" and (record is not None or held.by_prefect):
            status = "cached"
            more = [Increment(names.stat_key(self.run_id, HIT_COUNT))]
        if status == "cached" and record is not None:
            fields |= hit_fields(record)
            more += self._outputs.carry_over(record, held.call, self.summary)
            self.saved += saved_seconds(record.execution_time, now - fields["started_at"]) or 0.0
            self.summary.hit(held.run_uuid, record)
        self.tally[status] += 1
        self._transition(held, status, fields, more)
        self._forget_outputs(held)
        if not self.owner:
            events = self.events.take()
            if events:
                self.outbox.write(Change(names.degraded_key(self.run_id), "degraded.add", events))
            # A worker may be stopped as soon as it is idle.
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        self._end_if_over()

    def _failed(self, path: str, fields: dict[str, Any]) -> None:
        """Remember which call failed first."""
        with self._lock:
            if not self.record.failed_path:
                said = {"failed_log": fields["log"], "failed_because": fields["failure"]}
                self.record = replace(self.record, failed_path=path, **said)

    def _transition(
        self, held: ActiveCall, status: Status, fields: dict[str, Any], more: Sequence[AnyChange] = ()
    ) -> None:
        said, changes = held.transition(status, fields)
        if status != "running":
            outcome = held.outcome
            stored = outcome.object_key
            if stored is None and outcome.hit is not None:
                stored = outcome.hit.object_key
            call = held.call
            self.summary.ended(call.total, call.label, status, said, stored, call=call.path)
        # One write to the journal for each call: after each write this thread may have to wait for others.
        self.outbox.write(*more, *changes, brief=status == "running")

    # Metrics and charts ------------------------------------------------------------------------

    def add_chart(self, path: str, name: str, data: bytes, suffix: str) -> None:
        """Store a chart under a probe path."""
        self._outputs.add_charts(path)
        self.summary.charts = True
        store_chart(self.project, self.run_id, path, name, data, suffix)

    def add_metrics(self, path: str, points: Sequence[LoggedPoint]) -> None:
        """Add points of a probe path."""
        self._outputs.add_metrics(path)
        self.summary.points(path, points)
        self.outbox.write(Append(names.metrics_key(self.run_id, path), points))

    def outputs(self, call: Call) -> tuple[Output, ...]:
        """The metrics and charts of a call and its steps, delivered: a hit elsewhere may read them from now on."""
        return self._delivered(self._outputs.of(call.path))

    def _delivered(self, found: tuple[Output, ...]) -> tuple[Output, ...]:
        if found:
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        return found

    def _forget_outputs(self, held: ActiveCall) -> None:
        """Forget the outputs of an ended process; a later commit of its result can still read them."""
        found = self._outputs.of(held.call.path)
        recorder = None if held.cache_context is None else held.cache_context.recorder
        if isinstance(recorder, RecordedTask):
            recorder.outputs = lambda: self._delivered(found)
        if held.call.step_of is None:
            self._outputs.forget(held.call.path)

    # The run itself ----------------------------------------------------------------------------

    def live(self) -> Put:
        """Start the heartbeat; return its first change."""
        self.life = RunHeartbeat(self.outbox, self.project.settings.runtime_dir, self.run_id)
        return self.life.sign()

    def suspended(self) -> None:
        """Record that the flow stopped to be resumed later: without a heartbeat it must not count as dead."""
        if self.life is not None and not self._ended:
            self.life.end()
            self.outbox.write(Delete(names.sign_key(self.run_id)))

    def submitted(self, call: Call) -> None:
        """Record that a call was submitted to a task runner, which may execute it in another process."""
        with self._lock:
            self._submitted += 1
            self.elsewhere.add(call.path)

    def submission_done(self) -> None:
        """Record that a submitted call is done, or was cancelled."""
        with self._lock:
            self._submitted -= 1
        self._end_if_over()

    def flow_ended(self, status: Status, failure: str = "") -> None:
        """Record that the root flow has ended; the run ends with its last call.

        Args:
            status: the final status.
            failure: why it failed, without secrets.
        """
        self.record = replace(self.record, failure=failure)
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
            # A crashed task calls no hook.
            self.end(run_uuid, "failed")
        end_run(self, final)
        self._on_end()
