from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from expops_prefect._internal import diagnostics
from expops_prefect.errors import KVDamagedError, KVError, KVRefusedError
from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.redis.client import Target
from expops_prefect.stores.kv.redis.layout import Layout, from_text, to_text
from expops_prefect.stores.kv.redis.store import RedisKV
from expops_prefect.testing import KVConformance, RawKV, kv_machine
from tests.support.redis_server import start_redis
from tests.support.shared_servers import address

RUN = "project-shop-20260101000000-12345678"


class RawRedis:
    """The same keys, by Redis' own commands."""

    def __init__(self, project: str, client: Any) -> None:
        self._layout = Layout(project)
        self._client = client

    def read(self, key: str) -> JSON | None:
        slot = self._layout.slot(key)
        text = self._client.hget(slot.name, slot.field) if slot.field else self._client.get(slot.name)
        return None if text is None else from_text(key, text)

    def write(self, key: str, value: JSON) -> None:
        slot, text = self._layout.slot(key), to_text(key, value)
        if slot.field:
            self._client.hset(slot.name, slot.field, text)
        else:
            self._client.set(slot.name, text)
        self._client.zadd(self._layout.index, {key: 0})


def target(host: str) -> Target:
    name, _, port = host.partition(":")
    return Target(name, int(port))


@pytest.fixture
def project() -> str:
    return f"shop-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(redis_host: str) -> Iterator[Any]:
    found = target(redis_host).connect()
    yield found
    found.close()


@pytest.fixture
def store(project: str, redis_host: str) -> Iterator[RedisKV]:
    made = RedisKV(project, target(redis_host))
    yield made
    made.close()


@pytest.fixture
def raw(project: str, client: Any) -> RawKV:
    return RawRedis(project, client)


class TestRedis(KVConformance):
    """Every store passes these."""


def _new_store() -> RedisKV:
    return RedisKV(f"machine-{uuid.uuid4().hex}", target(address("redis_host")))


@pytest.mark.usefixtures("redis_host")
class TestRedisMachine(kv_machine(_new_store, examples=15).TestCase):  # type: ignore[misc]
    """Any sequence of calls, beside a dictionary."""


def test_the_keys_are_those_of_expops(store: RedisKV, project: str, client: Any) -> None:
    store.put_many(
        {
            names.run_status_key(RUN): "running",
            names.run_timestamps_key(RUN): {"start": 1.0},
            names.row_key(RUN, names.process_path("train")): {"status": "cached"},
            names.charts_key(RUN, names.process_path("train")): [{"title": "loss"}],
        }
    )
    store.increment(names.stat_key(RUN, "cache_hit_count"), 2)
    at = f"mlops:projects:{project}:runs:{RUN}:"
    assert client.get(at + "status") == b"running"
    assert client.get(at + "timestamps") == b'{"start":1.0}'
    assert client.get(at + "steps://process[@name='train']:__process__") == b'{"status":"cached"}'
    assert client.get(at + "charts://process[@name='train']") == b'[{"title":"loss"}]'
    assert client.hgetall(at + "stats") == {b"cache_hit_count": b"2"}
    assert {client.ttl(key) for key in client.scan_iter(match=f"mlops:projects:{project}:*")} == {-1}


def test_projects_share_a_server_and_nothing_else(store: RedisKV, project: str, client: Any) -> None:
    other = RedisKV(f"{project}*", store._target)
    store.put("a", 1)
    store.increment("n", token="once")
    other.put("b", 2)
    other.increment("n", token="once")
    assert [key for key, _ in store.scan("")] == ["a", "n"]
    assert other.erase() == 2
    assert list(other.scan("")) == []
    assert other.increment("n", token="once") == 1
    assert store.increment("n", token="once") == 1
    assert store.erase() == 2
    assert not list(client.scan_iter(match=f"*:{project}:*"))
    other.close()


def test_a_text_that_is_not_json(store: RedisKV, raw: RawRedis, client: Any, project: str) -> None:
    client.set(f"mlops:projects:{project}:a", b"\xff{")
    client.zadd(Layout(project).index, {"a": 0})
    with pytest.raises(KVDamagedError, match="delete the key"):
        store.get("a")
    client.set(f"mlops:projects:{project}:{names.run_status_key(RUN)}", "completed")
    assert store.get(names.run_status_key(RUN)) == "completed"
    assert raw.read(names.run_status_key(RUN)) == "completed"


def test_counters_have_64_bits(store: RedisKV) -> None:
    assert store.increment("n", 2**63 - 1) == 2**63 - 1
    assert store.get("n") == 2**63 - 1
    with pytest.raises(KVRefusedError, match="64 bits"):
        store.increment("n", 1)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., tuple[Any, RedisKV]]]:
    """Starts a server with options; its process, and a store on it."""
    started: list[Any] = []

    def start(*options: str, **named: Any) -> tuple[Any, RedisKV]:
        server, port = start_redis(tmp_path, *options)
        store = RedisKV("shop", Target(port=port, **named))
        started.extend((server.stop, store.close))
        return server, store

    yield start
    for stop in reversed(started):
        stop()


def test_a_server_that_ends_and_comes_back(own: Callable[..., tuple[Any, RedisKV]], tmp_path: Path) -> None:
    server, store = own()
    port = store._target.port
    store.put("a", 1)
    server.stop()
    with pytest.raises(KVError, match="Is the server running") as caught:
        store.get("a")
    assert not caught.value.lasting
    again, _ = start_redis(tmp_path, port=port)
    try:
        assert store.get("a") is None  # it kept nothing
        store.put("a", 2)
        assert pickle.loads(pickle.dumps(store)).get("a") == 2
    finally:
        again.stop()


def test_a_password(own: Callable[..., tuple[Any, RedisKV]]) -> None:
    _, store = own("--requirepass", "hunter2", password="hunter2")
    store.ping()
    for password in (None, "wrong-secret"):
        denied = RedisKV("shop", Target(port=store._target.port, password=password))
        with pytest.raises(KVError, match="MLOPS_REDIS_PASSWORD") as caught:
            denied.ping()
        assert caught.value.lasting
        said = f"{caught.value!s} {denied!r} {denied.describe()} {denied._target!r}"
        assert "hunter2" not in said
        assert "wrong-secret" not in said
        denied.close()


def test_a_replica_that_only_reads(own: Callable[..., tuple[Any, RedisKV]]) -> None:
    _, primary = own()
    _, replica = own("--replicaof", "127.0.0.1", str(primary._target.port))
    with pytest.raises(KVError, match="name the primary"):
        replica.put("a", 1)


def test_a_server_without_memory_left(own: Callable[..., tuple[Any, RedisKV]]) -> None:
    _, store = own("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    with pytest.raises(KVError, match="more memory"):
        _fill(store)
    # All of a write or nothing of it.
    whole, half = (dict(store.scan(prefix)) for prefix in "ab")
    assert len(whole) == len(half) > 0


def _fill(store: RedisKV) -> None:
    for number in range(100):
        store.put_many({f"a{number}": "x" * 100_000, f"b{number}": 1})


def test_what_redis_evicts_is_a_miss_that_is_said_once(
    own: Callable[..., tuple[Any, RedisKV]], caplog: pytest.LogCaptureFixture
) -> None:
    _, store = own("--maxmemory-policy", "allkeys-lru")
    store.put_many({"a": 1, "b": 2, "c": 3})
    with redis.Redis(port=store._target.port) as client:
        client.delete("mlops:projects:shop:b")
    before = diagnostics.counts().get("records evicted", 0)
    assert store.get("b") is None
    assert dict(store.scan("")) == {"a": 1, "c": 3}
    assert list(store.scan("", limit=2)) == [("a", 1), ("c", 3)]
    assert diagnostics.counts()["records evicted"] > before
    said = [record.message for record in caplog.records if "records evicted" in record.message]
    assert len(said) == 1
    assert "allkeys-lru" in said[0]
    assert "noeviction" in said[0]
    store.put("b", 4)
    assert store.get("b") == 4


def test_sentinels_know_the_server(own: Callable[..., tuple[Any, RedisKV]], tmp_path: Path) -> None:
    _, store = own()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor shop 127.0.0.1 {store._target.port} 1\n")
    server, port = start_redis(tmp_path, sentinel=config)
    found = RedisKV("shop", Target(sentinels=(("127.0.0.1", port),), service="shop"))
    try:
        found.put("a", 1)
        assert store.get("a") == 1
        assert found.describe() == "Redis shop (by sentinels), database 0"
    finally:
        found.close()
        server.stop()
