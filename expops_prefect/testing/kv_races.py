"""Threads and processes that use one KV store concurrently and must not lose each other's writes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import pytest

from expops_prefect.models import names
from expops_prefect.stores.kv.base import KVStore, MetricPoint

THREADS = 8
PROCESSES = 4
_RUN = "project-shop-20261124120000-0123abcd"


@dataclass(frozen=True)
class Add:
    """Add an item to a list."""

    item: str

    def __call__(self, value: Any) -> list[str]:
        return [*(value or []), self.item]


@dataclass(frozen=True)
class Worker:
    """The part of one thread or process in a race; picklable."""

    store: KVStore
    key: str
    name: str

    def create(self, keys: int) -> list[bool]:
        return [self.store.create(f"{self.key}{number}", {"by": self.name}) for number in range(keys)]

    def compare_and_set(self, times: int) -> int:
        """Replace the value until that has succeeded ``times`` times; return the number of failures."""
        lost = 0
        for turn in range(times):
            while True:
                found = self.store.get_versioned(self.key)
                assert found is not None
                if self.store.compare_and_set(self.key, found.version, [*found.value, f"{self.name}.{turn}"]):
                    break
                lost += 1
        return lost

    def update(self, times: int) -> int:
        longest = 0
        for turn in range(times):
            value: Any = self.store.update(self.key, Add(f"{self.name}.{turn}"))
            assert len(value) > longest
            longest = len(value)
        return longest

    def increment(self, times: int) -> list[int]:
        return [self.store.increment(self.key, 1) for _ in range(times)]

    def tokens(self, times: int) -> list[int]:
        return [self.store.increment(self.key, 1, token=f"token {number}") for number in range(times)]

    def append(self, times: int) -> None:
        number = int(self.name[1:]) + (THREADS if self.name.startswith("p") else 0)
        for turn in range(times):
            own = MetricPoint(f"own {self.name}", turn, 10 * turn)
            shared = MetricPoint("loss", f"{self.name}.{turn}", turn * (THREADS + PROCESSES) + number)
            self.store.append_metrics(self.key, [shared, own, MetricPoint("last", turn, 1)])


def _call(worker: Worker, method: str, times: int) -> Any:
    return getattr(worker, method)(times)


class KVRaces:
    """Part of the conformance suite."""

    @pytest.fixture(scope="class")
    @classmethod
    def processes(cls) -> Iterator[ProcessPoolExecutor]:
        """A pool of :data:`PROCESSES` workers."""
        with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
            yield pool

    def race(self, processes: ProcessPoolExecutor, store: KVStore, key: str, method: str, times: int) -> dict[str, Any]:
        """Let eight threads on one store and four processes call the same method; return their results by name."""
        barrier = threading.Barrier(THREADS)

        def enter(name: str) -> Any:
            barrier.wait()
            return _call(Worker(store, key, name), method, times)

        others = {
            f"p{n}": processes.submit(_call, Worker(store, key, f"p{n}"), method, times) for n in range(PROCESSES)
        }
        with ThreadPoolExecutor(THREADS) as pool:
            own = {f"t{n}": pool.submit(enter, f"t{n}") for n in range(THREADS)}
        return {name: future.result() for name, future in {**own, **others}.items()}

    @pytest.mark.parametrize("key", ["k", names.row_key(_RUN, "k"), f"runs:{_RUN}:stats:k"])
    def test_one_creator(self, store: KVStore, processes: ProcessPoolExecutor, key: str) -> None:
        won = self.race(processes, store, key, "create", 10)
        for number in range(10):
            winners = [name for name, results in won.items() if results[number]]
            assert len(winners) == 1
            assert store.get(f"{key}{number}") == {"by": winners[0]}

    @pytest.mark.parametrize("key", ["k", names.run_status_key(_RUN)])
    def test_compare_and_set_loses_nothing(self, store: KVStore, processes: ProcessPoolExecutor, key: str) -> None:
        store.put(key, [])
        self.race(processes, store, key, "compare_and_set", 3)
        self._check_all(store.get(key), 3)

    @pytest.mark.parametrize("key", ["k", names.charts_key(_RUN, "k")])
    def test_update_loses_nothing(self, store: KVStore, processes: ProcessPoolExecutor, key: str) -> None:
        self.race(processes, store, key, "update", 4)
        self._check_all(store.get(key), 4)

    def _check_all(self, value: Any, times: int) -> None:
        workers = [f"t{n}" for n in range(THREADS)] + [f"p{n}" for n in range(PROCESSES)]
        assert sorted(value) == sorted(f"{name}.{turn}" for name in workers for turn in range(times))
        for name in workers:
            assert [item for item in value if item.startswith(f"{name}.")] == [
                f"{name}.{turn}" for turn in range(times)
            ]

    @pytest.mark.parametrize("key", ["k", names.stat_key(_RUN, "cache_hit_count")])
    def test_counter_loses_nothing(self, store: KVStore, processes: ProcessPoolExecutor, key: str) -> None:
        counts = self.race(processes, store, key, "increment", 15)
        total = 15 * (THREADS + PROCESSES)
        assert store.get(key) == total
        assert sorted(count for results in counts.values() for count in results) == list(range(1, total + 1))
        assert all(results == sorted(results) for results in counts.values())

    def test_tokens_count_once(self, store: KVStore, processes: ProcessPoolExecutor) -> None:
        counts = self.race(processes, store, "k", "tokens", 6)
        assert store.get("k") == 6
        for results in counts.values():
            assert results == sorted(results)
            assert results[-1] == 6

    def test_metrics_lose_nothing(self, store: KVStore, processes: ProcessPoolExecutor) -> None:
        key = names.metrics_key(_RUN, "//process[@name='train']")
        workers = self.race(processes, store, key, "append", 12)
        series = store.get(key)
        assert series is not None
        assert list(series["loss"]) == [str(step) for step in range(12 * len(workers))]
        order = [f"t{number}" for number in range(THREADS)] + [f"p{number}" for number in range(PROCESSES)]
        assert list(series["loss"].values()) == [f"{name}.{turn}" for turn in range(12) for name in order]
        for name in workers:
            assert series[f"own {name}"] == {str(10 * turn): turn for turn in range(12)}
        assert series["last"] == {"1": 11}

    def test_readers_see_all_of_a_write(self, store: KVStore) -> None:
        self.readers_see_all_of_a_write(store, ["k", names.run_status_key(_RUN), "third"])

    def readers_see_all_of_a_write(self, store: KVStore, keys: list[str]) -> None:
        """One thread writes the same value to all keys, over and over, while another reads them."""

        def put(value: int) -> None:
            store.put_many(dict.fromkeys(keys, value))

        put(-1)
        enough = threading.Event()

        def write() -> None:
            turn = 0
            while not enough.is_set():
                put(turn)
                turn += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen: set[int] = set()
            while len(seen) < 30:
                found = store.get_many(keys)
                assert found.keys() == set(keys)
                assert len(set(found.values())) == 1
                seen.update(found.values())
        finally:
            enough.set()
            writer.join()
