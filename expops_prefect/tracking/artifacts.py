"""A run's summary, its metrics and the sources of its hits as Prefect artifacts.

A thread writes them at the end of the run. The run waits a few seconds at most for its summary, and a
process waits as long for the rest before it ends. Failures are counted.

From a store that bills each document almost nothing is read: this process knows most of it already.
"""

from __future__ import annotations

import atexit
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextvars import copy_context
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import of_process
from expops_prefect.errors import ExpOpsPrefectError
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.record import process_rows, run_outputs, run_records
from expops_prefect.record.run_records import RunRecord
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.tracking.run_summary import READ_DOCUMENTS, SHOWN_METRICS, ProcessSummary, RunSummary, Series
from expops_prefect.tracking.summary_text import CHART_BYTES, SHOWN_CHARTS, SHOWN_LINES, Chart, Summary

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

WAIT_SECONDS: Final = 10.0
"""Seconds that a run, and an ending process, wait at most."""
_REQUEST_SECONDS: Final = 5.0
_LINK_SECONDS: Final = 5.0
"""Seconds for which links are written at most, one request each."""


def write_artifacts(project: Project, record: RunRecord, summary: RunSummary) -> None:
    """Write a run's artifacts. Never raises.

    Args:
        project: where the run is recorded.
        record: the record of the run, which has ended.
        summary: the outcome of its calls.
    """
    writer = _Writer(project, record, summary)
    of_process(_Writers).add(writer)
    writer.thread.start()
    if not writer.summarised.wait(WAIT_SECONDS):
        writer.give_up()


def wait_for_artifacts(timeout: float = WAIT_SECONDS) -> bool:
    """Wait until this process has written all artifacts that it began; return whether it has."""
    deadline = time.monotonic() + timeout
    writers = of_process(_Writers)
    for writer in list(writers):
        writer.thread.join(max(0.0, deadline - time.monotonic()))
        if writer.thread.is_alive():
            writer.give_up()
    return not writers


atexit.register(wait_for_artifacts)


def artifact_key(project_id: str, what: str = "") -> str:
    """The key of an artifact of a project: lower-case letters, digits and dashes, as Prefect requires."""
    plain = re.sub(r"[^a-z0-9]+", "-", project_id.lower()).strip("-")
    if plain != project_id:
        plain = f"{plain}-{names.short_hash(project_id, 4)}".lstrip("-")
    return f"expops-{plain}" + (f"-{what}" if what else "")


class _Writer:
    """Writes the artifacts of one run."""

    def __init__(self, project: Project, record: RunRecord, summary: RunSummary) -> None:
        self._project = project
        self._record = record
        self._overview = summary
        self._given_up = threading.Event()
        self.summarised = threading.Event()
        self._run_url = cache(self._find_run_url)
        # The context holds Prefect's settings.
        self.thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="expops-artifacts", daemon=True
        )

    def give_up(self) -> None:
        """Stop writing."""
        self._given_up.set()
        _failed(f"Prefect's API did not take them within {WAIT_SECONDS:.0f} s")

    def _run(self) -> None:
        try:
            client = _client()
            summary = self._summary()
            self._send_summary(client, summary)
            self.summarised.set()
            self._send_tables(client, summary)
            self._link_hits(client)
        except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
            if not self._given_up.is_set():
                _failed(repr(error))
        finally:
            of_process(_Writers).discard(self)
            self.summarised.set()

    def _summary(self) -> Summary:
        lines = self._overview.lines
        return Summary(
            record=self._record,
            lines=lines,
            objects={line.key: place for line in lines[:SHOWN_LINES] if (place := self._object(line))},
            metrics=self._metrics(),
            charts=list(self._charts()) if self._overview.charts or self._overview.elsewhere else (),
            linked=len(self._overview.hits),
            run_url=self._run_url,
            calls=self._overview.calls,
            log_url=_log_url,
        )

    def _send_summary(self, client: SyncPrefectClient, summary: Summary) -> None:
        """Write the summary with an event, for automations."""
        from prefect.client.schemas.actions import ArtifactCreate

        title = f"ExpOps: run {self._record.run_id}"
        made = _artifact("markdown", summary.markdown(), title, flow_run_id=UUID(self._record.flow_run_id))
        if not self._given_up.is_set():
            client.create_artifact(ArtifactCreate(key=artifact_key(self._project.project_id), **made))

    def _send_tables(self, client: SyncPrefectClient, summary: Summary) -> None:
        for what, rows in (("metrics", summary.metric_rows()), ("calls", summary.call_rows())):
            if rows:
                title = f"{what.capitalize()} of run {self._record.run_id}"
                made = _artifact("table", json.dumps(rows), title, flow_run_id=self._record.flow_run_id)
                self._send(client, {"key": artifact_key(self._project.project_id, what), **made})

    def _send(self, client: SyncPrefectClient, made: Mapping[str, object]) -> None:
        """Write an artifact without an event, which an ending process might have to wait for."""
        if not self._given_up.is_set():
            client.request("POST", "/artifacts/", json=made)

    def _link_hits(self, client: SyncPrefectClient) -> None:
        """Link hits to the task runs that computed them, as many as time allows."""
        from prefect.utilities.urls import url_for

        deadline = time.monotonic() + _LINK_SECONDS
        for hit in self._overview.hits:
            source = None if hit.source_task_run_id is None else url_for("task-run", obj_id=hit.source_task_run_id)
            if source is None:
                continue
            if time.monotonic() > deadline or self._given_up.is_set():
                return
            text = f"[computed by this task run]({source}) of the ExpOps run `{hit.run_id}`"
            self._send(client, _artifact("markdown", text, "From the cache", task_run_id=hit.task_run_id))

    @property
    def _is_billed(self) -> bool:
        return self._project.settings.kv.is_billed

    def _object(self, line: ProcessSummary) -> str | None:
        """The object key of the result under a line's cache key."""
        known, parsed = line.object_key or None, names.CacheKey.parse(line.key)
        if known is not None or parsed is None or self._is_billed:
            return known
        record = self._project.cache_record(parsed)
        return None if record is None else record.object_key

    def _metrics(self) -> dict[tuple[str, str], Series]:
        """The run's metrics, as far as this process has seen them or may read them."""
        summary, found = self._overview, dict(self._overview.series)
        kv, run = self._project.kv, self._record.run_id
        if not self._is_billed or summary.elsewhere:
            prefix = names.metrics_prefix(run)
            scanned = tolerant_reads.scan(kv, prefix, limit=READ_DOCUMENTS if self._is_billed else SHOWN_METRICS)
            stored = {names.decode(key[len(prefix) :]): value for key, value in scanned}
        else:
            stored = {
                path: tolerant_reads.get(kv, names.metrics_key(run, path)) for path in summary.carried[:READ_DOCUMENTS]
            }
        for path, metrics in stored.items():
            for name, values in run_outputs.metric_values(metrics).items():
                series = Series(values[max(values, key=int)])
                for step in sorted(values, key=int):
                    series.add(values[step])
                found[path, name] = series
        return found

    def _charts(self) -> Iterator[Chart]:
        shown, labels = 0, process_rows.labels_of((line.path, line.label) for line in self._overview.lines)
        for path, items in self._project.charts(self._record).items():
            for item in items:
                key, mime = item.get("object_key"), str(item.get("mime_type"))
                small = mime.startswith("image/") and int(item.get("size_bytes") or CHART_BYTES + 1) <= CHART_BYTES
                content = self._picture(str(key)) if key and small and shown < SHOWN_CHARTS else None
                shown += content is not None
                place = str(item.get("object_path"))
                yield Chart(str(item.get("title")), names.readable(path, labels), mime, place, content)

    def _picture(self, key: str) -> bytes | None:
        try:
            found = self._project.objects.get(key)
        except ExpOpsPrefectError:
            return None
        return None if found is None or len(found) > CHART_BYTES else bytes(found)

    def _find_run_url(self, run: str) -> str | None:
        from prefect.utilities.urls import url_for

        record = run_records.read_run(self._project.kv, run)
        return None if record is None else url_for("flow-run", obj_id=record.flow_run_id)


def _log_url(log: str) -> str | None:
    from prefect.utilities.urls import url_for

    kind, _, run_uuid = log.partition("/")
    return url_for("task-run" if kind == "task-run" else "flow-run", obj_id=run_uuid)


def _artifact(kind: str, data: str, description: str, **owner: Any) -> dict[str, Any]:
    return {"type": kind, "data": data, "description": description, **owner}


def _failed(why: str) -> None:
    degrade("artifacts not written", f"{why}; the run's record has the same content", key=why[:40])


@cache
def _client_of(api: str) -> SyncPrefectClient:  # noqa: ARG001
    from prefect.client.orchestration import get_client

    # Entered once for all: making a client takes as long as several requests.
    return get_client(sync_client=True, httpx_settings={"timeout": _REQUEST_SECONDS}).__enter__()


def _client() -> SyncPrefectClient:
    """This process's client for the configured API."""
    from prefect.settings import PREFECT_API_URL

    return _client_of(str(PREFECT_API_URL.value()))


class _Writers(set[_Writer]):
    """The artifacts that this process is writing."""

    def in_forked_child(self) -> None:
        """A forked child has nothing to write yet, and needs its own connections."""
        self.clear()
        _client_of.cache_clear()
