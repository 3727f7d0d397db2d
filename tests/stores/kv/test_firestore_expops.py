"""The real ExpOps' own Firestore store reads what ours writes, and ours what it writes."""

from __future__ import annotations

import pytest
from expops.storage.adapters.gcp_kv_store import GCPStore

from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.testing.kv_samples import CHARTS, DIGESTS, RECORD, ROW, exactly
from tests.support.firestore import GCP_PROJECT, new_project, new_store

pytestmark = pytest.mark.usefixtures("firestore_host")

RUN = "project-shop-20261124120000-0123abcd"
TRAIN = "//process[@name='train']"


def test_both_ways(firestore_host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", firestore_host)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", GCP_PROJECT)
    project = new_project()
    ours = new_store(project)
    theirs = GCPStore(project_id=project, gcp_project=GCP_PROJECT, emulator_host=firestore_host)

    key = names.CacheKey("train", *DIGESTS)
    ours.put_many({names.run_status_key(RUN): "completed", names.row_key(RUN, TRAIN): ROW})
    ours.put_many({key.record_key: RECORD, key.step_record_key(TRAIN, "load"): RECORD})
    ours.increment(names.stat_key(RUN, "cache_hit_count"), 3)
    ours.update(names.charts_key(RUN, TRAIN), lambda value: CHARTS)
    ours.append_metrics(names.metrics_key(RUN, TRAIN), [MetricPoint("loss", 0.5, 1), MetricPoint("loss", 0.25, 2)])
    assert theirs.list_runs() == [RUN]
    assert theirs.get_run_status(RUN) == "completed"
    [row] = theirs.list_run_steps(RUN).values()
    assert row.items() >= ROW.items()
    assert theirs.get_pipeline_stats(RUN) == {"cache_hit_count": 3}
    assert theirs.list_run_charts(RUN) == {TRAIN: CHARTS}
    assert theirs.get_probe_metrics_by_path(RUN, TRAIN) == {"loss": {"1": 0.5, "2": 0.25}}
    assert theirs.get_process_cache_path(TRAIN, *DIGESTS) == RECORD["cache_path"]
    assert theirs.get_step_cache_path(TRAIN, "load", *DIGESTS) == RECORD["cache_path"]

    run = RUN.replace("0123abcd", "ffffffff")
    theirs.mark_pipeline_started(run)
    theirs.record_run_step(run, TRAIN, "__process__", {"status": "running", "process_name": TRAIN})
    theirs.increment_stat(run, "cache_hit_count", 2)
    theirs.record_run_chart_artifacts(run, TRAIN, [{"title": "loss", "object_path": "gs://b/k.png"}])
    theirs.save_probe_metrics_by_path(run, TRAIN, {"loss": {"7": float("nan")}})
    theirs.set_process_cache_record(TRAIN, *DIGESTS, {"status": "completed", "cache_path": "/abs/theirs.pkl"})
    assert ours.get(names.run_status_key(run)) == "running"
    assert (ours.get(names.run_timestamps_key(run)) or {})["start"] > 1.7e9
    assert (ours.get(names.row_key(run, TRAIN)) or {})["status"] == "running"
    assert ours.increment(names.stat_key(run, "cache_hit_count")) == 3
    assert (ours.get(names.charts_key(run, TRAIN)) or {})["items"][0]["title"] == "loss"
    ours.append_metrics(names.metrics_key(run, TRAIN), [MetricPoint("loss", 1, 8)])
    assert exactly(ours.get(names.metrics_key(run, TRAIN))) == exactly({"loss": {"7": "NaN", "8": 1}})
    assert (ours.get(key.record_key) or {})["cache_path"] == "/abs/theirs.pkl"
    ours.close()
