"""Where keys stand in Firestore, read by Google's own client: exactly ExpOps' documents, and ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from expops_prefect.errors import KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.stores.kv.firestore.layout import escape, is_id, place, unescape
from expops_prefect.stores.kv.firestore.store import FirestoreKV
from expops_prefect.testing.kv_samples import CHARTS, DIGESTS, ODD_KEYS, RECORD, ROW, SERIES
from tests.support.firestore import Documents, enc, new_store

pytestmark = pytest.mark.usefixtures("firestore_host")

RUN = "project-shop-20261124120000-0123abcd"
TRAIN = "//process[@name='train']"
SECOND = "//*[@partition='p2']/process[@name='train']"
STEP = "//process[@name='train']/step[@name='load']"


def without_time(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    for fields in found.values():
        if "last_updated" in fields:
            # A whole number would be stored as an integer, which ExpOps' run list passes over.
            assert type(fields.pop("last_updated")) is float
    return found


def test_documents_of_the_contract(store: FirestoreKV, documents: Documents) -> None:
    key = names.CacheKey("train", *DIGESTS)
    store.put_many({names.run_status_key(RUN): "running", names.run_timestamps_key(RUN): {"start": 1.5, "end": None}})
    store.increment(names.stat_key(RUN, "cache_hit_count"), 3)
    store.put(names.row_key(RUN, TRAIN), ROW)
    store.put(names.row_key(RUN, STEP), ROW)
    store.update(names.charts_key(RUN, TRAIN), lambda value: CHARTS)
    store.update(names.charts_key(RUN, SECOND), lambda value: CHARTS)
    store.append_metrics(names.metrics_key(RUN, TRAIN), [MetricPoint("loss", 0.5, 1), MetricPoint("val/acc", 1, 10)])
    store.append_metrics(names.metrics_key(RUN, TRAIN), [MetricPoint("loss", "NaN", 2)])
    store.put(names.metrics_key(RUN, SECOND), SERIES)
    store.put_many({key.record_key: RECORD, key.step_record_key(SECOND, "load"): RECORD})
    digests = ":".join(DIGESTS)
    run = f"runs/{RUN}"
    assert without_time(documents.every()) == {
        run: {"status": "running", "timestamps": {"start": 1.5, "end": None}, "stats": {"cache_hit_count": 3}},
        f"{run}/steps/{enc(TRAIN)}.{enc('__process__')}": {**ROW, "key": names.row_key(RUN, TRAIN)},
        f"{run}/steps/{enc(STEP)}.{enc('__process__')}": {**ROW, "key": names.row_key(RUN, STEP)},
        f"{run}/charts_index/index": {"charts": {TRAIN: CHARTS, SECOND: CHARTS}},
        f"metric/{RUN}/probes_by_path/{enc(TRAIN)}": {"loss": {"1": 0.5, "2": "NaN"}, "val/acc": {"10": 1}},
        f"metric/{RUN}/probes_by_path/{enc(SECOND)}": SERIES,
        f"process_indices/{enc(TRAIN)}:{digests}": {**RECORD, "key": key.record_key},
        f"step_indices/{enc(SECOND)}:{enc('load')}:{digests}": {**RECORD, "key": key.step_record_key(SECOND, "load")},
    }


def test_every_write_to_a_run_moves_last_updated(store: FirestoreKV, documents: Documents) -> None:
    other = {"runs": names.stat_key(RUN, "n"), "charts_index": names.charts_key(RUN, SECOND)}
    for key in (names.run_status_key(RUN), names.charts_key(RUN, TRAIN)):
        document, _ = documents.place(key)
        beside = other[document.parent.id]
        changes: list[Callable[[], object]] = [
            lambda: store.put_many({beside: 1, key: 0}),  # noqa: B023
            lambda: store.put(key, 1),  # noqa: B023
            lambda: store.update(key, lambda value: 2),  # noqa: B023
            lambda: store.compare_and_set(key, "2", 3),  # noqa: B023
            lambda: store.delete(key),  # noqa: B023
            lambda: store.create(key, 4),  # noqa: B023
            lambda: store.increment(beside),  # noqa: B023
        ]
        for change in changes:
            document.set({"last_updated": 1.5}, merge=True)
            change()
            assert document.get().to_dict()["last_updated"] > 1.7e9
        assert store.get_many([key, beside]) == {key: 4, beside: 2}


def test_the_last_field_takes_the_document_along(store: FirestoreKV, documents: Documents) -> None:
    keys = [names.run_status_key(RUN), names.stat_key(RUN, "n"), names.charts_key(RUN, TRAIN)]
    store.put_many(dict.fromkeys(keys, 1))
    assert store.delete_many(keys[1:]) == 2
    assert without_time(documents.every()) == {f"runs/{RUN}": {"status": 1, "stats": {}}}
    assert store.delete(keys[0]) is True
    assert documents.every() == {}
    store.put(keys[0], 1)
    documents.client.document(f"{documents.root.path}/runs/{RUN}").update({"others": "x"})
    assert store.delete(keys[0]) is True
    assert without_time(documents.every()) == {f"runs/{RUN}": {"others": "x"}}


def test_documents_that_expops_wrote(store: FirestoreKV, documents: Documents) -> None:
    """They have no field with their key: looked up by it they are found, scans pass over them."""
    key = names.CacheKey("train", *DIGESTS)
    record, _ = documents.place(key.record_key)
    record.set({**RECORD, "list": [{"a": [1]}]})
    row, _ = documents.place(names.row_key(RUN, TRAIN))
    row.set(ROW)
    assert store.get(key.record_key) == {**RECORD, "list": [{"a": [1]}]}
    assert store.get(names.row_key(RUN, TRAIN)) == ROW
    assert store.create(key.record_key, {}) is False
    assert list(store.scan("process:")) == []
    assert store.update(names.row_key(RUN, TRAIN), lambda value: {**(value or {}), "n": 1}) == {**ROW, "n": 1}
    assert dict(store.scan(f"runs:{RUN}:steps:")) == {names.row_key(RUN, TRAIN): {**ROW, "n": 1}}


def test_our_own_documents(store: FirestoreKV, documents: Documents) -> None:
    store.put(names.run_record_key(RUN), {"format": 1})
    store.put(names.counter_key(RUN, TRAIN), 1)
    assert store.increment(names.counter_key(RUN, TRAIN), token="t") == 2
    found = documents.every()
    assert found.pop(f"expops_prefect/{names.run_record_key(RUN)}") == {
        "key": names.run_record_key(RUN),
        "value": {"format": 1},
    }
    counter, token = sorted(found)
    assert counter.startswith("expops_prefect/h_")
    assert found[counter] == {"key": names.counter_key(RUN, TRAIN), "value": 2}
    assert token.startswith("expops_prefect_tokens/")
    assert found[token].items() >= {"key": names.counter_key(RUN, TRAIN), "token": "t"}.items()


def test_projects_are_apart(store: FirestoreKV) -> None:
    other = new_store()
    store.put("k", 1)
    assert other.get("k") is None
    assert list(other.scan("")) == []
    other.close()


def test_no_two_keys_stand_in_one_place() -> None:
    stems = ["r", "a:b", "p_YQ", "status", "timestamps", "~p_YQ", "~", "", "steps", "a.b", "x" * 1600, "h_x"]
    keys = {*ODD_KEYS, *stems}
    for head in ("runs:r:", "runs:r:steps:", "runs:r:stats:", "runs:r:charts:", "runs:", "metric:r:probe_path:"):
        keys |= {head + stem for stem in stems} | {f"{head}{one}:{two}" for one in stems for two in stems}
    for head in ("steps:", "process:"):
        keys |= {f"{head}{a}:{b}:i:c:f" for a in stems for b in stems} | {f"{head}{a}:i:c:f" for a in stems}
    places = {key: place(key) for key in keys}
    assert len({(where.document, where.field) for where in places.values()}) == len(keys)
    for where in places.values():
        assert all(is_id(part) for part in where.document.split("/"))
        assert len(where.document.split("/")) % 2 == 0


@pytest.mark.parametrize("name", ["", "a", "__x__", "~p_YQ", "~p_", "~p_!", "~", "p_YQ", "ü.`\\", "x" * 800])
def test_names_of_fields_come_back(name: str) -> None:
    assert unescape(escape(name)) == name


def test_names_that_are_too_long_for_a_field(store: FirestoreKV) -> None:
    with pytest.raises(KVRefusedError, match="too long"):
        store.append_metrics(names.metrics_key(RUN, TRAIN), [MetricPoint("a", 1, 1), MetricPoint("x" * 1300, 1, 1)])
    assert store.get(names.metrics_key(RUN, TRAIN)) is None
