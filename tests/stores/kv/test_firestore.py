from __future__ import annotations

import os
import threading
from collections import Counter
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from expops_prefect.errors import KVDamagedError, KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import KVStore, MetricPoint
from expops_prefect.stores.kv.firestore.layout import DOCUMENTS
from expops_prefect.stores.kv.firestore.store import FirestoreKV
from expops_prefect.stores.kv.firestore.values import JSON_FIELD
from expops_prefect.testing.kv_machine import kv_machine
from expops_prefect.testing.kv_samples import CHARTS, PATH, ROW, RUN, RawKV, content
from expops_prefect.testing.kv_suite import KVConformance
from tests.support.firestore import Documents, new_project, new_store

pytestmark = pytest.mark.usefixtures("firestore_host")


@pytest.fixture
def raw(documents: Documents) -> RawKV:
    return documents


class TestConformance(KVConformance):
    def test_readers_see_all_of_a_write(self, store: KVStore) -> None:
        """In one document. The emulator, unlike Firestore, shows the documents of a commit one by one."""
        self.readers_see_all_of_a_write(store, [names.run_status_key(RUN), names.run_timestamps_key(RUN)])


TestMachine = kv_machine(new_store, examples=12, shrink=False).TestCase


def spent(store: FirestoreKV) -> Counter[str]:
    """The calls since the last time."""
    calls = store.calls.copy()
    store.calls.clear()
    return calls


WRITE = Counter(writes=1, rpcs=1)
READ = Counter(reads=1, rpcs=1)


@pytest.mark.parametrize("key", ["k", names.row_key(RUN, PATH), names.charts_key(RUN, PATH)])
def test_a_single_writer_does_not_read(store: FirestoreKV, key: str) -> None:
    for turn in range(5):
        store.update(key, lambda value, turn=turn: {**(value or {}), str(turn): turn})  # type: ignore[misc]
        assert spent(store) == WRITE
    assert store.get(key) == {str(turn): turn for turn in range(5)}
    assert spent(store) == READ


def test_update_after_put_does_not_read(store: FirestoreKV) -> None:
    key = names.row_key(RUN, PATH)
    store.put(key, ROW)
    assert spent(store) == WRITE
    assert store.update(key, lambda row: {**(row or {}), "status": "failed"}) == {**ROW, "status": "failed"}
    assert spent(store) == WRITE


def test_charts_of_several_processes_in_one_document(store: FirestoreKV) -> None:
    for number in range(4):
        store.update(names.charts_key(RUN, f"//process[@name='p{number}']"), lambda value: CHARTS)
        assert spent(store) == WRITE
    assert len(content(store, f"runs:{RUN}:charts:")) == 4


def test_points_are_written_without_a_read(store: FirestoreKV, project: str) -> None:
    key = names.metrics_key(RUN, PATH)
    other = new_store(project)
    for turn in range(5):
        other.append_metrics(key, [MetricPoint("other", turn, turn)])
        assert spent(other) == WRITE
        store.append_metrics(key, [MetricPoint("loss", turn, turn + 1), MetricPoint("acc", turn, 7 * turn)])
        assert spent(store) == WRITE
    assert store.get(key) == {
        "loss": {str(turn + 1): turn for turn in range(5)},
        "acc": {str(7 * turn): turn for turn in range(5)},
        "other": {str(turn): turn for turn in range(5)},
    }
    assert spent(store) == Counter(reads=2, rpcs=1)
    other.close()


def test_calls_are_counted(store: FirestoreKV) -> None:
    store.put_many({"a": 1, "b": 2, names.run_status_key(RUN): "running", names.run_timestamps_key(RUN): {}})
    assert spent(store) == Counter(writes=3, rpcs=1)
    assert store.get_many(["a", "b", "c"]) == {"a": 1, "b": 2}
    assert spent(store) == Counter(reads=3, rpcs=1)
    assert store.create("a", 2) is False
    assert spent(store) == WRITE
    assert store.delete("a") is True
    assert spent(store) == Counter(deletes=1, rpcs=1)
    assert len(content(store, "b")) == 1
    assert spent(store) == READ
    assert store.increment("n") == 1
    assert spent(store) == READ + WRITE
    assert store.increment("n") == 2
    assert spent(store) == WRITE
    assert store.increment("n", token="t") == 3
    assert spent(store) == Counter(writes=2, rpcs=1)


def test_rows_of_a_run_are_one_query(store: FirestoreKV) -> None:
    rows = {names.row_key(RUN, names.process_path("train", call)): ROW for call in range(1, 40)}
    store.put_many(rows)
    spent(store)
    assert content(store, names.run_rows_prefix(RUN)) == rows
    assert spent(store) == Counter(reads=39, rpcs=1)


def test_more_keys_than_one_commit_takes(store: FirestoreKV) -> None:
    values = {f"k{number}": number for number in range(501)}
    with pytest.raises(KVRefusedError, match="501 keys"):
        store.put_many(values)
    assert content(store) == {}
    values.popitem()
    store.put_many(values)
    assert content(store) == values


def test_a_change_that_cannot_take_nothing(store: FirestoreKV, project: str) -> None:
    """It may be called with ``None`` before anything was read, but that must not show."""
    store.put("k", {"n": 1})
    other = new_store(project)
    seen = []

    def change(value: dict[str, int] | None) -> dict[str, int]:
        seen.append(value)
        assert value is not None
        return {"n": value["n"] + 1}

    assert other.update("k", change) == {"n": 2}
    assert seen == [None, {"n": 1}]
    with pytest.raises(AssertionError):
        other.update("missing", change)
    assert store.get_many(["k", "missing"]) == {"k": {"n": 2}}
    other.close()


def test_a_change_may_spoil_what_it_is_given(store: FirestoreKV) -> None:
    def change(value: list[int] | None) -> list[int]:
        items = value or []
        items.append(len(items))
        return items

    for turns in range(1, 4):
        assert store.update("k", change) == list(range(turns))
        assert store.update(names.run_status_key(RUN), change) == list(range(turns))
    assert store.get("k") == [0, 1, 2]


def test_numbers_that_json_does_not_have(store: FirestoreKV, project: str) -> None:
    """ExpOps' own clients write them."""
    documents = Documents(project)
    documents.write(names.metrics_key(RUN, PATH), {"loss": {"1": float("nan"), "2": float("-inf")}})
    documents.write(names.row_key(RUN, PATH), {"ended_at": float("inf")})
    assert store.get(names.metrics_key(RUN, PATH)) == {"loss": {"1": "NaN", "2": "-Infinity"}}
    assert store.update(names.row_key(RUN, PATH), lambda row: {**(row or {}), "n": 1})
    assert store.get(names.row_key(RUN, PATH)) == {"ended_at": "Infinity", "n": 1}
    documents.client.close()


def _in_child(store: FirestoreKV, pipe: Connection) -> None:
    store.append_metrics(names.metrics_key(RUN, PATH), [MetricPoint("loss", 2, 2)])
    pipe.send([store.increment("k"), store.get(names.metrics_key(RUN, PATH))])
    store.close()
    os._exit(0)  # not through Prefect's own end of a process, which fails in a fork


def test_in_a_forked_child(store: FirestoreKV) -> None:
    store.append_metrics(names.metrics_key(RUN, PATH), [MetricPoint("loss", 1, 1)])
    assert store.increment("k") == 1
    context = get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_in_child, args=(store, theirs))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == [2, {"loss": {"1": 1, "2": 2}}]
    child.join()
    assert child.exitcode == 0
    assert store.increment("k") == 3


def test_one_client_for_all_threads(store: FirestoreKV) -> None:
    store.ping()
    clients = []

    def use() -> None:
        store.increment("k")
        clients.append(store._session().connection._client)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clients) == 8
    assert len(set(map(id, clients))) == 1
    assert store.get("k") == 8


def test_erase_removes_a_project_and_no_other() -> None:
    project = new_project()
    store, neighbour = new_store(project), new_store(f"{project}-2")
    key = names.metrics_key("run", "//process[@name='a']")
    for each in (store, neighbour):
        each.put_many(
            {"k": 1, names.run_status_key("run"): "running", names.row_key("run", "//process[@name='a']"): {}}
        )
        each.put_many({names.charts_key("run", "x"): {"items": []}, "steps:a:b:1:2:3": {"a": 1}, "process:a:1:2:3": {}})
        each.increment("n", token="once")
        each.append_metrics(key, [MetricPoint("loss", 1, 1)])
    there = set(Documents(project).every())
    assert {path.split("/")[0] for path in there} == set(DOCUMENTS)
    assert store.erase() >= len(there)
    assert Documents(project).every() == {}
    assert list(store.scan("")) == []
    assert set(Documents(f"{project}-2").every()) == there
    store.close()
    neighbour.close()


@pytest.mark.parametrize(
    "keys",
    [
        ("k1", "k2", "k3"),
        tuple(names.row_key(RUN, names.process_path(name)) for name in ("a", "b", "c")),
        tuple(names.charts_key(RUN, names.process_path(name)) for name in ("a", "b", "c")),
        tuple(names.metrics_key(RUN, names.process_path(name)) for name in ("a", "b", "c")),
    ],
    ids=["entry", "row", "charts", "metrics"],
)
def test_a_damaged_text_inside_a_value_hides_no_others(
    store: FirestoreKV, raw: Documents, keys: tuple[str, str, str]
) -> None:
    value = {"loss": {"1": 0.5}}
    for key in (keys[0], keys[2]):
        store.put(key, value)
    raw.write(keys[1], {"loss": {JSON_FIELD: "{not JSON"}})
    left: list[str] = []
    ends = range(len(keys[0]), -1, -1)
    prefix = next(keys[0][:end] for end in ends if all(key.startswith(keys[0][:end]) for key in keys))
    found = dict(tolerant_reads.scan(store, prefix, damaged=left.append))
    assert (list(found), left) == ([keys[0], keys[2]], [keys[1]])
    assert list(tolerant_reads.get_many(store, keys)) == [keys[0], keys[2]]
    with pytest.raises(KVDamagedError) as error:
        store.get(keys[1])
    assert error.value.key == keys[1]
    assert store.delete(keys[1])
    assert list(dict(store.scan(prefix))) == [keys[0], keys[2]]
