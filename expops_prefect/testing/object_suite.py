"""The conformance suite of object stores. A backend's test subclasses :class:`ObjectConformance`.

It defines two fixtures: ``store``, and ``raw``, which reads and writes the same objects without the
store, so that reads and writes are tested independently.
"""

from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from expops_prefect.errors import NameRefusedError
from expops_prefect.stores.objects.base import Buffer, ObjectInfo, ObjectStore

ODD_KEYS = [
    "a",
    "a/b/c/d/e/f/g",
    "__x__/__init__",
    "..a/...",
    ".hidden/x.",
    "with space/ lead",
    "ünï/ćødé/日本/🎉",
    "%/_/*?[x]#&=+",
    "x" * 255 + "/" + "é" * 127,
    "tab\tnew\nline",
    "~/$HOME/-rf",
    "tmp-x/.tmp",
]
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/./b",
    "a\\b",
    "a\0b",
    "x" * 256,
    "é" * 128,
    "\ud800",
    ".tmp-x",
    "a/.tmp-",
]


class RawObjects(Protocol):
    """Access to a backend's objects that bypasses the store."""

    def get(self, key: str) -> bytes | None: ...

    def write(self, key: str, data: bytes) -> None: ...

    def keys(self) -> set[str]: ...


@dataclass
class Creation:
    """One creator in a race; picklable."""

    store: ObjectStore
    key: str
    size: int

    def __call__(self, letter: bytes) -> bool:
        return self.store.create(self.key, [letter * self.size]) is not None


def _run(creation: Creation, letter: bytes) -> bool:
    return creation(letter)


class ObjectConformance:
    """Subclass it, and define the fixtures ``store`` and ``raw``."""

    removals_are_atomic = True
    """Whether the server under test honours the condition of a removal."""

    def name_of(self, key: str) -> str:
        """The backend's name for a key that it cannot use unchanged."""
        return key

    def test_absence(self, store: ObjectStore) -> None:
        assert store.get("no/such") is None
        assert store.stat("no/such") is None
        assert store.path("no/such") is None
        assert store.delete("no/such") is False
        assert list(store.list("")) == []
        assert list(store.list("no/")) == []

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys(self, store: ObjectStore, raw: RawObjects, key: str) -> None:
        info = store.put(key, [b"value"])
        assert info == ObjectInfo(key, 5, info.stamp)
        assert raw.get(key) == b"value"
        raw.write(key, b"other!")
        assert store.get(key) == b"other!"
        assert [found.key for found in store.list("")] == [key]
        assert store.uri(key).endswith(self.name_of(key))
        assert store.delete(key) is True
        assert raw.keys() == set()

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_bad_keys_are_refused(self, store: ObjectStore, key: str) -> None:
        calls: list[Callable[[], object]] = [
            lambda: store.put(key, [b""]),
            lambda: store.create(key, [b""]),
            lambda: store.get(key),
            lambda: store.stat(key),
            lambda: store.delete(key),
            lambda: store.path(key),
            lambda: store.uri(key),
        ]
        for call in calls:
            with pytest.raises(NameRefusedError):
                call()

    @pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a//", "a\\", "a\0"])
    def test_bad_prefixes_are_refused(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(NameRefusedError):
            list(store.list(prefix))

    def test_parts_follow_one_another(self, store: ObjectStore, raw: RawObjects) -> None:
        numbers = np.arange(6, dtype=np.float64).reshape(2, 3)
        parts: list[Buffer] = [b"head", memoryview(b""), bytearray(b"body"), numbers.data, b"tail"]
        expected = b"headbody" + numbers.tobytes() + b"tail"
        assert store.put("k", parts).size == len(expected)
        assert raw.get("k") == expected

    @pytest.mark.parametrize("parts", [[], [b""], [np.empty((0, 3)).data]])
    def test_empty(self, store: ObjectStore, raw: RawObjects, parts: list[Buffer]) -> None:
        assert store.put("k", parts).size == 0
        assert raw.get("k") == b""
        assert store.get("k") == b""
        assert store.create("k", []) is None

    def test_many_and_large_parts(self, store: ObjectStore, raw: RawObjects) -> None:
        large = np.arange(400_000, dtype=np.uint64).tobytes()
        parts = [bytes([n % 251]) * (n % 7) for n in range(1500)]
        parts = [*parts, large, *parts, large]
        store.put("k", parts)
        assert raw.get("k") == b"".join(parts)
        assert store.get("k") == b"".join(parts)

    def test_put_replaces(self, store: ObjectStore, raw: RawObjects) -> None:
        first = store.put("a/k", [b"one"], read_only=True)
        assert store.stat("a/k") == first
        second = store.put("a/k", [b"two"])
        assert raw.get("a/k") == b"two"
        assert first.stamp != second.stamp
        assert store.stat("a/k") == second
        assert "\n" not in second.stamp

    def test_stamp_tells_of_foreign_writes(self, store: ObjectStore, raw: RawObjects) -> None:
        before = store.put("k", [b"one"])
        raw.write("k", b"two")
        after = store.stat("k")
        assert after is not None
        assert after.stamp != before.stamp

    def test_create(self, store: ObjectStore, raw: RawObjects) -> None:
        made = store.create("a/k", [b"con", b"tent"], read_only=True)
        assert made is not None
        found = store.stat("a/k")
        assert found is not None
        assert made in (found, ObjectInfo("a/k", 7, ""))
        assert store.create("a/k", [b"CONTENT"]) is None
        assert raw.get("a/k") == b"content"
        assert store.stat("a/k") == found

    def test_create_replaces_what_has_another_size(self, store: ObjectStore, raw: RawObjects) -> None:
        raw.write("k", b"cont")
        assert store.create("k", [b"content"]) is not None
        assert raw.get("k") == b"content"

    def test_one_creator_of_many_threads(self, store: ObjectStore, raw: RawObjects) -> None:
        for turn in range(10):
            creation = Creation(store, f"race/{turn}", 1000)
            letters = [bytes([65 + n]) for n in range(6)]
            barrier = threading.Barrier(len(letters))

            def enter(letter: bytes, creation: Creation = creation, barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                return creation(letter)

            with ThreadPoolExecutor(len(letters)) as pool:
                won = list(pool.map(enter, letters))
            assert won.count(True) == 1
            assert raw.get(creation.key) == letters[won.index(True)] * 1000

    def test_one_creator_of_many_processes(self, store: ObjectStore, raw: RawObjects) -> None:
        creations = [Creation(store, f"race/{turn}", 1000) for turn in range(20) for _ in range(3)]
        letters = [bytes([65 + n % 3]) for n in range(60)]
        with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
            won = list(pool.map(_run, creations, letters))
        for turn in range(20):
            mine = won[3 * turn : 3 * turn + 3]
            assert mine.count(True) == 1
            assert raw.get(f"race/{turn}") == letters[3 * turn + mine.index(True)] * 1000

    def test_readers_see_whole_objects(self, store: ObjectStore) -> None:
        contents = [b"a" * 70_000, b"b" * 30_000, b""]
        store.put("k", [contents[0]])
        seen: set[bytes] = set()
        done = threading.Event()
        deadline = time.monotonic() + 60

        def write() -> None:
            turn = 0
            while turn < 60 or (len(seen) < 2 and time.monotonic() < deadline):
                store.put("k", [contents[turn % 3]])
                turn += 1
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            read = store.get("k")
            assert read is not None
            assert read in contents
            seen.add(read)
            assert [found.key for found in store.list("")] == ["k"]
        writer.join()
        assert len(seen) > 1

    def test_a_removal_bound_to_a_stamp(self, store: ObjectStore, raw: RawObjects) -> None:
        seen = store.put("a/k", [b"one"])
        store.put("a/k", [b"two"])
        assert store.delete("a/k", stamp=seen.stamp) is False
        assert raw.get("a/k") == b"two"
        now = store.stat("a/k")
        assert now is not None
        assert store.delete("a/k", stamp=now.stamp) is True
        assert raw.keys() == set()
        assert store.delete("a/k", stamp=now.stamp) is False

    def test_refresh(self, store: ObjectStore, raw: RawObjects) -> None:
        assert store.refresh("a/k") is None
        raw.write("a/k", b"content")
        before = store.stat("a/k")
        assert before is not None
        after = store.refresh("a/k")
        assert after is not None
        assert after == store.stat("a/k")
        assert after.stamp != before.stamp
        assert after.modified >= before.modified
        assert raw.get("a/k") == b"content"
        assert [info.modified for info in store.list("")] == [after.modified]
        assert store.delete("a/k", stamp=before.stamp) is False, "it was refreshed since"

    def test_the_time_of_an_object(self, store: ObjectStore) -> None:
        before = time.time()
        made = store.put("k", [b"v"])
        # The store's clock need not be this one, nor as fine.
        assert abs(made.modified - before) < 60
        found = store.stat("k")
        assert found is not None
        assert found.modified == made.modified

    def test_what_was_refreshed_is_not_removed(self, store: ObjectStore) -> None:
        began = time.monotonic()
        for turn in range(20):
            if time.monotonic() - began > 5:
                break  # a stamp that counts seconds takes its time to differ
            seen = store.put("k", [b"v"])
            barrier = threading.Barrier(2)

            def refresh(barrier: threading.Barrier = barrier) -> bool:
                barrier.wait()
                return store.refresh("k") is not None

            def delete(barrier: threading.Barrier = barrier, seen: ObjectInfo = seen) -> bool:
                barrier.wait()
                return store.delete("k", stamp=seen.stamp)

            with ThreadPoolExecutor(2) as pool:
                refreshed, deleted = pool.submit(refresh), pool.submit(delete)
                assert refreshed.result() or deleted.result()
                if self.removals_are_atomic:
                    # A refresh that comes after the removal may bring the object back, or find nothing.
                    assert (store.stat("k") is not None) == refreshed.result(), turn

    def test_list(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.b/c", "a/b", "a/b-c", "aB/c", "a_b", "axb", "b/a%/x", "b/ab/x", "z/é", "z/日"]
        for key in reversed(keys):
            store.put(key, [key.encode()])
        assert [found.key for found in store.list("")] == sorted(keys)
        for prefix in ["a", "a/", "a/b", "a_", "b/a%", "b/", "z/", "c", "a/b/", "b/ab/x", "b/ab/x/"]:
            found = list(store.list(prefix))
            assert [info.key for info in found] == sorted(key for key in keys if key.startswith(prefix)), prefix
            assert found == [store.stat(info.key) for info in found]

    def test_ping_leaves_nothing(self, store: ObjectStore, raw: RawObjects) -> None:
        raw.write("k", b"v")
        store.ping()
        assert raw.keys() == {"k"}

    @pytest.mark.parametrize("used", [False, True])
    def test_copies(self, store: ObjectStore, used: bool) -> None:
        if used:
            store.put("k", [b"1"])
        clones: list[ObjectStore] = [pickle.loads(pickle.dumps(store)), copy.deepcopy(store)]
        for number, clone in enumerate(clones):
            clone.put(f"c{number}", [b"2"])
            assert store.get(f"c{number}") == b"2"
        assert {clone.describe() for clone in clones} == {store.describe()}

    def test_close_is_not_final(self, store: ObjectStore) -> None:
        store.put("k", [b"v"])
        store.close()
        store.close()
        assert store.get("k") == b"v"


_KEYS = st.sampled_from(["a", "b/c", "b/d", "b-c", "e/f/g", "b/__x__"])
_DATA = st.binary(max_size=40)


def object_machine(make: Callable[[], ObjectStore]) -> type[RuleBasedStateMachine]:
    """A state machine that compares a new store with a dictionary."""

    class ObjectMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.store = make()
            self.model: dict[str, bytes] = {}

        @rule(key=_KEYS, parts=st.lists(_DATA, max_size=3), read_only=st.booleans())
        def put(self, key: str, parts: list[bytes], read_only: bool) -> None:
            self.model[key] = b"".join(parts)
            assert self.store.put(key, parts, read_only=read_only).size == len(self.model[key])

        @rule(key=_KEYS, data=_DATA)
        def create(self, key: str, data: bytes) -> None:
            made = self.store.create(key, [data])
            exists = key in self.model and len(self.model[key]) == len(data)
            assert (made is None) == exists
            if not exists:
                self.model[key] = data

        @rule(key=_KEYS)
        def delete(self, key: str) -> None:
            assert self.store.delete(key) == (self.model.pop(key, None) is not None)

        @rule(key=_KEYS)
        def read(self, key: str) -> None:
            assert self.store.get(key) == self.model.get(key)
            info = self.store.stat(key)
            assert (info.size if info else None) == (len(self.model[key]) if key in self.model else None)

        @rule(prefix=st.sampled_from(["", "b", "b/", "b/_", "e/f/g", "x"]))
        def listed(self, prefix: str) -> None:
            expected = [(key, len(self.model[key])) for key in sorted(self.model) if key.startswith(prefix)]
            assert [(info.key, info.size) for info in self.store.list(prefix)] == expected

        @invariant()
        def nothing_else_is_there(self) -> None:
            assert {info.key for info in self.store.list("")} == set(self.model)

    ObjectMachine.TestCase.settings = settings(
        max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return ObjectMachine
