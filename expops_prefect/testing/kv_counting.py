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
        store.append_metrics(key, [MetricPoint("loss", 0.5), MetricPoint("acc", 1), MetricPoint("loss", 0.25)])
        assert exactly(raw.read(key)) == exactly({"loss": {"1": 0.5, "2": 0.25}, "acc": {"1": 1}})
        # Explicit steps replace, go below and above; what has no step goes on after the highest.
        store.append_metrics(key, [MetricPoint("loss", 9, 2), MetricPoint("loss", 7.0, 30), MetricPoint("loss", 6, 0)])
        store.append_metrics(key, [MetricPoint("loss", 5), MetricPoint("acc", 2)])
        points = [
            MetricPoint("loss", 1, 40),
            MetricPoint("loss", 2),
            MetricPoint("loss", 3, 35),
            MetricPoint("loss", 4),
        ]
        store.append_metrics(key, points)
        expected: dict[str, dict[str, float]] = {
            "loss": {"0": 6, "1": 0.5, "2": 9, "30": 7.0, "31": 5, "35": 3, "40": 1, "41": 2, "42": 4},
            "acc": {"1": 1, "2": 2},
        }
        assert exactly(store.get(key)) == exactly(expected)
        assert exactly(raw.read(key)) == exactly(expected)
        assert list((store.get(key) or {})["loss"]) == list(expected["loss"])
        assert content(store) == {key: expected}
        # Another store, and one that saw the series before, agree on what comes next.
        clone: KVStore = pickle.loads(pickle.dumps(store))
        clone.append_metrics(key, [MetricPoint("loss", 43), MetricPoint("loss", 50, 50)])
        store.append_metrics(key, [MetricPoint("loss", 51)])
        clone.append_metrics(key, [MetricPoint("loss", 52)])
        for step in (60, 70):
            clone.append_metrics(key, [MetricPoint("loss", step, step)])
            store.append_metrics(key, [MetricPoint("loss", step + 1)])
        clone.close()
        steps = (store.get(key) or {})["loss"]
        assert list(steps.items())[-8:] == [(str(step), step) for step in (43, 50, 51, 52, 60, 61, 70, 71)]
        # Written whole: the numbers go on after what stands there now.
        store.put(key, {"loss": {"7": 1.5, "3": 0.5}})
        store.append_metrics(key, [MetricPoint("loss", 8)])
        assert store.get(key) == {"loss": {"3": 0.5, "7": 1.5, "8": 8}}
        assert store.delete(key) is True
        store.append_metrics(key, [MetricPoint("loss", 1)])
        assert store.get(key) == {"loss": {"1": 1}}

    def test_metrics_that_others_wrote(self, store: KVStore, raw: RawKV) -> None:
        key = names.metrics_key(RUN, PATH)
        raw.write(key, {"loss": {"10": 1.0, "9": 0.5}, "acc": {"1": 2}})
        store.append_metrics(key, [MetricPoint("loss", 2.0), MetricPoint("new", 3)])
        assert store.get(key) == {"loss": {"10": 1.0, "9": 0.5, "11": 2.0}, "acc": {"1": 2}, "new": {"1": 3}}

    def test_metric_values_and_names(self, store: KVStore) -> None:
        key = names.metrics_key(RUN, PATH)
        values: list[MetricValue] = ["NaN", "Infinity", "-Infinity", 0.1, 1 / 3, 5e-324, -0.0, 2**63 - 1, -(2**63), 1.0]
        odd = ["", "__x__", "a.b", "val/acc", "`", "ünï 日本", "~p_YQ", "x" * 900, "1", "key", "status"]
        store.append_metrics(key, [MetricPoint(name, value) for name in odd for value in values])
        expected = {name: {str(step): value for step, value in enumerate(values, 1)} for name in odd}
        assert exactly(store.get(key)) == exactly(expected)
        store.put(key, expected)
        assert exactly(store.get(key)) == exactly(expected)
        refused: list[Any] = [float("nan"), float("inf"), np.float32(1), b"x", 2**64]
        for value in refused:
            with pytest.raises(KVRefusedError):
                store.append_metrics(key, [MetricPoint("a", 1), MetricPoint("a", value)])
        assert exactly(store.get(key)) == exactly(expected)

    def test_metrics_on_what_is_no_series(self, store: KVStore) -> None:
        for value in ["text", {"loss": 1}, {"loss": {"first": 1}}]:
            store.put("k", value)
            with pytest.raises(KVRefusedError, match="metrics"):
                store.append_metrics("k", [MetricPoint("loss", 1)])
            assert store.get("k") == value
        store.put("k", {})
        store.append_metrics("k", [MetricPoint("loss", 1)])
        assert store.get("k") == {"loss": {"1": 1}}
