"""Prefixes, order and pages of every KV store; part of the conformance suite."""

from __future__ import annotations

from itertools import product

from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON, KVStore
from expops_prefect.testing.kv_samples import KNOWN, RUN, content, exactly


class KVScans:
    """Part of the conformance suite; see there."""

    def test_scan(self, store: KVStore) -> None:
        runs = ["r_1", "rx1", "r", "r-1", "R_1", "r%", "r*", "rü", "r🎉", "r\uffee"]
        keys = [f"runs:{run}:steps://process[@name='{name}']:__process__" for run in runs for name in ("a", "ab")]
        keys += [f"runs:{run}:{rest}" for run in runs for rest in ("status", "stats:n", "charts:a", "charts:ab")]
        keys += [f"metric:{run}:probe_path:{names.encode(path)}" for run in runs for path in ("a", "ab", "ä")]
        keys += [f"{kind}:{run}:b:{part}" for kind in ("process", "steps") for run in runs for part in ("c:d", "c:d:e")]
        keys += [
            "a",
            "ab",
            "a_b",
            "axb",
            "a%b",
            "a*b",
            "a?b",
            "a[b]",
            "A",
            "é",
            "e\u0301",
            "日",
            "🎉",
            "\uffee",
            "\ue000",
        ]
        keys += ["\U0010ffff", "\U0010ffff\U0010ffff", "\ud7ff", "a\0", "", "~"]
        values = {key: {"n": {"1": number}} for number, key in enumerate(keys)}
        for start in range(0, len(keys), 100):
            store.put_many({key: values[key] for key in keys[start : start + 100]})
        prefixes = {key[:length] for key in keys for length in (0, 1, 7, 8, 14, len(key))}
        prefixes |= {
            "\U0010ffff",
            "runs:r_1:steps:",
            "runs:r_1:",
            "runs:r_",
            "metric:r_1:probe_path:",
            "%",
            "_",
            "*",
            "zz",
        }
        assert content(store) == values
        for prefix in sorted(prefixes):
            expected = {key: value for key, value in values.items() if key.startswith(prefix)}
            assert content(store, prefix) == expected, prefix

    def test_pages(self, store: KVStore) -> None:
        store.put_many({**KNOWN, **{f"k{number}": number for number in range(6)}, "kk": "x"})
        every = content(store)
        paged: dict[str, JSON] = {}
        after = None
        while page := content(store, after=after, limit=2):
            assert len(page) == min(2, len(every) - len(paged))
            paged.update(page)
            after = list(page)[-1]
        assert exactly(paged) == exactly(every)
        afters = [*list(every)[::3], "", "k11", "~", "m", "s"]
        for prefix, after in product(["", "k", "runs:", f"runs:{RUN}:st", "steps:"], afters):
            expected = [key for key in every if key.startswith(prefix) and key > after]
            assert list(content(store, prefix, after=after, limit=3)) == expected[:3], (prefix, after)
        for after in every:
            assert list(content(store, after=after)) == list(every)[list(every).index(after) + 1 :], after
        assert content(store, limit=0) == {}

    def test_changes_during_a_scan(self, store: KVStore) -> None:
        store.put_many({f"k{number}": number for number in range(5)})
        for key, _ in store.scan("k"):
            assert store.delete(key) is True
            store.put("j", key)
        assert content(store) == {"j": "k4"}
