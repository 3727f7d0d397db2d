"""Series in Firestore beyond what one document holds, and with many writers."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from expops_prefect.errors import KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import MetricPoint
from expops_prefect.stores.kv.encoding import dump
from expops_prefect.stores.kv.firestore import overflow
from expops_prefect.stores.kv.firestore.client import Connection, Deadline
from expops_prefect.stores.kv.firestore.overflow import Series
from expops_prefect.stores.kv.firestore.store import FirestoreKV
from expops_prefect.testing.kv_machine import Model
from expops_prefect.testing.kv_samples import RUN, exactly
from tests.support.firestore import Documents, new_store

pytestmark = pytest.mark.usefixtures("firestore_host")

KEY = names.metrics_key(RUN, "//process[@name='train']")
MAIN = f"metric/{RUN}/probes_by_path/"
LIMIT = 60


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, documents: Documents) -> None:
    """Documents are full at 60 points, as Google's are at 20,000, which the emulator does not know."""
    commit = Connection.commit
    checking = threading.Lock()

    def limited(self: Connection, writes: Sequence[Any], deadline: Deadline, *, again: bool) -> list[Any]:
        merged = [
            write for write in writes if "/probes_by_path/" in write.update.name and write.update_mask.field_paths
        ]
        if not merged:
            return commit(self, writes, deadline, again=again)
        # As one step: of two that find room for one, Google would refuse the other.
        with checking:
            for write in merged:
                path = write.update.name.split("/documents/")[1]
                held = documents.client.document(path).get().to_dict() or {}
                paths = {f"{name}.{step}" for name, steps in held.items() for step in steps}
                paths |= {path.replace("`", "") for path in write.update_mask.field_paths}
                if len(paths) > LIMIT:
                    raise KVRefusedError("too many index entries for entity")
            return commit(self, writes, deadline, again=again)

    monkeypatch.setattr(Connection, "commit", limited)
    monkeypatch.setattr(overflow, "THINNED_POINTS", 20)
    monkeypatch.setattr(overflow, "MAX_POINTS", LIMIT)
    monkeypatch.setattr(overflow, "_BATCH_POINTS", 25)
    monkeypatch.setattr(overflow, "_PART_BYTES", 400)


def shown(documents: Documents) -> Series:
    """What clients see of the series."""
    return documents.read(KEY) or {}


@pytest.mark.usefixtures("small")
def test_a_full_document_goes_on(store: FirestoreKV, project: str, documents: Documents) -> None:
    model = Model()
    chance = random.Random(0)
    for turn in range(40):
        # Most go on, some come late, some replace others.
        new = [8 * turn + number - chance.choice([0, 0, 0, 40]) for number in range(chance.randrange(8))]
        points = [MetricPoint("loss", turn + step / 7, step) for step in new]
        points += [MetricPoint("acc", -turn, chance.choice([turn, 3]))]
        store.append_metrics(KEY, points)
        model.append(KEY, points)
        assert sum(map(len, shown(documents).values())) <= LIMIT
    expected = model.values[KEY]
    assert sum(map(len, expected.values())) > 2 * LIMIT
    assert exactly(store.get(KEY)) == exactly(expected)
    assert list((store.get(KEY) or {})["loss"]) == sorted(expected["loss"], key=int)
    assert exactly(store.get_many([KEY, "none"])) == exactly({KEY: expected})
    assert exactly(dict(store.scan("metric:"))) == exactly({KEY: expected})
    version = store.get_versioned(KEY)
    assert version is not None
    assert exactly(version.value) == exactly(expected)
    for name, steps in shown(documents).items():
        assert {min(expected[name], key=int), max(expected[name], key=int)} <= set(steps) or name == "acc"
        assert steps.items() <= expected[name].items()

    # An old point is replaced, another store goes on, and both see the same.
    other = new_store(project)
    for turn in range(30):
        later = [MetricPoint("loss", "NaN", 2), MetricPoint("loss", turn, 1000 + turn), MetricPoint("acc", 2, turn)]
        (store, other)[turn % 2].append_metrics(KEY, later)
        model.append(KEY, later)
    assert exactly(store.get(KEY)) == exactly(model.values[KEY]) == exactly(other.get(KEY))
    other.close()

    # Written whole, longer and shorter; then removed with all that belongs to it.
    for points_left in (300, 3):
        value = {"loss": {str(step): step / 3 for step in range(1, points_left + 1)}}
        store.put(KEY, value)
        assert exactly(store.get(KEY)) == exactly(value)
        assert sum(map(len, shown(documents).values())) <= LIMIT
        store.append_metrics(KEY, [MetricPoint("loss", 0, points_left + 1)])
        assert store.get(KEY) == {"loss": {**value["loss"], str(points_left + 1): 0}}
    assert not [path for path in documents.every() if "overflow" in path]
    store.put(KEY, {"loss": {str(step): step for step in range(300)}})
    assert [path for path in documents.every() if "overflow" in path]
    assert store.delete(KEY) is True
    assert documents.every() == {}


@pytest.mark.usefixtures("small")
def test_a_full_document_with_many_writers(project: str, documents: Documents) -> None:
    stores = [new_store(project) for _ in range(3)]
    barrier = threading.Barrier(6)

    def write(number: int) -> None:
        barrier.wait()
        for turn in range(20):
            first = 3 * (6 * turn + number)
            points = [MetricPoint("loss", f"{number}.{turn}.{item}", first + item) for item in range(3)]
            stores[number % 3].append_metrics(KEY, [*points, MetricPoint(f"own {number}", turn, turn)])

    seen = [0]
    with ThreadPoolExecutor(6) as pool:
        writing = [pool.submit(write, number) for number in range(6)]
        while not all(future.done() for future in writing):
            # Points that are being moved are always seen.
            seen.append(len((stores[0].get(KEY) or {}).get("loss", ())))
            assert seen[-1] >= seen[-2]
        for future in writing:
            future.result()
    series = stores[0].get(KEY) or {}
    expected = [f"{number}.{turn}.{item}" for turn in range(20) for number in range(6) for item in range(3)]
    assert list(series["loss"].items()) == [(str(step), value) for step, value in enumerate(expected)]
    for number in range(6):
        assert series[f"own {number}"] == {str(turn): turn for turn in range(20)}
    assert sum(map(len, shown(documents).values())) <= LIMIT
    for store in stores:
        store.close()


@pytest.mark.usefixtures("small")
def test_a_full_document_is_deleted_while_others_append(project: str, documents: Documents) -> None:
    stores = [new_store(project, timeout=30.0) for _ in range(3)]
    done = threading.Event()
    removed = 0

    def remove() -> None:
        nonlocal removed
        while not done.is_set():
            if len((stores[0].get(KEY) or {}).get("loss", ())) > LIMIT:
                removed += stores[0].delete(KEY)

    def write(number: int) -> None:
        for turn in range(30):
            first = 20 * (2 * turn + number)
            points = [MetricPoint("loss", first + item, first + item) for item in range(20)]
            stores[1 + number].append_metrics(KEY, points)

    with ThreadPoolExecutor(3) as pool:
        removing = pool.submit(remove)
        for future in [pool.submit(write, number) for number in range(2)]:
            future.result()
        done.set()
        removing.result()
    assert removed > 1
    series = {"loss": {str(step): step / 7 for step in range(300)}}
    stores[0].delete(KEY)
    assert documents.every() == {}
    stores[1].append_metrics(KEY, [MetricPoint("loss", step / 7, step) for step in range(300)])
    assert stores[2].get(KEY) == series
    for store in stores:
        store.close()


@pytest.mark.usefixtures("small")
def test_points_that_no_room_helps(store: FirestoreKV, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overflow, "_BATCH_POINTS", 1000)
    for _ in range(2):
        with pytest.raises(KVRefusedError, match="index entries"):
            store.append_metrics(KEY, [MetricPoint("loss", 1, step) for step in range(LIMIT + 1)])
        assert store.get(KEY) in (None, {"loss": {"1": 1}})
        store.append_metrics(KEY, [MetricPoint("loss", 1, 1)])


def test_more_than_a_megabyte(store: FirestoreKV, documents: Documents) -> None:
    """With the emulator's own limit on documents."""
    points = [MetricPoint("loss", (step - 1) / 3, step) for step in range(1, 80_001)]
    store.append_metrics(KEY, points)
    store.append_metrics(KEY, [MetricPoint("loss", 7, 80_001), MetricPoint("acc", 1, 1)])
    expected = {str(step): (step - 1) / 3 for step in range(1, 80_001)}
    assert store.get(KEY) == {"loss": {**expected, "80001": 7}, "acc": {"1": 1}}
    steps = sorted(map(int, shown(documents)["loss"]))
    assert steps[0] == 1
    assert steps[-1] == 80_001
    assert overflow.THINNED_POINTS / 2 < len(steps) < 40_000


@pytest.mark.usefixtures("small")
def test_a_series_of_an_older_release(store: FirestoreKV, documents: Documents) -> None:
    """It numbered points by counters beside the number of parts."""
    name = KEY.rpartition(":")[2]
    run = documents.root.collection("metric").document(RUN)
    counting = run.collection("expops_prefect_series").document(name)
    part = {"path": name, "n": 1, "points": dump({"loss": {"1": 0.5, "2": 0.25}, "acc": {"1": 7}})}
    run.collection("expops_prefect_overflow").document(f"{name}.1").set(part)
    counting.set({"counters": {"loss": 4, "acc": 1}, "parts": 1})
    documents.write(KEY, {"loss": {"2": 0.25, "3": 0.125, "4": 0}})
    expected: Series = {"loss": {"1": 0.5, "2": 0.25, "3": 0.125, "4": 0}, "acc": {"1": 7}}
    assert exactly(store.get(KEY)) == exactly(expected)
    assert exactly(dict(store.scan("metric:"))) == exactly({KEY: expected})
    for step in range(2, 200, 20):
        points = [MetricPoint("loss", number, number) for number in range(step, step + 20)]
        store.append_metrics(KEY, points)
        expected["loss"] |= {str(number): number for number in range(step, step + 20)}
    assert exactly(store.get(KEY)) == exactly(expected)
    assert counting.get().to_dict()["parts"] > 1
    assert store.delete(KEY) is True
    assert documents.every() == {}


def test_a_series_of_an_older_release_that_fits(store: FirestoreKV, documents: Documents) -> None:
    run = documents.root.collection("metric").document(RUN)
    run.collection("expops_prefect_series").document(KEY.rpartition(":")[2]).set({"counters": {"loss": 2}, "parts": 0})
    documents.write(KEY, {"loss": {"1": 1, "2": 2}})
    store.append_metrics(KEY, [MetricPoint("loss", 3, 3)])
    assert store.get(KEY) == {"loss": {"1": 1, "2": 2, "3": 3}}
    store.put(KEY, {"loss": {"9": 9}})
    assert store.get(KEY) == {"loss": {"9": 9}}


def test_thinned() -> None:
    series: Series = {"long": {str(step): step for step in range(100_000)}, "short": {"5": 1, "4": 2}, "none": {}}
    thin = overflow.thinned(series)
    assert thin["short"] == {"4": 2, "5": 1}
    assert thin["none"] == {}
    steps = [int(step) for step in thin["long"]]
    assert [steps[0], steps[-1]] == [0, 99_999]
    gaps = {after - before for before, after in pairwise(steps)}
    assert max(gaps) - min(gaps) <= 1
    assert not overflow.has_spare(thin)
    assert overflow.fits(thin)
    small: Series = {"a": {"1": 1.0, "2": 2.0}}
    assert overflow.thinned(small) == small


def test_many_names_are_thinned_by_size() -> None:
    series: Series = {f"{'n' * 200} {number}": {str(step): 1 for step in range(20)} for number in range(1000)}
    thin = overflow.thinned(series)
    assert {len(steps) for steps in thin.values()} <= {2, 3, 4, 5, 6, 7, 8, 9, 10, 11}
    assert all({"0", "19"} <= set(steps) for steps in thin.values())
    assert not overflow.has_spare(thin)


def test_batches() -> None:
    wide = [MetricPoint("x" * 1000, number, number) for number in range(2000)]
    found = list(overflow.batches(wide))
    assert [point for batch in found for point in batch] == wide
    assert max(map(len, found)) < 600
    long = [MetricPoint(f"m{number % 500}", number, number) for number in range(25_000)]
    found = list(overflow.batches(long))
    assert [point for batch in found for point in batch] == long
    assert [len(batch) for batch in found] == [10_000, 10_000, 5_000]
    assert list(overflow.batches([])) == []


def test_parts() -> None:
    series: Series = {"a": {str(step): step / 7 for step in range(100_000)}, "é" * 100: {"1": "NaN"}, "b": {"1": 2**62}}
    found = overflow.parts(series)
    assert overflow.merged(found) == series
    assert len(found) > 2
    assert all(len(exactly(part)) < 1_000_000 for part in found)
