"""Run records: this package's own record of a run, beside the keys that ExpOps reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace

from expops_prefect._internal.redaction import masked
from expops_prefect.errors import FormatError, KVDamagedError
from expops_prefect.models import names
from expops_prefect.models.record_format import PLAIN_FORMAT, load
from expops_prefect.record.process_rows import Row, Status, single_calls
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, KVStore


@dataclass(frozen=True, slots=True)
class RunRecord:
    """This package's own record of a run, beside the keys that ExpOps reads. Times are epoch seconds."""

    run_id: str
    project_id: str
    flow: str
    flow_run_id: str
    flow_run_name: str
    started_at: float
    ended_at: float | None = None
    status: Status = "running"
    attempt: int = 1
    host: str = ""
    pid: int = 0
    degraded: dict[str, int] = field(default_factory=dict)
    """How often each kind of failure beside the flow happened."""
    degraded_since: dict[str, float] = field(default_factory=dict)
    """When each kind of it first happened."""
    died: bool = False
    """Whether its process died; ``ended_at`` is then its last known time."""
    parameters: dict[str, str] = field(default_factory=dict)
    """The flow's parameters as short texts, without possible secrets."""
    failure: str = ""
    """Why it failed: the exception's type and message without secrets, or Prefect's message."""
    failed_path: str = ""
    """The probe path of the call that failed first; empty if none did."""
    failed_log: str = ""
    """How Prefect files its log: ``task-run/<id>`` or ``flow-run/<id>``."""
    failed_because: str = ""
    """Why that call failed."""
    format: int = PLAIN_FORMAT

    @property
    def log(self) -> str:
        """The command that shows the log of the first failure, else of the whole run."""
        kind, _, run_uuid = (self.failed_log or f"flow-run/{self.flow_run_id}").partition("/")
        return f"prefect {kind} logs {run_uuid}"

    def dump(self) -> dict[str, JSON]:
        """The JSON form."""
        return asdict(self)

    @classmethod
    def load(cls, value: JSON) -> RunRecord:
        """Read the JSON form back.

        Raises:
            FormatError: not a record of this package, or one of a newer release.
        """
        made = load(cls, value, "run record")
        return replace(made, parameters=masked(made.parameters))  # older releases did not mask them


def with_first_failed(record: RunRecord, rows: Iterable[Row]) -> RunRecord:
    """Add to the record of a failed run the call that failed first.

    Args:
        record: the record of the run.
        rows: its rows from all processes.
    """
    record = replace(record, failed_path="", failed_log="", failed_because="")
    failed = [row for row in single_calls(rows) if row.status == "failed"]
    if not failed:
        return record
    # A step ends before the process that fails with it.
    first = min(failed, key=lambda row: (row.ended_at or math.inf, row.path.count("/step[") == 0, row.path))
    log = str(first.fields.get("log") or "")
    return replace(record, failed_path=first.path, failed_log=log, failed_because=first.failure)


def read_run(kv: KVStore, run: str) -> RunRecord | None:
    """The record of a run, with the status that ExpOps' clients see.

    Raises:
        FormatError: not a record of this package, or one of a newer release.
    """
    try:
        value = kv.get(names.run_record_key(run))
    except KVDamagedError as error:
        raise FormatError(str(error)) from error
    return None if value is None else RunRecord.load(value)


def read_runs(kv: KVStore, *, head: str = "") -> Iterator[RunRecord]:
    """The project's runs by run id, oldest first; skips records of newer releases.

    Args:
        kv: the KV store.
        head: only runs whose ids start with this.
    """
    return (run for _, run in scan_runs(kv, head=head) if run is not None)


def scan_runs(
    kv: KVStore, *, head: str = "", after: str | None = None, limit: int | None = None
) -> Iterator[tuple[str, RunRecord | None]]:
    """Run ids with their records, oldest first; ``None`` for a record of a newer release or a damaged one.

    Args:
        kv: the KV store.
        head: the start of the ids.
        after: only ids greater than this one.
        limit: the most runs.
    """
    start = None if after is None else names.run_record_key(after)
    for key, value in tolerant_reads.scan(kv, names.run_record_key(head), after=start, limit=limit):
        try:
            run = RunRecord.load(value)
        except FormatError:
            run = None
        yield key.removeprefix(names.RUN_RECORD_PREFIX), run
