"""An object that was written or refreshed since is not removed, however the requests interleave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from expops_prefect.errors import ObjectStoreError
from expops_prefect.stores.objects.base import ObjectInfo
from expops_prefect.stores.objects.cloud import removal
from expops_prefect.stores.objects.cloud.store import CloudObjects
from tests.stores.objects.clouds import CloudCase, cloud_case
from tests.support.cloud_proxy import REMOVAL, CloudProxy, Gate, cloud_proxy
from tests.support.server import wait_until

pytestmark = pytest.mark.usefixtures("s3_endpoint", "azure_endpoint")

DATA = b"the same bytes"
WRITES: dict[str, Callable[[CloudObjects], ObjectInfo | None]] = {
    "put": lambda store: store.put("k", [DATA]),
    "create": lambda store: store.create("k", [DATA]),
    "refresh": lambda store: store.refresh("k"),
}


@pytest.fixture(params=["s3", "azure"])
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> CloudCase:
    return cloud_case(request.param, request, monkeypatch)


@pytest.fixture
def proxy(case: CloudCase) -> Iterator[CloudProxy]:
    """In front of the process that removes."""
    with cloud_proxy(case.host) as server:
        yield server


@pytest.fixture
def remover(case: CloudCase, proxy: CloudProxy) -> CloudObjects:
    return case.store(proxy.url)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@contextmanager
def held(proxy: CloudProxy, gate: Gate, pool: ThreadPoolExecutor, call: Callable[[], Any]) -> Iterator[Future[Any]]:
    """A call that waits at a gate while the block runs."""
    proxy.gate = gate
    called = pool.submit(call)
    try:
        assert gate.reached.wait(20)
        yield called
    finally:
        gate.opened.set()


def seen(store: CloudObjects) -> str:
    info = store.stat("k")
    assert info is not None
    return info.stamp


def hidden(case: CloudCase) -> list[str]:
    """What is left of unfinished work."""
    import obstore

    client = case.service().open(10, again=True)
    return [found["path"] for page in obstore.list(client, "shop") for found in page if "/.tmp-" in found["path"]]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_while_an_object_is_removed_waits_and_looks(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, pool: ThreadPoolExecutor, write: str
) -> None:
    with cloud_proxy(case.host) as other:
        writer = case.store(other.url)
        writer.put("k", [DATA])
        stamp = seen(remover)
        # It has seen the object unchanged, and its request is under way.
        with held(proxy, Gate("DELETE", of_marker=False), pool, lambda: remover.delete("k", stamp=stamp)) as removed:
            before = len(other.seen)
            written = pool.submit(WRITES[write], writer)
            wait_until(lambda: sum(REMOVAL in path for _, path in other.seen[before:]) > 1, 20, "the writer waits")
            assert not written.done()
        assert removed.result(20) is True
        found = written.result(20)
        assert (found is not None) == (write != "refresh"), "a refresh finds nothing, the others write it again"
        assert (writer.get("k") == DATA) == (found is not None)
    assert hidden(case) == []


@pytest.mark.parametrize("write", WRITES)
def test_a_write_is_seen_whose_writer_looks_when_all_is_over(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, pool: ThreadPoolExecutor, write: str
) -> None:
    with cloud_proxy(case.host) as other:
        writer = case.store(other.url)
        writer.put("k", [DATA])
        stamp = seen(remover)
        look = Gate("HEAD", of_marker=True)
        with held(proxy, Gate("DELETE", of_marker=False), pool, lambda: remover.delete("k", stamp=stamp)) as removed:
            waiting = held(other, look, pool, lambda: WRITES[write](writer))
            written = waiting.__enter__()
        assert removed.result(20) is True
        assert hidden(case) == [], "nothing tells of the removal any more"
        waiting.__exit__(None, None, None)
        found = written.result(20)
        assert (found is not None) == (write != "refresh")
        assert (writer.get("k") == DATA) == (found is not None)


@pytest.mark.parametrize("write", ["put", "refresh"])
def test_a_write_before_the_last_look_keeps_the_object(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, pool: ThreadPoolExecutor, write: str
) -> None:
    writer = case.store()
    old = writer.put("k", [b"other bytes" if write == "put" else DATA])
    wait_until(lambda: time.time() > old.modified + 1, 20, "S3's stamp of the same bytes differs")
    stamp = seen(remover)
    gate = Gate("HEAD", of_marker=False)
    with cloud_proxy(case.host) as other, held(proxy, gate, pool, lambda: remover.delete("k", stamp=stamp)) as removed:
        written = pool.submit(WRITES[write], case.store(other.url))
        wait_until(lambda: any(REMOVAL in path for _, path in other.seen), 20, "the writer looks for the marker")
        gate.opened.set()
        assert written.result(20) is not None
    assert removed.result(20) is False
    assert writer.get("k") == DATA
    assert hidden(case) == []


def test_what_is_created_after_the_removal_stays_and_does_not_wait(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, pool: ThreadPoolExecutor
) -> None:
    writer = case.store()
    writer.put("k", [DATA])
    stamp = seen(remover)
    with held(
        proxy, Gate("DELETE", of_marker=False, when="after"), pool, lambda: remover.delete("k", stamp=stamp)
    ) as removed:
        writer.calls.clear()
        assert writer.create("k", [DATA]) is not None
        assert dict(writer.calls) == {"writes": 1, "bytes_written": len(DATA)}
    assert removed.result(20) is True
    assert writer.get("k") == DATA


def test_a_refresh_of_s3_whose_object_goes_between_its_copies(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    case = cloud_case("s3", request, monkeypatch)
    store = case.store()
    store.put("k", [DATA])
    stamp = seen(store)
    with cloud_proxy(case.host) as other:
        refreshing = case.store(other.url)
        with held(other, Gate("PUT", of_marker=False, when="after"), pool, lambda: refreshing.refresh("k")) as done:
            assert store.delete("k", stamp=stamp) is True
        assert done.result(20) is not None
    assert store.get("k") == DATA, "it was brought back"
    assert hidden(case) == []


def test_one_removes_at_a_time(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, pool: ThreadPoolExecutor
) -> None:
    other = case.store()
    other.put("k", [DATA])
    stamp = seen(other)
    with held(proxy, Gate("DELETE", of_marker=False), pool, lambda: remover.delete("k", stamp=stamp)) as removed:
        assert other.delete("k", stamp=stamp) is False
        assert hidden(case) == ["shop/.tmp-removal/k"], "the other's marker stays"
    assert removed.result(20) is True


def test_who_is_late_removes_nothing(case: CloudCase, monkeypatch: pytest.MonkeyPatch) -> None:
    store = case.store()
    info = store.put("k", [DATA])
    monkeypatch.setattr(removal, "PROMPT", 0.0)
    assert store.delete("k", stamp=info.stamp) is False
    assert hidden(case) == []
    monkeypatch.undo()


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_removal_whose_end_is_unknown_is_not_repeated(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, takes_effect: bool
) -> None:
    writer = case.store(life=0.5)
    writer.put("k", [DATA])
    proxy.refuse, proxy.status, proxy.takes_effect = "DELETE", 503, takes_effect
    with pytest.raises(ObjectStoreError, match="answers 503"):
        remover.delete("k", stamp=seen(remover))
    assert [method for method, path in proxy.seen].count("DELETE") == 1
    assert hidden(case) == ["shop/.tmp-removal/k"], "it says that the object may go"
    assert (writer.refresh("k") is None) == takes_effect, "after the marker's life"
    writer.put("k", [DATA])
    assert hidden(case) == []


def test_a_marker_that_was_forgotten_is_removed_at_once(
    case: CloudCase, proxy: CloudProxy, remover: CloudObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = case.store()
    store.put("k", [DATA])
    stamp = seen(store)
    proxy.refuse, proxy.status = "DELETE", 500
    with pytest.raises(ObjectStoreError):
        remover.delete("k", stamp=stamp)
    assert store.delete("k", stamp=stamp) is False
    monkeypatch.setattr(removal, "FORGOTTEN", -60.0)
    assert store.delete("k", stamp=stamp) is False
    assert hidden(case) == []
    assert store.delete("k", stamp=stamp) is True
