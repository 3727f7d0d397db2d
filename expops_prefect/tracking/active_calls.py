"""A call that has begun in this process, and what its row says as it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expops_prefect.cache.attempts import Attempt
from expops_prefect.cache.key_components import keep_sources
from expops_prefect.models import names
from expops_prefect.record.records import OF_ONE_CALL, CacheRecord, Status
from expops_prefect.record.rows import call_row, total_arguments
from expops_prefect.run_context import Call
from expops_prefect.stores.outbox.changes import AnyChange, Change, Put

if TYPE_CHECKING:
    from expops_prefect.cache.reasons import Reason


@dataclass(slots=True)
class OpenCall:
    """A call that has begun.

    Attributes:
        call: which.
        run_uuid: its task run or subflow run.
        status: what its row says so far.
        started: when its body began, epoch seconds.
        attempt: its attempt at the cache, if there is one.
        upstream: the processes whose data it takes.
        why: why it is executed without an attempt.
        plain: nothing of ours is around its body.
        by_prefect: its result came from Prefect's own cache.
        found: what is known of who computed that.
    """

    call: Call
    run_uuid: str
    status: Status | None = None
    started: float | None = None
    attempt: Attempt | None = None
    upstream: tuple[str, ...] = ()
    why: Reason | None = None
    plain: bool = False
    by_prefect: bool = False
    found: CacheRecord | None = None

    @property
    def hit(self) -> CacheRecord | None:
        """The cache record whose result it was given."""
        if self.by_prefect:
            return self.found
        return None if self.attempt is None or self.attempt.missed else self.attempt.hit

    def turned(self, status: Status, fields: dict[str, Any]) -> tuple[dict[str, Any], Sequence[AnyChange]]:
        """Its status becomes another one.

        Args:
            status: the new one.
            fields: what its row says besides.

        Returns:
            All that its row says of it, and the changes that write it.
        """
        call, before = self.call, self.status
        self.status = status
        fields = {**fields, "task_run_id": self.run_uuid, "upstream": list(self.upstream)}
        if self.attempt is not None and self.attempt.cache_key is not None:
            fields["cache_key"] = self.attempt.key
            if self.attempt.waited:
                fields["waited_seconds"] = self.attempt.waited
        why = self.why if self.attempt is None else self.attempt.why
        if why is not None and status != "cached":
            fields |= why.fields()
            if self.attempt is not None and self.attempt.not_kept is not None:
                fields["not_kept"] = self.attempt.not_kept
            written = None if self.attempt is None else self.attempt.written
            if written is not None and (status == "failed" or "not_kept" in fields):
                # There will be no record that says it.
                fields["parts"] = written.text
                keep_sources(call.project, written.code)
        # The row of a name says of one call alone, its first, why that was executed.
        first = call.path == call.total
        shared = fields if first else {name: fields[name] for name in fields if name not in OF_ONE_CALL}
        arguments = total_arguments(call, before, status, shared)
        total = Change(names.row_key(call.run_id, call.total), "rows.total", arguments)
        if first:
            return fields, (total,)
        return fields, (Put(names.row_key(call.run_id, call.path), call_row(call, status, fields)), total)


def hit_fields(record: CacheRecord) -> dict[str, Any]:
    """What the row of a hit says of where its result comes from."""
    return {
        "cached_run_id": record.run_id,
        "cached_started_at": record.started_at,
        "cached_ended_at": record.ended_at,
        "cached_execution_time": record.execution_time,
        "cache_path": record.cache_path,
    }
