"""One recorded run in one process: its calls, rows, metrics and charts on their way to the KV store.

The process that starts the root flow keeps the run itself (status, times). Worker processes hold a
run object of their own, which writes the rows of the calls that they execute. Sums over calls are
made by atomic updates, so any number of processes may take part.
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
"""Seconds that a task waits at most for its record to be delivered, where that matters to others."""


class Run:
    """A recorded run, as one process sees it.

    Args:
        project: where it is recorded.
        record: the run's own record; in a worker process only its ids count.
        owner: whether this process runs the root flow.
        events: what went wrong already.
        on_end: called when it has ended.

    Attributes:
        producers: the processes that data came out of.
        life: its signs of life, in the process that runs the root flow.
        tally: how many calls ended in which status.
        saved: seconds that hits took less than computing.
        summary: what the summaries of its end say.
        events: what went wrong beside the flow since it began.
        elsewhere: the probe paths of calls that were handed to a task runner and have not begun here.
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
        """Whether no call is open in this process."""
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
        """Number a call where it is made: a process in the flow's body, else a step of the enclosing call.

        Args:
            scope: where it is made.
            name: the normalised name of the process or step.
            label: the user's name for it.
            mapped: whether it is one of several by its nature, so that the first one has a number too.
            place: where it stands, if that is known.
            apart: whether what it calls stands under itself, and not beside it in its process: it is a subflow, or
                executed in another process, where calls beside it cannot be counted.
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
        # A flow that calls itself again and again: keys and ids are not of any length.
        own = outer is None or (apart and len(path) < _LONGEST_PATH)
        inside = path if own or outer is None else outer.inside
        return RecordedCall(run_id, project, name, label, path, total, process, step_of, attempt, inside)

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
        """A subflow run has begun inside the task that stands for it, whose row is that task's."""
        self._inside.add(flow_run_id)

    def is_inside(self, flow_run_id: UUID) -> bool:
        """Whether a subflow run is inside a task that stands for it."""
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
            # Made by Prefect's own decorator and cached by our policy: nothing would say how it ended.
            from expops_prefect.tracking.hooks import add_task_hooks

            add_task_hooks(context.task)

    def uncached(self, context: TaskRunContext, why: Reason) -> None:
        """See :meth:`expops_prefect.run_context.ActiveRun.uncached`; the first reason counts."""
        from expops_prefect.tracking.calls import call_of_context

        call_of_context(self, context)
        held = self._open[context.task_run.id]
        held.why = held.why or why

    def plain(self, run_uuid: UUID) -> None:
        """A call has begun whose body nothing of ours is around."""
        self._open[run_uuid].plain = True

    def plain_call(self, run_uuid: UUID) -> Call | None:
        """The call of a task run whose body runs here with nothing of ours around it."""
        held = self._open.get(run_uuid)
        return held.call if held is not None and held.plain else None

    def found_by_prefect(self, run_uuid: UUID, record: CacheRecord | None) -> None:
        """A call was given a result out of Prefect's own cache, and what is known of who computed that."""
        held = self._open.get(run_uuid)
        if held is not None:
            held.by_prefect, held.found = True, record

    def never_began(self, run_uuid: UUID, why: Reason) -> None:
        """A call was not looked up and not executed, since what it waits for has failed."""
        with self._lock:
            held = self._open.pop(run_uuid, None)
        if held is not None:
            held.why = why
            self.tally["pending"] += 1
            self._transition(held, "pending", {"started_at": None, "ended_at": None})
            self._end_if_over()

    def executing(self, run_uuid: UUID) -> None:
        """The body of a call runs now: its row says so. Retries do not say it again."""
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
        """A call has ended.

        Args:
            run_uuid: its task run or subflow run.
            status: ``completed`` or ``failed``; a hit at the cache turns the former into ``cached``.
            started: when it began, where the body was not seen to begin.
            failure: why it failed, without secrets.
            kind: what Prefect keeps its log under.
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
            # A worker may be taken down as soon as it is idle.
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        self._end_if_over()

    def _failed(self, path: str, fields: dict[str, Any]) -> None:
        """Keep which call failed first."""
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
        # One call is one write to the journal: after each, this thread may have to wait for others.
        self.outbox.write(*more, *changes, brief=status == "running")

    # Metrics and charts ------------------------------------------------------------------------

    def add_chart(self, path: str, name: str, data: bytes, suffix: str) -> None:
        """Store a chart under a probe path."""
        self._outputs.add_charts(path)
        self.summary.charts = True
        store_chart(self.project, self.run_id, path, name, data, suffix)

    def add_metrics(self, path: str, points: Sequence[LoggedPoint]) -> None:
        """Take in points of a probe path."""
        self._outputs.add_metrics(path)
        self.summary.points(path, points)
        self.outbox.write(Append(names.metrics_key(self.run_id, path), points))

    def outputs(self, call: Call) -> tuple[Output, ...]:
        """Where a call and its steps left metrics and charts; a hit elsewhere may ask for them from now on."""
        return self._delivered(self._outputs.of(call.path))

    def _delivered(self, found: tuple[Output, ...]) -> tuple[Output, ...]:
        if found:
            self.outbox.flush(_WORKER_FLUSH, while_failing=False)
        return found

    def _forget_outputs(self, held: ActiveCall) -> None:
        """A process has ended. What commits its result later asks once more."""
        found = self._outputs.of(held.call.path)
        recorder = None if held.cache_context is None else held.cache_context.recorder
        if isinstance(recorder, RecordedTask):
            recorder.outputs = lambda: self._delivered(found)
        if held.call.step_of is None:
            self._outputs.forget(held.call.path)

    # The run itself ----------------------------------------------------------------------------

    def live(self) -> Put:
        """Give signs of life from now on; the first one."""
        self.life = RunHeartbeat(self.outbox, self.project.settings.runtime_dir, self.run_id)
        return self.life.sign()

    def suspended(self) -> None:
        """The flow is left before its end, to be taken up again by some process: nothing is dead without one."""
        if self.life is not None and not self._ended:
            self.life.end()
            self.outbox.write(Delete(names.sign_key(self.run_id)))

    def submitted(self, call: Call) -> None:
        """A call was handed to a task runner, which may execute it in another process."""
        with self._lock:
            self._submitted += 1
            self.elsewhere.add(call.path)

    def submission_done(self) -> None:
        """A call that was handed to a task runner is done, or was cancelled."""
        with self._lock:
            self._submitted -= 1
        self._end_if_over()

    def flow_ended(self, status: Status, failure: str = "") -> None:
        """The root flow has ended; the run ends with its last call.

        Args:
            status: how.
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
            # A crashed task has no hook of its own.
            self.end(run_uuid, "failed")
        end_run(self, final)
        self._on_end()
