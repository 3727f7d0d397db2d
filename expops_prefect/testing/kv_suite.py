"""The conformance suite of KV stores. A backend's test subclasses :class:`KVConformance`.

It defines two fixtures: ``store``, and ``raw``, which reads and writes the same keys without the
store, so that reads and writes are tested independently.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from expops_prefect.errors import KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint
from expops_prefect.testing.kv_counting import KVCounting
from expops_prefect.testing.kv_races import KVRaces
from expops_prefect.testing.kv_samples import (
    DIGESTS,
    KNOWN,
    ODD_KEYS,
    PATH,
    REFUSED,
    RUN,
    VALUES,
    RawKV,
    content,
    exactly,
)
from expops_prefect.testing.kv_scans import KVScans


class KVConformance(KVCounting, KVScans, KVRaces):
    """Subclass it, and define the fixtures ``store`` and ``raw``."""

    def test_absence(self, store: KVStore) -> None:
        for key in ["no such", *KNOWN]:
            assert store.get(key) is None
            assert store.get_versioned(key) is None
            assert store.compare_and_set(key, "1", {}) is False
            assert store.delete(key) is False
        assert store.get_many(list(KNOWN)) == {}
        assert store.get_many([]) == {}
        assert store.delete_many([*KNOWN, "no such"]) == 0
        assert store.delete_many([]) == 0
        store.put_many({})
        store.append_metrics(names.metrics_key(RUN, PATH), [])
        for prefix in ["", "runs:", f"runs:{RUN}:", names.metrics_prefix(RUN), "steps:", "process:", "metric:", "x"]:
            assert content(store, prefix) == {}

    @pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
    def test_values(self, store: KVStore, value: JSON) -> None:
        keys = ["plain", names.run_status_key(RUN), names.row_key(RUN, PATH), names.CacheKey("t", *DIGESTS).record_key]
        for key in keys:
            store.put(key, value)
            assert exactly(store.get(key)) == exactly(value), key
        assert exactly(store.get_many(keys)) == exactly(dict.fromkeys(keys, value))
        assert exactly(content(store)) == exactly(dict.fromkeys(keys, value))

    @pytest.mark.parametrize("value", REFUSED.values(), ids=list(REFUSED))
    def test_refused_values(self, store: KVStore, value: Any) -> None:
        def calls(key: str, version: str) -> list[Callable[[], object]]:
            return [
                lambda: store.put(key, value),
                lambda: store.create(key, value),
                lambda: store.compare_and_set(key, version, value),
                lambda: store.update(key, lambda old: value),
                lambda: store.put_many({"other": 1, key: value, "third": 2}),
            ]

        for key in ["plain", names.run_status_key(RUN), names.row_key(RUN, PATH)]:
            store.put(key, {"old": 1})
            found = store.get_versioned(key)
            assert found is not None
            for call in calls(key, found.version):
                with pytest.raises(KVRefusedError):
                    call()
            assert store.get(key) == {"old": 1}
        assert set(content(store)) == {"plain", names.run_status_key(RUN), names.row_key(RUN, PATH)}

    def test_refused_keys(self, store: KVStore) -> None:
        key = "half a character \ud800"
        point = MetricPoint("loss", 1, 1)
        calls: list[Callable[[], object]] = [
            lambda: store.put(key, 1),
            lambda: store.put_many({"a": 1, key: 1}),
            lambda: store.create(key, 1),
            lambda: store.update(key, lambda value: 1),
            lambda: store.compare_and_set(key, "1", 1),
            lambda: store.increment(key),
            lambda: store.append_metrics(key, [point]),
            lambda: store.append_metrics(names.metrics_prefix("\ud800") + "p_YQ", [point]),
            lambda: store.get(key),
            lambda: store.get_many(["a", key]),
            lambda: store.get_versioned(key),
            lambda: store.delete(key),
            lambda: list(store.scan(key)),
        ]
        for call in calls:
            with pytest.raises(KVRefusedError):
                call()
        assert content(store) == {}

    @pytest.mark.parametrize("key", KNOWN)
    def test_every_method_on_every_form_of_key(self, store: KVStore, raw: RawKV, key: str) -> None:
        value = KNOWN[key]
        other = {"loss": {"5": 1}} if key.startswith("metric:") else {"other": [1]}
        assert store.create(key, value) is True
        assert store.create(key, other) is False
        assert exactly(raw.read(key)) == exactly(value)
        raw.write(key, other)
        assert store.get(key) == other
        first = store.get_versioned(key)
        assert first is not None
        assert first.value == other
        raw.write(key, value)
        assert store.compare_and_set(key, first.version, {"lost": {}}) is False
        second = store.get_versioned(key)
        assert second is not None
        assert second.version != first.version
        assert exactly(second.value) == exactly(value)
        assert store.compare_and_set(key, second.version, other) is True
        assert store.compare_and_set(key, second.version, value) is False
        assert raw.read(key) == other
        store.put(key, value)
        assert exactly(raw.read(key)) == exactly(value)
        seen: list[JSON] = []

        def look(old: JSON) -> JSON:
            seen.append(old)
            return other

        assert store.update(key, look) == other
        assert exactly(seen[-1]) == exactly(value)
        raw.write(key, value)
        assert store.update(key, lambda old: {**other, "was": old} if old == other else other) == other
        assert raw.read(key) == other
        store.put_many({key: value, "beside": 1})
        assert exactly(store.get_many(["beside", "gone", key])) == exactly({key: value, "beside": 1})
        assert exactly(content(store)) == exactly({key: value, "beside": 1})
        for prefix in [key, key[:-1], key[: len(key) // 2]]:
            assert content(store, prefix) == {key: value}, prefix
        assert content(store, key + "x") == {}
        assert store.delete(key) is True
        assert store.delete(key) is False
        assert raw.read(key) is None
        assert store.update(key, lambda old: value if old is None else {"lost": {}}) == value
        assert store.delete_many(["beside", key, key, "gone"]) == 2
        assert content(store) == {}
        assert store.create(key, value) is True

    def test_keys_beside_each_other(self, store: KVStore, raw: RawKV) -> None:
        store.put_many(KNOWN)
        assert exactly(content(store)) == exactly(KNOWN)
        assert exactly(store.get_many([*KNOWN, "gone"])) == exactly(KNOWN)
        for key in KNOWN:
            assert store.delete(key) is True
            assert exactly(store.get_many(list(KNOWN))) == exactly({k: KNOWN[k] for k in KNOWN if k != key})
            raw.write(key, KNOWN[key])
        assert exactly(content(store)) == exactly(KNOWN)
        assert store.delete_many(list(KNOWN)) == len(KNOWN)
        assert content(store) == {}

    def test_odd_keys(self, store: KVStore) -> None:
        def add_m(value: Any) -> JSON:
            return {**value, "m": {"1": 1}}

        for number, key in enumerate(ODD_KEYS):
            value: JSON = {"n": {"1": number}}
            assert store.create(key, value) is True, key
            assert store.create(key, value) is False, key
        expected = {key: {"n": {"1": number}} for number, key in enumerate(ODD_KEYS)}
        assert content(store) == expected
        assert store.get_many(ODD_KEYS) == expected
        for key in ODD_KEYS:
            assert store.get(key) == expected[key], key
            assert content(store, key) == {k: v for k, v in expected.items() if k.startswith(key)}, key
            version = store.get_versioned(key)
            assert version is not None
            assert store.compare_and_set(key, version.version, {"n": {"2": 0}}) is True
            assert store.update(key, add_m) == {"n": {"2": 0}, "m": {"1": 1}}
            assert store.delete(key) is True
            assert store.get(key) is None
            store.put(key, expected[key])
        assert store.delete_many(ODD_KEYS) == len(ODD_KEYS)
        assert content(store) == {}

    def test_many_at_once(self, store: KVStore) -> None:
        values = {f"k{number:04}": {"n": number} for number in range(1200)}
        keys = list(values)
        for start in range(0, 1200, 400):
            store.put_many({key: values[key] for key in keys[start : start + 400]})
        assert store.get_many([*keys, "gone", *keys[:3]]) == values
        assert content(store) == values
        assert content(store, limit=501) == {key: values[key] for key in keys[:501]}
        assert content(store, after="k0100", limit=1000) == {key: values[key] for key in keys[101:1101]}
        assert store.delete_many([*keys[1:], "gone"]) == 1199
        assert content(store) == {"k0000": {"n": 0}}

    def test_update_that_fails_changes_nothing(self, store: KVStore) -> None:
        def fail(value: JSON) -> JSON:
            raise LookupError("no")

        for key in ["k", names.run_status_key(RUN)]:
            store.put(key, 1)
            with pytest.raises(LookupError):
                store.update(key, fail)
            assert store.get(key) == 1
            assert store.update(key, lambda value: [value]) == [1]

    def test_ping_leaves_nothing(self, store: KVStore) -> None:
        store.ping()
        assert content(store) == {}
        store.put("k", 1)
        store.ping()
        assert content(store) == {"k": 1}

    @pytest.mark.parametrize("used", [False, True])
    def test_copies(self, store: KVStore, used: bool) -> None:
        if used:
            store.increment("k")
            store.update("u", lambda value: [1])
        clones: list[KVStore] = [pickle.loads(pickle.dumps(store)), copy.deepcopy(store)]
        for number, clone in enumerate(clones):
            assert clone.increment("k") == number + 1 + used
            assert clone.create(f"c{number}", 1) is True
            assert clone.update("u", lambda value: [*(value or [1]), 2]) == [1] + [2] * (number + 1)
            clone.close()
        assert store.get("k") == 2 + used
        assert store.update("u", lambda value: [*(value or []), 3]) == [1, 2, 2, 3]
        assert {clone.describe() for clone in clones} == {store.describe()}

    def test_close_is_not_final(self, store: KVStore) -> None:
        store.put("k", 1)
        store.close()
        store.close()
        assert store.get("k") == 1
        store.close()
        assert store.increment("k") == 2

    def test_describe(self, store: KVStore) -> None:
        text = store.describe()
        assert text.strip()
        assert len(text.splitlines()) == 1
