"""The state of a call that has begun in this process, and the fields of its row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expops_prefect.cache.context import CacheContext, Outcome
from expops_prefect.cache.key_components import keep_sources
from expops_prefect.models import names
from expops_prefect.record.cache_records import CacheRecord, Output
from expops_prefect.record.process_rows import OF_ONE_CALL, Status
from expops_prefect.record.row_changes import call_row, total_arguments
from expops_prefect.run_context import Call
from expops_prefect.stores.outbox.changes import AnyChange, Change, Put

if TYPE_CHECKING:
    from expops_prefect.cache.reasons import Reason


@dataclass(slots=True)
class ActiveCall:
    """A call that has begun.

    Attributes:
        call: the call.
        run_uuid: its task run or subflow run.
        status: its current status in its row.
        started: when its body began, epoch seconds.
        cache_context: its cache context; ``None`` if the cache is not used.
        upstream: the processes whose data it uses.
        why: the reason to execute it without a look-up.
        plain: its body is not instrumented.
        by_prefect: its result came from Prefect's own cache.
        found: the record of the call that computed that result.
    """

    call: Call
    run_uuid: str
    status: Status | None = None
    started: float | None = None
    cache_context: CacheContext | None = None
    upstream: tuple[str, ...] = ()
    why: Reason | None = None
    plain: bool = False
    by_prefect: bool = False
    found: CacheRecord | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome of its cache look-up so far."""
        if self.by_prefect:
            return Outcome(hit=self.found, why=self.why)
        return Outcome(why=self.why) if self.cache_context is None else self.cache_context.outcome

    def transition(self, status: Status, fields: dict[str, Any]) -> tuple[dict[str, Any], Sequence[AnyChange]]:
        """Move to another status.

        Args:
            status: the new status.
            fields: more fields of its row.

        Returns:
            All fields of its row, and the changes that write it.
        """
        call, before = self.call, self.status
        self.status = status
        fields = {**fields, "task_run_id": self.run_uuid, "upstream": list(self.upstream)}
        outcome = self.outcome
        if outcome.key is not None:
            fields["cache_key"] = outcome.key
            if outcome.waited:
                fields["waited_seconds"] = outcome.waited
        if outcome.why is not None and status != "cached":
            fields |= outcome.why.fields()
            if outcome.not_stored is not None:
                fields["not_kept"] = outcome.not_stored
            components = outcome.components
            if components is not None and (status == "failed" or outcome.not_stored is not None):
                # It will get no cache record, so keep them in its row.
                fields["parts"] = components.text
                keep_sources(call.project, components.code)
        # The row of a name explains only one call, its first.
        first = call.path == call.total
        shared = fields if first else {name: fields[name] for name in fields if name not in OF_ONE_CALL}
        arguments = total_arguments(call, before, status, shared)
        total = Change(names.row_key(call.run_id, call.total), "rows.total", arguments)
        if first:
            return fields, (total,)
        return fields, (Put(names.row_key(call.run_id, call.path), call_row(call, status, fields)), total)


def hit_fields(record: CacheRecord) -> dict[str, Any]:
    """The fields of a hit's row that say where its result comes from."""
    return {
        "cached_run_id": record.run_id,
        "cached_started_at": record.started_at,
        "cached_ended_at": record.ended_at,
        "cached_execution_time": record.execution_time,
        "cache_path": record.cache_path,
    }


class RecordedTask:
    """What the cache knows of the call behind a task run. See :class:`~expops_prefect.cache.context.TaskRecorder`.

    Args:
        call: the call.
        missed: called before its body is executed.
        outputs: finds the metrics and charts of the call and its steps, until it has ended.

    Attributes:
        outputs: as above; replaced when the call ends.
    """

    def __init__(self, call: Call, missed: Callable[[], object], outputs: Callable[[], tuple[Output, ...]]) -> None:
        self.run_id, self.path, self.step_of = call.run_id, call.path, call.step_of
        self._missed = missed
        self.outputs = outputs

    def missed(self) -> None:
        """See :class:`~expops_prefect.cache.context.TaskRecorder`."""
        self._missed()
