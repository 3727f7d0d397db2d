"""A large array and a large frame: storing, hits, hashing, size on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import joblib
import numpy as np
import pandas as pd
import prefect
from prefect.cache_policies import INPUTS, TASK_SOURCE

import expops_prefect
from expops_prefect.fingerprint.values import fingerprint
from tests.benchmarks import expops_peer
from tests.benchmarks.bench import Bench, bytes_below, emptied, seconds, settled
from tests.benchmarks.harness import Goal, Measure, compared, one_round


class Stopwatch:
    """Times what a task does itself. Handed to it as a parameter that is no part of its key."""

    def __init__(self) -> None:
        self.runs = 0
        self.seconds = 0.0

    def time(self, make: Callable[[], Any]) -> Any:
        """Call and count."""
        made: list[Any] = []
        self.seconds += seconds(lambda: made.append(make()))
        self.runs += 1
        return made[0]


Make = Callable[[int, int, Stopwatch], Any]


def array(seed: int, size: int, watch: Stopwatch) -> Any:
    """An array of random float64s."""
    return watch.time(lambda: np.random.default_rng(seed).random(size // 8))


def frame(seed: int, rows: int, watch: Stopwatch) -> Any:
    """A frame of 17 columns: numbers, flags, texts, categories, times, and values that are missing."""
    return watch.time(lambda: make_frame(seed, rows))


def make_frame(seed: int, rows: int) -> pd.DataFrame:
    """The frame; each row takes about 130 bytes."""
    random = np.random.default_rng(seed)
    words = np.array([f"word {number}" for number in range(5000)], dtype=object)
    columns: dict[str, Any] = {f"float{n}": random.random(rows) for n in range(5)}
    columns |= {f"int{n}": random.integers(0, 1 << 40, rows) for n in range(4)}
    columns |= {f"flag{n}": random.random(rows) > 0.5 for n in range(2)}
    columns |= {f"text{n}": words[random.integers(0, len(words), rows)] for n in range(2)}
    columns["category"] = pd.Categorical.from_codes(random.integers(0, 3, rows), ["low", "middle", "high"])
    columns["time"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 10**6, rows), unit="s")
    columns["missing"] = np.where(random.random(rows) > 0.1, random.random(rows), np.nan)
    columns["nullable"] = pd.array(random.integers(0, 100, rows), dtype="Int32")
    return pd.DataFrame(columns)


def measure_array(bench: Bench) -> Iterator[Measure]:
    """An array of float64s against Prefect; for information also against joblib and bare NumPy."""
    size = bench.array_bytes
    memory = joblib.Memory(bench.folder / "joblib", verbose=0)
    bare = bench.folder / "bare.npy"

    def with_numpy(seed: int, size: int, watch: Stopwatch) -> Any:
        if bare.exists():
            return np.load(bare)
        made = array(seed, size, watch)
        np.save(bare, made)
        return made

    others: dict[str, Make] = {
        "joblib": memory.cache(array, ignore=["watch"]),
        "numpy.save": with_numpy,
        expops_peer.NAME: expops_peer.cached(bench.folder / "expops", array),
    }
    contest = Contest(bench, array, size, others)
    for number in range(bench.large_rounds):
        contest.round(number, touch=np.sum)
        bare.unlink()
        memory.clear(warn=False)
        emptied(bench.folder / "expops" / "cache")
    name = f"{size >> 20} MiB array"
    yield compared(contest.executed, f"{name}, stored", Goal("speedup", 6))
    yield compared(contest.hit, f"{name}, hit", Goal("speedup", 300))
    yield compared(contest.touched, f"{name}, hit and summed up", Goal("speedup", 25))
    yield contest.size(name, Goal("size", 1.01))
    yield compared(contest.stored, f"{name}, bytes on disk", Goal("size"))
    goals = {expops_peer.NAME: (20, 10), "joblib": (None, 3), "numpy.save": (None, None)}
    for other, (stored, hit) in goals.items():
        yield compared(contest.executed, f"{name}, stored", Goal("speedup", stored), against=other)
        yield compared(contest.hit, f"{name}, hit", Goal("speedup", hit), against=other)
        yield compared(contest.touched, f"{name}, hit and summed up", Goal("speedup", hit), against=other)


def measure_frame(bench: Bench) -> Iterator[Measure]:
    """A frame of mixed columns against Prefect and joblib."""
    memory = joblib.Memory(bench.folder / "joblib-frame", verbose=0)
    contest = Contest(bench, frame, bench.frame_rows, {"joblib": memory.cache(frame, ignore=["watch"])})
    for number in range(bench.large_rounds):
        contest.round(number, touch=_all_touched)
        memory.clear(warn=False)
    name = f"{bench.frame_rows:,}-row frame"
    yield compared(contest.executed, f"{name}, stored", Goal("speedup", 5))
    yield compared(contest.hit, f"{name}, hit", Goal("speedup", 10))
    yield compared(contest.touched, f"{name}, hit and all columns read", Goal("speedup", 10))
    yield compared(contest.executed, f"{name}, stored", Goal("speedup"), against="joblib")
    yield compared(contest.hit, f"{name}, hit", Goal("speedup"), against="joblib")
    yield contest.size(name, Goal("size"))
    yield compared(contest.stored, f"{name}, bytes on disk", Goal("size"))


def measure_hash(bench: Bench) -> Iterator[Measure]:
    """What an array and a frame cost as inputs of a task."""
    values = {
        f"{bench.array_bytes >> 20} MiB array": (np.random.default_rng(0).random(bench.array_bytes // 8), 15, 4),
        f"{bench.frame_rows:,}-row frame": (make_frame(0, bench.frame_rows), 8, None),
    }
    for name, (value, prefects, joblibs) in values.items():
        rounds = []
        for number in range(bench.large_rounds):
            settled()
            rounds.append(one_round(_hashes(value), number))
        yield compared(rounds, f"{name}, hashed as an input", Goal("speedup", prefects))
        yield compared(rounds, f"{name}, hashed as an input", Goal("speedup", joblibs), against="joblib")


def _hashes(value: Any) -> dict[str, Callable[[], float]]:
    nothing: Any = None
    return {
        "ours": lambda: seconds(lambda: fingerprint(value)),
        "Prefect": lambda: seconds(lambda: INPUTS.compute_key(nothing, {"value": value}, {})),
        "joblib": lambda: seconds(lambda: joblib.hash(value)),
    }


def _all_touched(value: pd.DataFrame) -> None:
    for column in value:
        value[column].isna().sum() if value[column].dtype.kind in "OMm" else value[column].max()


class Contest:
    """The same value from a task with our cache, from one with Prefect's, and from others.

    Args:
        bench: the run.
        make: makes the value; its time is taken off.
        size: how large the value is to be: bytes of an array, rows of a frame.
        others: further contestants, called as ``make`` is.
    """

    def __init__(self, bench: Bench, make: Make, size: int, others: dict[str, Make]) -> None:
        name = make.__name__
        self._root = bench.project(name)
        self._folders = {"ours": self._root / f".{name}" / "cache", "Prefect": bench.prefect_results}
        self._size = size
        self._contestants: dict[str, Make] = {
            "ours": expops_prefect.task(ignore=["watch"])(make),
            "Prefect": prefect.task(cache_policy=(INPUTS + TASK_SOURCE) - "watch", persist_result=True)(make),
            **others,
        }
        self._value_bytes = 0
        self.executed: list[dict[str, float]] = []
        self.hit: list[dict[str, float]] = []
        self.touched: list[dict[str, float]] = []
        self.stored: list[dict[str, float]] = []

    def round(self, number: int, touch: Callable[[Any], Any]) -> None:
        """Store a new value, hit it, hit it and use it once; each in a flow run of its own."""
        for folder in self._folders.values():
            emptied(folder)
        self.executed.append(self._flow_run(number, hits=False, touch=None))
        self.stored.append({name: float(bytes_below(folder)) for name, folder in self._folders.items()})
        self.hit.append(self._flow_run(number, hits=True, touch=None))
        self.touched.append(self._flow_run(number, hits=True, touch=touch))

    def size(self, name: str, goal: Goal) -> Measure:
        """The bytes that we store against those of the value itself."""
        rounds = [{**samples, "in memory": float(self._value_bytes)} for samples in self.stored]
        return compared(rounds, f"{name}, bytes on disk", goal, against="in memory")

    def _flow_run(self, number: int, *, hits: bool, touch: Callable[[Any], Any] | None) -> dict[str, float]:
        @expops_prefect.flow(project=self._root, name="contest")
        def run() -> dict[str, float]:
            calls = {name: self._timed(name, number, hits=hits, touch=touch) for name in self._contestants}
            return one_round(calls, number)

        return run()

    def _timed(self, name: str, number: int, *, hits: bool, touch: Callable[[Any], Any] | None) -> Callable[[], float]:
        def run() -> float:
            watch, found = Stopwatch(), list[Any]()

            def call() -> None:
                found.append(self._contestants[name](number, self._size, watch))
                if touch is not None:
                    touch(found[0])

            settled()
            elapsed = seconds(call)
            if watch.runs != (0 if hits else 1):
                raise AssertionError(f"{name}: executed {watch.runs} times where a {'hit' if hits else 'miss'} was due")
            self._value_bytes = _bytes_of(found[0])
            return elapsed - watch.seconds

        return run


def _bytes_of(value: Any) -> int:
    return int(value.nbytes if isinstance(value, np.ndarray) else value.memory_usage(deep=True).sum())
