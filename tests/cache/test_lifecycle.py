"""Which results go and which stay, what is found to be broken, and when a use is noted."""

from __future__ import annotations

import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from expops_prefect.cache.results import record_key
from expops_prefect.errors import ConfigurationError, FormatError
from expops_prefect.maintenance import Collected, Policy, Selection, collect, entries, invalidate, verify
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.stores.objects.base import GRACE
from expops_prefect.stores.outbox.changes import Publish
from expops_prefect.stores.outbox.outbox import Outbox
from tests.config.support import settings_of
from tests.support.backends import Cloud
from tests.support.cached import Cache, Steps, days, read, real_time, store
from tests.support.result_stores import own_key


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def collected(cache: Cache, policy: Policy | None = None, **arguments: Any) -> Collected:
    with cache.clock.running():
        return collect(cache.project, policy, clock=cache.clock, **arguments)


def reasons(done: Collected) -> dict[str, str]:
    return {item.entry.name: item.reason for item in done.dropped}


def value_of(cache: Cache, key: str) -> dict[str, Any]:
    value = cache.project.kv.get(record_key(key))
    assert isinstance(value, dict)
    return value


# What is dropped ---------------------------------------------------------------------------------


def test_without_a_policy_nothing_is_dropped(cache: Cache) -> None:
    key = cache.store("one")
    cache.clock.now += days(5000)
    done = collected(cache)
    assert (done.dropped, done.kept, done.freed, done.waiting) == ((), 1, 0, 0)
    assert cache.read(key) == 0


def test_older_than(cache: Cache) -> None:
    old = cache.store("one", 1)
    cache.clock.now += days(3)
    young = cache.store("two", 2)
    cache.read(old)
    assert reasons(collected(cache, Policy(older_than=timedelta(days=3)))) == {old: "old"}
    assert [cache.read(key) for key in (old, young)] == [None, 2]


def test_unused_for(cache: Cache) -> None:
    used, unused = cache.store("one", 1), cache.store("two", 2)
    cache.clock.now += days(5)
    assert cache.read(used) == 1
    cache.clock.now += days(5)
    # Known to the day.
    assert reasons(collected(cache, Policy(unused_for=timedelta(days=9, seconds=1)))) == {}
    assert reasons(collected(cache, Policy(unused_for=timedelta(days=9)))) == {unused: "unused"}
    assert cache.read(used) == 1


def test_keep_last(cache: Cache) -> None:
    keys = []
    for number in range(4):
        keys.append(cache.store(f"{number}", number))
        cache.clock.now += 10
    other = cache.store("0", task="load")
    done = collected(cache, Policy(keep_last=2))
    assert reasons(done) == dict.fromkeys(keys[:2], "not among the last")
    assert [cache.read(key) for key in [*keys, other]] == [None, None, 2, 3, 0]


def test_max_size_drops_what_was_not_used_for_longest(cache: Cache) -> None:
    keys = []
    for number in range(4):
        keys.append(cache.store(f"{number}", number))
        cache.clock.now += days(2)
    cache.read(keys[0])
    shared = cache.store("like 0", 0)
    whole = collected(cache).kept_bytes
    one = cache.project.objects.stat(min(cache.objects()))
    assert one is not None
    assert whole == sum(info.size for info in cache.project.objects.list("cache/")), "shared payloads count once"
    assert reasons(collected(cache, Policy(max_size=whole))) == {}
    assert reasons(collected(cache, Policy(max_size=whole - 1))) == {keys[1]: "size"}
    assert reasons(collected(cache, Policy(max_size=whole // 3))) == dict.fromkeys(keys[2:], "size")
    assert [cache.read(key) for key in (keys[0], shared)] == [0, 0]


def test_what_is_past_its_ttl_is_a_miss_and_goes(tmp_path: Path) -> None:
    config = "prefect: {project_id: shop, cache: {ttl: 10d, processes: {load: {ttl: 2d}}}}\n"
    cache = Cache(tmp_path, config)
    short, long = cache.store("one", 1, "load"), cache.store("two", 2)
    cache.clock.now += days(2) - 1
    assert [cache.read(short), cache.read(long)] == [1, 2]
    assert reasons(collected(cache)) == {}
    cache.clock.now += 1
    assert [cache.read(short), cache.read(long)] == [None, 2]
    assert reasons(collected(cache)) == {short: "expired"}
    assert cache.project.kv.get(record_key(short)) is None


def test_what_prefect_lets_expire_goes(cache: Cache) -> None:
    key = cache.store("one")
    value = value_of(cache, key)
    cache.project.kv.put(record_key(key), {**value, "expires_at": cache.clock.now + 60})
    cache.clock.now += 59
    assert reasons(collected(cache)) == {}
    cache.clock.now += 1
    assert cache.read(key) is None
    assert reasons(collected(cache)) == {key: "expired"}


# What is freed -----------------------------------------------------------------------------------


def test_objects_go_an_hour_after_their_result(cache: Cache) -> None:
    cache.store("one", 1)
    cache.clock.now += 1
    kept = cache.store("two", 2)
    cache.store("like two", 2)
    policy = Policy(keep_last=2)
    cache.clock.now += 10 * GRACE
    planned = collected(cache, policy, dry_run=True)
    done = collected(cache, policy)
    assert len(done.dropped) == len(planned.dropped) == 1
    (item,) = done.dropped
    assert (done.freed, done.waiting) == (0, len(item.entry.objects.keys() - cache.referenced()))
    assert (planned.waiting, planned.waiting_bytes) == (done.waiting, done.waiting_bytes)
    cache.clock.now += GRACE - 1
    assert collected(cache).freed == 0
    cache.clock.now += 2
    last = collected(cache)
    assert (last.freed, last.freed_bytes, last.waiting) == (done.waiting, done.waiting_bytes, 0)
    assert cache.objects() == cache.referenced()
    assert cache.read(kept) == 2


def test_at_once(cache: Cache) -> None:
    cache.store("one", 1)
    cache.clock.now += 1
    done = collected(cache, Policy(max_size=0), at_once=True)
    assert (done.freed, done.waiting) == (2, 0)
    assert cache.objects() == set()


def test_a_dry_run_changes_nothing(cache: Cache) -> None:
    key = cache.store("one", 1)
    cache.clock.now += days(3)
    before = {info.key: info.stamp for info in cache.project.objects.list("cache/")}
    done = collected(cache, Policy(max_size=0), dry_run=True, at_once=True)
    assert (len(done.dropped), done.freed) == (1, 2)
    assert {info.key: info.stamp for info in cache.project.objects.list("cache/")} == before
    assert cache.read(key) == 1


def test_what_is_not_ours_stays(cache: Cache) -> None:
    digest = "0" * 64
    kept = [
        "artifacts/abc/run/p/chart.png",
        f"artifacts/steps/run/train/{digest}.pkl",
        "cache/0123abcd/p_eA/steps/a.pkl",  # ExpOps' own
        "cache/0123abcd/p_eA/payloads/run/x/5a1b.npz",
        "cache/0123abcd/p_eA/model_spill/model.joblib",
        f"cache/payloads/{digest}.npz",
    ]
    gone = [f"cache/payloads/00/{digest}.npz", f"cache/model_spill/00/{digest}.joblib", f"cache/steps/r/t/{digest}.pkl"]
    gone.append(f"cache/payloads/00/{digest}")
    for key in [*kept, *gone]:
        cache.project.objects.put(key, [b"x"])
    cache.project.kv.put("process://process[@name='x']:a:b:c", {"status": "completed", "cache_path": "/x"})
    cache.clock.now += 2 * GRACE
    assert collected(cache, Policy(older_than=timedelta(seconds=1))).freed == len(gone)
    assert {info.key for info in cache.project.objects.list("")} >= set(kept)
    assert not {info.key for info in cache.project.objects.list("")} & set(gone)
    assert cache.project.kv.get("process://process[@name='x']:a:b:c") is not None


def test_unfinished_writes_go(cache: Cache) -> None:
    cache.store("one")
    folder = cache.settings.runtime_dir / "cache" / "payloads"
    old, new = folder / ".tmp-old", folder / ".tmp-new"
    for file, when in ((old, cache.clock.now - GRACE - 1), (new, cache.clock.now - GRACE + 1)):
        file.write_bytes(b"")
        os.utime(file, (when, when))
    assert collected(cache).temporaries == 1
    assert (old.exists(), new.exists()) == (False, True)


def test_what_a_running_process_has_still_to_deliver_is_needed(cache: Cache, tmp_path: Path) -> None:
    key = cache.store("one", 1)
    name = record_key(key)
    value = cache.project.kv.get(name)
    cache.project.kv.delete(name)
    away = cache.process(Steps())
    outbox = Outbox(away.kv, away.objects, cache.project.outbox.folder, flush_seconds=1e6)
    outbox.write(Publish(name, value))
    cache.clock.now += 10 * GRACE
    assert collected(cache).freed == 0
    assert outbox.close(10)
    assert cache.read(key) == 1


def test_records_of_a_newer_release_stop_it(cache: Cache) -> None:
    key = cache.store("one", 1)
    value = value_of(cache, key)
    cache.project.kv.put(record_key(key), {**value, "format": 99})
    cache.clock.now += 10 * GRACE
    with pytest.raises(FormatError, match="upgrade"):
        collected(cache)
    assert len(cache.objects()) == 2


def test_records_that_somebody_damaged_do_not(cache: Cache) -> None:
    key, other = cache.store("one", 1), cache.store("two", 2)
    value = value_of(cache, key)
    damages: list[dict[str, Any]] = [{"ended_at": "?"}, {"payloads": [{"key": 1}]}, {"object_key": None}, {"size": []}]
    for damage in damages:
        cache.project.kv.put(record_key(key), {**value, **damage})
        cache.project.kv.put(names.use_key(record_key(other)), {"at": "?"})
        assert collected(cache, Policy(unused_for=timedelta(days=9))).kept == 1
    assert cache.read(other) == 2


# Invalidation ------------------------------------------------------------------------------------


def step_of(cache: Cache, key: str, process: str) -> str:
    """Give a result the alias and the path of a step; the alias' KV key."""
    parsed = names.CacheKey.parse(key)
    assert parsed is not None
    path = names.process_path(process)
    value = {**value_of(cache, key), "path": names.step_path(path, parsed.task), "run_id": "run-1"}
    alias = parsed.step_record_key(path, "renamed")
    cache.project.kv.put_many({record_key(key): value, alias: value})
    return alias


def selected(cache: Cache, selection: Selection, dry_run: bool = False) -> set[str]:
    with cache.clock.running():
        return {entry.name for entry in invalidate(cache.project, selection, dry_run=dry_run, clock=cache.clock)}


def test_selections(cache: Cache) -> None:
    one, two = cache.store("one", 1), cache.store("two", 2)
    cache.clock.now += 100
    final, step = cache.store("x", 3, "train_final"), cache.store("y", 4, "scale")
    step_of(cache, step, "train")
    young = timedelta(seconds=100)
    for selection, expected in [
        (Selection(key=one), {one}),
        (Selection(key="train"), {one, two}),
        (Selection(key="tra"), {one, two, final}),
        (Selection(key=one[:10]), {one}),
        (Selection(process="train"), {one, two, step}),
        (Selection(process="scale"), {step}),
        (Selection(run="run-1"), {step}),
        (Selection(older_than=young), {one, two}),
        (Selection(key=two, older_than=young), {two}),
        (Selection(process="train_final", older_than=young), set()),
        (Selection(key="none"), set()),
    ]:
        assert selected(cache, selection, dry_run=True) == expected, selection
    for empty in (Selection(), Selection(key=""), Selection(key="/a"), Selection(process=" "), Selection(run="")):
        with pytest.raises(ValueError, match="all"):
            selected(cache, empty)
    assert all(cache.read(key) for key in (one, two, final, step))


def test_invalidation_takes_the_aliases_and_leaves_the_objects(cache: Cache) -> None:
    key, other = cache.store("y", 1, "scale"), cache.store("z", 1, "scale")
    alias = step_of(cache, key, "train")
    before = cache.objects()
    assert selected(cache, Selection(key=key)) == {key}
    assert [cache.project.kv.get(name) for name in (record_key(key), alias)] == [None, None]
    assert cache.objects() == before
    assert [cache.read(key), cache.read(other)] == [None, 1]


# Verification ------------------------------------------------------------------------------------


def damage(cache: Cache, key: str, change: str) -> None:
    path = cache.project.objects.path(key)
    assert path is not None
    data = path.read_bytes()
    path.unlink()
    if change == "truncated":
        path.write_bytes(data[:-1])
    elif change == "changed":
        path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


@pytest.mark.parametrize("change", ["gone", "truncated", "changed"])
@pytest.mark.parametrize("which", ["manifest", "payload"])
def test_verify_and_repair(cache: Cache, change: str, which: str) -> None:
    broken, whole = cache.store("one", 1), cache.store("two", 2)
    first = verify(cache.project)
    assert (first.records, first.objects, first.broken, first.elsewhere) == (2, 4, (), 0)
    assert first.bytes == sum(info.size for info in cache.project.objects.list("cache/"))
    (entry,) = [entry for entry in entries.read_entries(cache.project) if entry.name == broken]
    key = entry.record.object_key if which == "manifest" else entry.record.payloads[0].key
    damage(cache, key, change)

    (found,) = verify(cache.project).broken
    assert found.stored.kv_key == record_key(broken)
    assert (found.missing, found.damaged) == (((key,), ()) if change == "gone" else ((), (key,)))

    repaired = verify(cache.project, repair=True)
    assert (len(repaired.broken), repaired.repaired) == (1, 1)
    assert cache.project.objects.stat(key) is None, "a damaged object is in the way of whoever stores it again"
    assert verify(cache.project).broken == ()
    assert [cache.read(broken), cache.read(whole)] == [None, 2]
    assert cache.read(cache.store("one", 1)) == 1


def test_verify_tells_progress(cache: Cache) -> None:
    cache.store("one", 1)
    seen: list[tuple[str, int]] = []
    verify(cache.project, progress=lambda kind, count: seen.append((kind, count)))
    assert seen == [("records", 1), ("objects", 1), ("objects", 2)]


# Uses --------------------------------------------------------------------------------------------


def noted(cache: Cache) -> list[float]:
    return [value["at"] for _, value in cache.project.kv.scan(names.USE_PREFIX)]


def test_a_use_is_noted_once_a_day_on_a_machine(cache: Cache) -> None:
    key = cache.store("one", 1)
    value = value_of(cache, key)
    cache.clock.now += days(1) - 1
    cache.read(key)
    assert noted(cache) == [], "the day of its computation counts"
    cache.clock.now += days(1)
    first = cache.clock.now - cache.clock.now % days(1)
    cache.clock.now = first + 10
    for passed in (0, 10, 20):
        steps = Steps()
        cache.clock.now = first + 10 + passed
        assert cache.read(key, by=cache.process(steps)) == 1
    assert noted(cache) == [first + 10]
    cache.clock.now = first + days(1)
    for _ in range(3):
        cache.read(key)
    assert noted(cache) == [first + days(1)]
    assert cache.project.kv.get(record_key(key)) == value, "the record is not rewritten"
    cache.clock.now += days(4)
    cache.read(key)
    assert [path.name for path in (cache.settings.runtime_dir / "uses").iterdir()] == [
        str(int(cache.clock.now // days(1)))
    ]


def test_the_use_of_what_is_dropped_is_forgotten(cache: Cache) -> None:
    key, other = cache.store("one", 1), cache.store("two", 2)
    cache.clock.now += days(3)
    assert [cache.read(key), cache.read(other)] == [1, 2]
    assert len(noted(cache)) == 2
    selected(cache, Selection(key=key))
    collected(cache)
    assert len(noted(cache)) == 1


# Google Cloud ------------------------------------------------------------------------------------


def machine(cloud: Cloud, folder: Path, name: str, combination: str = "gcp-gcs") -> Project:
    return Project(settings_of(folder / "shop", cloud.config(combination, name), environ=cloud.environ()))


def later() -> float:
    return real_time() + 3 * GRACE


def copies(project: Project) -> int:
    return sum(path.is_file() for path in (project.settings.runtime_dir / "downloads").rglob("*"))


def test_on_google_cloud(cloud: Cloud, tmp_path: Path) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    one, two = machine(cloud, tmp_path / "1", name), machine(cloud, tmp_path / "2", name)
    keys = [own_key(f"{number}") for number in range(3)]
    for number, key in enumerate(keys):
        store(one, key, number)
    assert [read(two, key) for key in keys] == [0, 1, 2]
    assert copies(two) == 3

    # Another machine's copies are not what is verified, and nothing of it stays.
    (entry,) = [entry for entry in entries.read_entries(one) if entry.name == keys[2]]
    payload = entry.record.payloads[0]
    whole = one.objects.get(payload.key)
    assert whole is not None
    one.objects.put(payload.key, [bytes(len(whole))])
    found = verify(two, repair=True)
    assert (found.records, found.objects, found.repaired) == (3, 6, 1)
    assert found.broken[0].damaged == (payload.key,)
    assert (read(two, keys[2]), two.objects.stat(payload.key)) == (None, None)
    store(two, keys[2], 2)
    assert read(one, keys[2]) == 2
    assert verify(one).broken == ()
    assert [path.name for path in one.settings.runtime_dir.iterdir() if path.name.startswith(".tmp-")] == []

    assert (read(one, keys[0]), copies(one)) == (0, 2)
    invalidate(one, Selection(key=keys[0]))
    young = collect(one)
    assert (young.kept, young.freed, young.waiting) == (2, 0, 2)
    assert collect(two, clock=later, dry_run=True).freed == 2
    assert read(two, keys[1]) == 1
    done = collect(two, clock=later)
    assert (done.freed, done.waiting, copies(two)) == (2, 0, 1)
    assert (collect(one, clock=later).copies, copies(one)) == (1, 1), "each machine removes its own copies"
    assert [read(two, key) for key in keys] == [None, 1, 2]
    assert collect(two, Policy(unused_for=timedelta(days=30)), clock=lambda: real_time() + days(40)).copies == 2


def test_a_bucket_of_records_that_are_not_known_here(cloud: Cloud, tmp_path: Path) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    one, two = (machine(cloud, tmp_path / folder, name, "local-gcs") for folder in "12")
    store(one, own_key("1"), 1)
    store(two, own_key("2"), 2)
    with pytest.raises(ConfigurationError, match="--alone"):
        collect(one, clock=later)
    assert read(two, own_key("2")) == 2
    assert collect(one, clock=later, alone=True).freed == 2


def test_shared_records_of_files_on_other_machines(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    one, two = (machine(cloud, tmp_path / folder, name, "gcp-local") for folder in "12")
    store(one, own_key("1"), 1)
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    found = verify(two, repair=True)
    assert (found.records, found.broken, found.elsewhere) == (0, (), 1)
    assert read(one, own_key("1")) == 1
