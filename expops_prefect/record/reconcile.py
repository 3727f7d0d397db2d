"""Mark runs as failed whose processes have died silently."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from expops_prefect.errors import FormatError
from expops_prefect.models import names
from expops_prefect.record import liveness, process_rows, run_records
from expops_prefect.record.liveness import Heartbeat
from expops_prefect.record.process_rows import Row
from expops_prefect.record.row_changes import cut_off_if_running
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv.base import KVStore

_logger = logging.getLogger("prefect.expops")


def end_dead_runs(kv: KVStore, runtime_dir: Path, *, dry_run: bool = False) -> list[RunRecord]:
    """End open runs that no longer send heartbeats, with their calls.

    They end at the last known time. If such a run is in fact alive, because its machine was cut off, its
    later records correct this.

    Args:
        kv: the project's KV store.
        runtime_dir: the project's runtime folder on this machine.
        dry_run: only return the runs.

    Returns:
        Their records after the change.

    Raises:
        KVError: the store failed.
    """
    ended = []
    for sign in list(liveness.signs(kv)):
        if not sign.dead(runtime_dir, time.time()):
            continue
        record = _end(kv, sign, dry_run)
        if record is not None:
            ended.append(record)
            if not dry_run:
                _logger.info("run %s: its process %d on %s died; marked as failed", sign.run_id, sign.pid, sign.host)
        if not dry_run:
            liveness.forget_lock(runtime_dir, sign.lock)
    return ended


def _end(kv: KVStore, sign: Heartbeat, dry_run: bool) -> RunRecord | None:
    """End one run, writing its own record last; ``None`` if it had ended."""
    try:
        found = run_records.read_run(kv, sign.run_id)
    except FormatError:
        return None  # leave it to the newer release
    if found is None or found.status in process_rows.TERMINAL:
        # Its process only failed to remove the heartbeat.
        if not dry_run:
            _remove(kv, sign)
        return None
    rows = process_rows.read_rows(kv, sign.run_id)
    end = _last_known(found, sign, rows)
    failure = f"its process, {found.pid} on {found.host}, died"
    record = replace(found, status="failed", ended_at=end, died=True, failure=failure)
    record = run_records.with_first_failed(record, rows)
    if dry_run:
        return record
    for row in rows:
        if row.status == "running":
            kv.update(names.row_key(sign.run_id, row.path), lambda value: cut_off_if_running(value, end))
    held = kv.get(names.sign_key(sign.run_id))
    if held is not None and held.get("lock") != sign.lock:
        return None  # resumed meanwhile
    kv.put_many(
        {
            names.run_timestamps_key(sign.run_id): {"start": record.started_at, "end": record.ended_at},
            names.run_record_key(sign.run_id): record.dump(),
            names.run_status_key(sign.run_id): "failed",
        }
    )
    _remove(kv, sign)
    return record


def _last_known(record: RunRecord, sign: Heartbeat, rows: Sequence[Row]) -> float:
    """When a run was last active, epoch seconds: tasks may have begun and ended since its last heartbeat."""
    times = [sign.at, record.started_at]
    for row in rows:
        latest = row.fields.get("ended_at_latest")
        known = (row.started_at, row.ended_at, latest if isinstance(latest, int | float) else None)
        times += [at for at in known if at is not None]
    return max(times)


def _remove(kv: KVStore, sign: Heartbeat) -> None:
    held = kv.get(names.sign_key(sign.run_id))
    if held is not None and held.get("lock") == sign.lock:
        kv.delete(names.sign_key(sign.run_id))
