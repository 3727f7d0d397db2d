"""A large array through a GCS server on this machine: stored, loaded elsewhere, loaded again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import prefect
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from prefect.cache_policies import INPUTS, TASK_SOURCE

import expops_prefect
from tests.benchmarks.bench import Bench, seconds, settled
from tests.benchmarks.harness import Goal, Measure, compared, one_round
from tests.benchmarks.large import Stopwatch, array
from tests.support.emulators import new_bucket, start_gcs_server

PEER = "GcsBucket"
"""Prefect's own caching with the block of prefect-gcp as the result storage."""


def measure(bench: Bench) -> Iterator[Measure]:
    """Against Prefect with prefect-gcp, through the same server and bucket.

    "Downloaded" is the first hit on a machine, the one that computed included; afterwards ours has
    a copy, of which it then takes no more than the address space. Prefect downloads every time.
    """
    size = bench.array_bytes
    name = f"{size >> 20} MiB array through GCS"
    with _bucket(bench) as (client, bucket):
        contest = _Contest(bench, bucket)
        for number in range(bench.large_rounds):
            contest.round(number, size)
            # The server holds it all in memory.
            for blob in client.list_blobs(bucket):
                blob.delete()
    yield compared(contest.stored, f"{name}, stored", Goal("speedup", 3), against=PEER)
    yield compared(contest.downloaded, f"{name}, hit, downloaded", Goal("speedup", 8), against=PEER)
    yield compared(contest.again, f"{name}, hit, again", Goal("speedup", 8), against=PEER)
    yield compared(contest.touched, f"{name}, hit, again and summed up", Goal("speedup"), against=PEER)


@contextmanager
def _bucket(bench: Bench) -> Iterator[tuple[Client, str]]:
    server, url = start_gcs_server(bench.folder)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("STORAGE_EMULATOR_HOST", url)
            # For Prefect's block, which asks for them even where none are needed.
            patch.setattr("google.auth.default", lambda *_, **__: (AnonymousCredentials(), "bench"))
            yield _client(), new_bucket(url)
    finally:
        server.stop()


def _client() -> Client:
    return Client(project="bench", credentials=AnonymousCredentials())


def _with_prefect_gcp(bucket: str) -> Any:
    """Prefect's task with its block."""
    from prefect_gcp.cloud_storage import GcsBucket
    from prefect_gcp.credentials import GcpCredentials

    storage = GcsBucket(bucket=bucket, gcp_credentials=GcpCredentials(project="bench"), bucket_folder="prefect")
    storage.save("bench", overwrite=True)
    policy = (INPUTS + TASK_SOURCE) - "watch"
    return prefect.task(cache_policy=policy, persist_result=True, result_storage=storage)(array)


class _Contest:
    def __init__(self, bench: Bench, bucket: str) -> None:
        self._root = bench.project("cloud")
        (self._root / "configs" / "project_config.yaml").write_text(
            "prefect: {project_id: cloud}\n"
            f"experiment: {{cache: {{object_store: {{type: gcs, bucket: {bucket}}}}}}}\n"
        )
        self._tasks = {"ours": expops_prefect.task(ignore=["watch"])(array), PEER: _with_prefect_gcp(bucket)}
        self.stored: list[dict[str, float]] = []
        self.downloaded: list[dict[str, float]] = []
        self.again: list[dict[str, float]] = []
        self.touched: list[dict[str, float]] = []

    def round(self, number: int, size: int) -> None:
        """Store a new value, hit it as on a machine that never had it, then again; each in a flow run."""
        self.stored.append(self._flow_run(number, size, hits=False))
        shutil.rmtree(self._root / ".cloud" / "downloads", ignore_errors=True)
        self.downloaded.append(self._flow_run(number, size, hits=True))
        self.again.append(self._flow_run(number, size, hits=True))
        self.touched.append(self._flow_run(number, size, hits=True, touch=np.sum))
        shutil.rmtree(self._root / ".cloud" / "downloads", ignore_errors=True)

    def _flow_run(
        self, number: int, size: int, *, hits: bool, touch: Callable[[Any], Any] | None = None
    ) -> dict[str, float]:
        @expops_prefect.flow(project=self._root, name="cloud")
        def run() -> dict[str, float]:
            calls = {name: self._timed(name, number, size, hits=hits, touch=touch) for name in self._tasks}
            return one_round(calls, number)

        return run()

    def _timed(
        self, name: str, number: int, size: int, *, hits: bool, touch: Callable[[Any], Any] | None
    ) -> Callable[[], float]:
        def run() -> float:
            watch, found = Stopwatch(), list[Any]()

            def call() -> None:
                found.append(self._tasks[name](number, size, watch))
                if touch is not None:
                    touch(found[0])

            settled()
            elapsed = seconds(call)
            if watch.runs != (0 if hits else 1):
                raise AssertionError(f"{name}: executed {watch.runs} times where a {'hit' if hits else 'miss'} was due")
            return elapsed - watch.seconds

        return run
