"""A state machine over a KV store; part of the conformance suite."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON, KVStore, MetricPoint
from expops_prefect.testing.kv_samples import KNOWN, PATH, RUN, content, exactly

_KEYS = ["a", "a/b", "b_", "__x__", *(key for key in KNOWN if not key.startswith("metric:"))]
_COUNTERS = ["a", "a/b", "__x__", names.stat_key(RUN, "cache_hit_count"), names.counter_key(RUN, PATH)]
_METRICS = [key for key in KNOWN if key.startswith("metric:")]
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=3), st.floats(-9, 9))
_VALUE = st.one_of(
    st.integers(-5, 5),
    st.recursive(
        _LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
).filter(lambda value: value is not None)
_POINTS = st.lists(
    st.builds(MetricPoint, st.sampled_from(["loss", "a.b"]), st.integers(0, 9), st.integers(-3, 20)),
    max_size=4,
)


@dataclass
class Model:
    """A plain dictionary that follows the contract."""

    values: dict[str, JSON] = field(default_factory=dict)
    tokens: set[tuple[str, str]] = field(default_factory=set)

    def increment(self, key: str, amount: int, token: str | None) -> int:
        """Return the new count."""
        value: int = self.values.get(key, 0)
        if token is None or (key, token) not in self.tokens:
            self.values[key] = value = value + amount
        if token is not None:
            self.tokens.add((key, token))
        return value

    def append(self, key: str, points: list[MetricPoint]) -> None:
        """Merge points."""
        for point in points:
            self.values.setdefault(key, {}).setdefault(point.name, {})[str(point.step)] = point.value


def kv_machine(make: Callable[[], KVStore], *, examples: int, shrink: bool = True) -> type[RuleBasedStateMachine]:
    """A state machine that compares two stores in one place with a dictionary.

    Args:
        make: returns a store in a new place.
        examples: how many sequences of calls to try.
        shrink: whether to search for the shortest failing sequence; takes minutes if calls are slow.
    """

    class KVMachine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            first = make()
            self.stores: list[KVStore] = [first, pickle.loads(pickle.dumps(first))]
            self.model = Model()
            self.versions: dict[str, tuple[str, bytes]] = {}

        def teardown(self) -> None:
            try:
                for store in self.stores:
                    assert exactly(content(store)) == exactly(self.model.values)
            finally:
                for store in self.stores:
                    store.close()

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS), value=_VALUE)
        def put(self, who: int, key: str, value: JSON) -> None:
            self.stores[who].put(key, value)
            self.model.values[key] = value

        @rule(who=st.integers(0, 1), values=st.dictionaries(st.sampled_from(_KEYS), _VALUE, max_size=4))
        def put_many(self, who: int, values: dict[str, JSON]) -> None:
            self.stores[who].put_many(values)
            self.model.values.update(values)

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS), value=_VALUE)
        def create(self, who: int, key: str, value: JSON) -> None:
            assert self.stores[who].create(key, value) == (key not in self.model.values)
            self.model.values.setdefault(key, value)

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS), value=_VALUE)
        def update(self, who: int, key: str, value: JSON) -> None:
            changed = self.stores[who].update(key, lambda old: [old, value][-2:] if old != value else value)
            old = self.model.values.get(key)
            self.model.values[key] = [old, value] if old != value else value
            assert exactly(changed) == exactly(self.model.values[key])

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS))
        def look(self, who: int, key: str) -> None:
            found = self.stores[who].get_versioned(key)
            assert (found is not None) == (key in self.model.values)
            if found is not None:
                self.versions[key] = (found.version, exactly(found.value))

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS), value=_VALUE)
        def compare_and_set(self, who: int, key: str, value: JSON) -> None:
            if key not in self.versions:
                return  # versions are opaque: use only those from a store
            version, seen = self.versions[key]
            same = key in self.model.values and exactly(self.model.values[key]) == seen
            done = self.stores[who].compare_and_set(key, version, value)
            # A value changed and changed back may count as changed.
            assert same or not done
            if done:
                self.model.values[key] = value

        @rule(who=st.integers(0, 1), key=st.sampled_from(_KEYS))
        def delete(self, who: int, key: str) -> None:
            assert self.stores[who].delete(key) == (self.model.values.pop(key, None) is not None)

        @rule(who=st.integers(0, 1), keys=st.lists(st.sampled_from(_KEYS + _METRICS), max_size=3))
        def delete_many(self, who: int, keys: list[str]) -> None:
            there = [key for key in set(keys) if self.model.values.pop(key, None) is not None]
            assert self.stores[who].delete_many(keys) == len(there)

        @rule(
            who=st.integers(0, 1),
            key=st.sampled_from(_COUNTERS),
            amount=st.integers(-3, 3),
            token=st.none() | st.sampled_from(["t", "u"]),
        )
        def increment(self, who: int, key: str, amount: int, token: str | None) -> None:
            value = self.model.values.get(key, 0)
            if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62:
                expected = self.model.increment(key, amount, token)
                assert self.stores[who].increment(key, amount, token=token) == expected

        @rule(who=st.integers(0, 1), key=st.sampled_from(_METRICS), points=_POINTS)
        def append(self, who: int, key: str, points: list[MetricPoint]) -> None:
            self.stores[who].append_metrics(key, points)
            self.model.append(key, points)

        @rule(who=st.integers(0, 1), prefix=st.sampled_from(["a", "runs:", f"runs:{RUN}:s", "steps", "e", "m", "_"]))
        def page(self, who: int, prefix: str) -> None:
            keys = sorted(key for key in self.model.values if key.startswith(prefix))
            after = keys[0] if keys else None
            assert [key for key, _ in self.stores[who].scan(prefix, after=after, limit=2)] == keys[1:3]

        @rule(who=st.integers(0, 1))
        def scan(self, who: int) -> None:
            assert exactly(content(self.stores[who])) == exactly(self.model.values)

        @invariant()
        def same_values(self) -> None:
            keys = [*_KEYS, *_METRICS]
            expected = {key: self.model.values[key] for key in keys if key in self.model.values}
            assert exactly(self.stores[1].get_many(keys)) == exactly(expected)

    KVMachine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate, *([Phase.shrink] if shrink else [])],
        suppress_health_check=list(HealthCheck),
    )
    return KVMachine
