"""Every interleaving of a writer and a collection: the one in the middle of the other, at each of its steps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from expops_prefect.maintenance import Collected, Policy, Selection, collect, invalidate, verify
from expops_prefect.project import Project
from expops_prefect.stores.objects.base import GRACE
from tests.support.cached import Cache, KilledError, Steps
from tests.support.result_stores import own_key

MOST = 40


def unreferenced(folder: Path, old: float = 3 * GRACE) -> Iterator[Cache]:
    """New caches, each with a result's objects that no record has referred to for so many seconds."""
    for number in itertools.count():
        cache = Cache(folder / str(number))
        key = cache.store("old", 1)
        invalidated(cache, key)
        cache.clock.now += old
        yield cache


def collected(cache: Cache, by: Project | None = None, policy: Policy | None = None) -> Collected:
    with cache.clock.running():
        return collect(by or cache.project, policy, clock=cache.clock)


def invalidated(cache: Cache, key: str, by: Project | None = None) -> None:
    with cache.clock.running():
        invalidate(by or cache.project, Selection(key=key), clock=cache.clock)


def whole(cache: Cache) -> bool:
    with cache.clock.running():
        return verify(cache.project).broken == ()


def test_without_a_writer_they_are_removed(tmp_path: Path) -> None:
    cache = next(unreferenced(tmp_path))
    assert len(cache.objects()) == 2
    assert collected(cache).freed == 2
    assert cache.objects() == set()


@pytest.mark.parametrize(("old", "seconds"), [(3 * GRACE, 0), (GRACE / 2 + 20, GRACE / 2 - 10)])
def test_a_collection_at_each_step_of_a_writer(tmp_path: Path, old: float, seconds: float) -> None:
    for at, cache in zip(range(1, MOST), unreferenced(tmp_path, old), strict=False):

        def meanwhile(cache: Cache = cache) -> None:
            cache.clock.now += seconds
            collected(cache)

        steps = Steps(at=at, happening=meanwhile)
        key = cache.store("new", 1, by=cache.process(steps))
        assert cache.read(key) == 1, f"{at}: {steps.calls}"
        collected(cache)
        assert cache.read(key) == 1, f"{at}: {steps.calls}"
        if at > len(steps.calls):
            assert at > 5
            return
    raise AssertionError("a writer takes more steps than are tried")


@pytest.mark.parametrize("before", [0, 2 * GRACE])
@pytest.mark.parametrize("after", [0, 2 * GRACE])
def test_a_writer_at_each_step_of_a_collection(tmp_path: Path, before: float, after: float) -> None:
    for at, cache in zip(range(1, MOST), unreferenced(tmp_path), strict=False):

        def meanwhile(cache: Cache = cache) -> None:
            cache.clock.now += before
            cache.store("new", 1)
            cache.clock.now += after

        steps = Steps(at=at, happening=meanwhile)
        collected(cache, cache.process(steps))
        if at > len(steps.calls):
            assert at > 5
            return
        assert cache.read(own_key("new")) == 1, f"{at}: {steps.calls}"
    raise AssertionError("a collection takes more steps than are tried")


def test_a_collection_that_drops_at_each_step_of_a_hit(tmp_path: Path) -> None:
    for at in range(1, MOST):
        cache = Cache(tmp_path / str(at))
        key = cache.store("one", 1)
        cache.clock.now += 3 * GRACE
        # As in a project folder that was moved: the hit writes a new stamp into the record.
        with cache.clock.running():
            for name in cache.objects():
                assert cache.project.objects.refresh(name) is not None
        cache.clock.now += 3 * GRACE

        def meanwhile(cache: Cache = cache) -> None:
            assert len(collected(cache, policy=Policy(max_size=0)).dropped) == 1
            cache.clock.now += GRACE - 10
            assert collected(cache).freed == 0

        steps = Steps(at=at, happening=meanwhile)
        found = cache.read(key, by=cache.process(steps))
        if at > len(steps.calls):
            assert at > 3
            return
        assert found == (None if at == 1 else 1), f"{at}: {steps.calls}"
        assert cache.read(key) is None, f"{at}: what was dropped came back: {steps.calls}"
    raise AssertionError("a hit takes more steps than are tried")


def test_a_result_that_is_stored_again_before_its_record_is_dropped(tmp_path: Path) -> None:
    for at in range(1, MOST):
        cache = Cache(tmp_path / str(at))
        key = cache.store("one", 1)
        cache.clock.now += 3 * GRACE
        steps = Steps(at=at, happening=lambda cache=cache: cache.store("one", 2))  # type: ignore[misc]
        collected(cache, cache.process(steps), Policy(older_than=timedelta(hours=1)))
        assert whole(cache)
        if "delete_many" in steps.calls[: at - 1]:
            assert at > 5
            return
        # Between the last look at it and its removal it can still go; the next use recomputes.
        assert cache.read(key) == (None if steps.calls[at - 1] == "delete_many" else 2), f"{at}: {steps.calls}"
    raise AssertionError("a collection takes more steps than are tried")


@pytest.mark.parametrize("after", [False, True])
def test_a_collection_that_is_killed_at_each_step(tmp_path: Path, after: bool) -> None:
    for at in range(1, MOST):
        cache = Cache(tmp_path / str(at))
        kept, shared, gone = cache.store("one", 1), cache.store("two", 1), cache.store("three", 2)
        cache.clock.now += 3 * GRACE
        cache.store("two", 3)
        steps = Steps(at=at, kill=True, after=after)
        try:
            collected(cache, cache.process(steps), Policy(max_size=1))
        except KilledError:
            assert whole(cache), f"{at}: {steps.calls}"
            assert all(cache.read(key) in (1, 2, 3, None) for key in (kept, shared, gone))
        else:
            assert at > 5
            return
        for _ in range(2):
            cache.clock.now += GRACE + 1
            collected(cache)
        assert cache.objects() == cache.referenced(), f"{at}: {steps.calls}"
    raise AssertionError("a collection takes more steps than are tried")
