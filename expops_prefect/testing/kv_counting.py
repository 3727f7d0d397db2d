"""Counters and series of every KV store; part of the conformance suite."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from expops_prefect.errors import KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint, MetricValue
from expops_prefect.testing.kv_samples import PATH, RUN, RawKV, content, exactly


class KVCounting:
    """Part of the conformance suite; see there."""

    def test_counters(self, store: KVStore, raw: RawKV) -> None:
        for key in ["expops_prefect:count", names.stat_key(RUN, "cache_hit_count"), names.counter_key(RUN, PATH)]:
            assert store.increment(key) == 1
            assert store.increment(key, 5) == 6
            assert store.increment(key, -10) == -4
            assert exactly(raw.read(key)) == b"-4"
            store.put(key, 40)
            assert store.increment(key, 2) == 42
            raw.write(key, 7)
            assert store.increment(key, 0) == 7
            assert exactly(store.get(key)) == b"7"
            assert store.delete(key) is True
            assert store.increment(key, 3) == 3

    @pytest.mark.parametrize("value", ["text", True, 1.5, [], {"a": 1}])
    def test_what_is_no_counter(self, store: KVStore, value: JSON) -> None:
        for key in ["k", names.stat_key(RUN, "x")]:
            store.increment(key)
            store.put(key, value)
            for token in [None, "t"]:
                with pytest.raises(KVRefusedError, match="counter"):
                    store.increment(key, token=token)
            assert exactly(store.get(key)) == exactly(value)
            store.put(key, 1)
            assert store.increment(key, token="t") == 2

    def test_a_token_counts_once(self, store: KVStore, raw: RawKV) -> None:
        odd = "journal/ü:" + "x" * 2000
        for key in ["k", names.stat_key(RUN, "cache_hit_count"), "k2/" + "y" * 1500]:
            assert store.increment(key, 2, token="a") == 2
            assert store.increment(key, 2, token="a") == 2
            assert store.increment(key, 3, token=odd) == 5
            assert store.increment(key) == 6
            clone: KVStore = pickle.loads(pickle.dumps(store))
            assert clone.increment(key, 99, token="a") == 6
            assert clone.increment(key, 99, token=odd) == 6
            assert clone.increment(key, 1, token="b") == 7
            assert raw.read(key) == 7
            clone.close()
        assert len(content(store)) == 3

    def test_metrics(self, store: KVStore, raw: RawKV) -> None:
        key = names.metrics_key(RUN, PATH)
        store.append_metrics(key, [MetricPoint("loss", 0.5, 1), MetricPoint("acc", 1, 1), MetricPoint("loss", 0.25, 2)])
        assert exactly(raw.read(key)) == exactly({"loss": {"1": 0.5, "2": 0.25}, "acc": {"1": 1}})
        # A later point replaces an existing step, even within one call; other steps are inserted in order.
        points = [(9, 2), (7.0, 30), (6, 0), (5, -3), (1, 40), (3, 35), (4, 35), (8, 100)]
        store.append_metrics(key, [*(MetricPoint("loss", *point) for point in points), MetricPoint("acc", 2, 2)])
        loss = {"-3": 5, "0": 6, "1": 0.5, "2": 9, "30": 7.0, "35": 4, "40": 1, "100": 8}
        expected: dict[str, dict[str, float]] = {"loss": loss, "acc": {"1": 1, "2": 2}}
        assert exactly(store.get(key)) == exactly(expected)
        assert exactly(raw.read(key)) == exactly(expected)
        assert list((store.get(key) or {})["loss"]) == list(loss)
        assert content(store) == {key: expected}
        # Another store, and one that has read the series before, replace each other's points and keep the rest.
        clone: KVStore = pickle.loads(pickle.dumps(store))
        for turn in range(3):
            clone.append_metrics(key, [MetricPoint("loss", turn, 200), MetricPoint("clone", turn, turn)])
            store.append_metrics(key, [MetricPoint("loss", turn + 0.5, 200), MetricPoint("loss", turn, 50 + turn)])
        clone.close()
        loss |= {"200": 2.5, "50": 0, "51": 1, "52": 2}
        expected["clone"] = {"0": 0, "1": 1, "2": 2}
        assert exactly(store.get(key)) == exactly(expected)
        assert list((store.get(key) or {})["loss"])[-5:] == ["50", "51", "52", "100", "200"]
        # Appending no points changes nothing; after a put or a removal no older points remain.
        store.append_metrics(key, [])
        assert exactly(store.get(key)) == exactly(expected)
        store.put(key, {"loss": {"7": 1.5, "3": 0.5}})
        store.append_metrics(key, [MetricPoint("loss", 8, 5)])
        assert store.get(key) == {"loss": {"3": 0.5, "5": 8, "7": 1.5}}
        assert list((store.get(key) or {})["loss"]) == ["3", "5", "7"]
        assert store.delete(key) is True
        store.append_metrics(key, [MetricPoint("loss", 1, 1)])
        assert store.get(key) == {"loss": {"1": 1}}

    def test_metrics_that_others_wrote(self, store: KVStore, raw: RawKV) -> None:
        key = names.metrics_key(RUN, PATH)
        raw.write(key, {"loss": {"10": 1.0, "9": 0.5}, "acc": {"1": 2}})
        store.append_metrics(key, [MetricPoint("loss", 2.0, 11), MetricPoint("loss", 3, 9), MetricPoint("new", 3, 1)])
        assert store.get(key) == {"loss": {"9": 3, "10": 1.0, "11": 2.0}, "acc": {"1": 2}, "new": {"1": 3}}

    def test_metric_values_and_names(self, store: KVStore) -> None:
        key = names.metrics_key(RUN, PATH)
        values: list[MetricValue] = ["NaN", "Infinity", "-Infinity", 0.1, 1 / 3, 5e-324, -0.0, 2**63 - 1, -(2**63), 1.0]
        odd = ["", "__x__", "a.b", "val/acc", "`", "ünï 日本", "~p_YQ", "x" * 900, "1", "key", "status"]
        steps = [*range(1, len(values) - 1), 2**63 - 1, -(2**63)]
        points = list(zip(steps, values, strict=True))
        store.append_metrics(key, [MetricPoint(name, value, step) for name in odd for step, value in points])
        expected = {name: {str(step): value for step, value in points} for name in odd}
        assert exactly(store.get(key)) == exactly(expected)
        assert [list(steps) for steps in (store.get(key) or {}).values()] == [list(map(str, sorted(steps)))] * len(odd)
        store.put(key, expected)
        assert exactly(store.get(key)) == exactly(expected)
        refused: list[Any] = [float("nan"), float("inf"), np.float32(1), b"x", 2**64]
        for value in refused:
            with pytest.raises(KVRefusedError):
                store.append_metrics(key, [MetricPoint("a", 1, 1), MetricPoint("a", value, 2)])
        assert exactly(store.get(key)) == exactly(expected)

    def test_metrics_on_what_is_no_series(self, store: KVStore) -> None:
        for value in ["text", {"loss": 1}, {"loss": {"first": 1}}]:
            store.put("k", value)
            with pytest.raises(KVRefusedError, match="metrics"):
                store.append_metrics("k", [MetricPoint("loss", 1, 1)])
            assert store.get("k") == value
        store.put("k", {})
        store.append_metrics("k", [MetricPoint("loss", 1, 1)])
        assert store.get("k") == {"loss": {"1": 1}}
