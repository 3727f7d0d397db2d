"""Whatever happens in whatever order, no record loses an object and nothing is left for ever.

Results are stored and used, invalidated and collected, one process in the middle of another's work,
and each can be killed between any two of its steps. The clock is the test's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from expops_prefect.maintenance import Policy, Selection, collect, invalidate, verify
from expops_prefect.stores.objects.base import GRACE
from tests.support.cached import Cache, KilledError, Steps
from tests.support.result_stores import own_key

NAMES = st.sampled_from(["one", "two", "three"])
CONTENTS = st.integers(0, 2)
PLACES = st.integers(1, 14)
POLICIES = st.sampled_from(
    [
        Policy(),
        Policy(older_than=timedelta(hours=2)),
        Policy(unused_for=timedelta(days=1)),
        Policy(keep_last=1),
        Policy(max_size=6000),
        Policy(max_size=0),
    ]
)
PASSING = st.sampled_from([0, 60, GRACE / 2 - 10, GRACE / 2 + 10, GRACE - 10, GRACE + 10, 3 * GRACE, 100_000])
WHILE_STORING = st.sampled_from([0, 60, GRACE / 2 - 10])
"""A writer has so much time between its look at an object and its record."""


class Life(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.cache = Cache(Path(self.folder.name))
        self.known: dict[str, set[int | None]] = {own_key(name): {None} for name in ("one", "two", "three")}
        """What a hit may give, by key."""

    def teardown(self) -> None:
        try:
            for _ in range(2):
                self.cache.clock.now += GRACE + 1
                self._collect(Policy())
                self._nothing_is_lost()
            assert self.cache.objects() == self.cache.referenced(), "something is left that nobody needs"
        finally:
            self.folder.cleanup()

    # What processes do -------------------------------------------------------------------------

    def _store(self, name: str, content: int, steps: Steps | None = None) -> None:
        key = own_key(name)
        self.known[key] = self.known[key] | {content}
        self.cache.store(name, content, by=self.cache.process(steps or Steps()))
        self.known[key] = {content}

    def _collect(self, policy: Policy, steps: Steps | None = None) -> None:
        if policy != Policy():
            for contents in self.known.values():
                contents.add(None)
        with self.cache.clock.running():
            collect(self.cache.process(steps or Steps()), policy, clock=self.cache.clock)

    def _invalidate(self, name: str, steps: Steps | None = None) -> None:
        self.known[own_key(name)].add(None)
        with self.cache.clock.running():
            invalidate(self.cache.process(steps or Steps()), Selection(key=own_key(name)), clock=self.cache.clock)

    def _hit(self, name: str, steps: Steps | None = None) -> None:
        self.cache.read(own_key(name), by=self.cache.process(steps or Steps()))

    def _interrupted(self, work: Callable[..., None], *arguments: Any, steps: Steps) -> None:
        try:
            work(*arguments, steps=steps)
        except KilledError:
            return

    # Rules -------------------------------------------------------------------------------------

    @rule(seconds=PASSING)
    def time_passes(self, seconds: float) -> None:
        self.cache.clock.now += seconds

    @rule(name=NAMES, content=CONTENTS)
    def store(self, name: str, content: int) -> None:
        self._store(name, content)

    @rule(name=NAMES)
    def hit(self, name: str) -> None:
        self._hit(name)

    @rule(policy=POLICIES)
    def collection(self, policy: Policy) -> None:
        self._collect(policy)

    @rule(name=NAMES)
    def invalidation(self, name: str) -> None:
        self._invalidate(name)
        assert self.cache.read(own_key(name)) is None

    @rule(name=NAMES, content=CONTENTS, at=PLACES, after=st.booleans())
    def killed_writer(self, name: str, content: int, at: int, after: bool) -> None:
        self._interrupted(self._store, name, content, steps=Steps(at=at, kill=True, after=after))

    @rule(policy=POLICIES, at=PLACES, after=st.booleans())
    def killed_collection(self, policy: Policy, at: int, after: bool) -> None:
        self._interrupted(self._collect, policy, steps=Steps(at=at, kill=True, after=after))

    @rule(name=NAMES, at=PLACES, after=st.booleans())
    def killed_invalidation(self, name: str, at: int, after: bool) -> None:
        self._interrupted(self._invalidate, name, steps=Steps(at=at, kill=True, after=after))

    @rule(name=NAMES, content=CONTENTS, at=PLACES, policy=POLICIES, before=WHILE_STORING, kill=st.booleans())
    def collection_while_a_result_is_stored(
        self, name: str, content: int, at: int, policy: Policy, before: float, kill: bool
    ) -> None:
        def meanwhile() -> None:
            self.cache.clock.now += before
            self._collect(policy)

        self._interrupted(self._store, name, content, steps=Steps(at=at, happening=meanwhile, kill=kill))

    @rule(name=NAMES, content=CONTENTS, at=PLACES, policy=POLICIES, before=PASSING, after=PASSING, kill=st.booleans())
    def a_result_is_stored_during_a_collection(
        self, name: str, content: int, at: int, policy: Policy, before: float, after: float, kill: bool
    ) -> None:
        def meanwhile() -> None:
            self.cache.clock.now += before
            self._store(name, content)
            self.cache.clock.now += after
            # The collection may have chosen the record before; then it may take this one for it.
            self.known[own_key(name)].add(None)

        self._interrupted(self._collect, policy, steps=Steps(at=at, happening=meanwhile, kill=kill))

    @rule(name=NAMES, at=PLACES, policy=POLICIES, other=POLICIES)
    def two_collections(self, name: str, at: int, policy: Policy, other: Policy) -> None:
        self._interrupted(self._collect, policy, steps=Steps(at=at, happening=lambda: self._collect(other)))

    @rule(name=NAMES, at=PLACES, policy=POLICIES)
    def a_collection_in_the_middle_of_a_hit(self, name: str, at: int, policy: Policy) -> None:
        """A hit that has read its record is not disturbed, and does not bring back what was dropped."""
        self._interrupted(self._hit, name, steps=Steps(at=at, happening=lambda: self._collect(policy)))

    # What always holds -------------------------------------------------------------------------

    @invariant()
    def _nothing_is_lost(self) -> None:
        with self.cache.clock.running():
            assert verify(self.cache.project).broken == ()
        for key, allowed in self.known.items():
            found = self.cache.read(key)
            assert found in allowed
            self.known[key] = {found}


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60,
    stateful_step_count=20,
    deadline=None,
    # Making a failure smaller takes minutes here; every interleaving of two is in test_lifecycle_steps.py.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
