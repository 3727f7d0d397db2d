"""The outbox: nothing is lost, doubled or put out of order, whatever fails and whoever dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from expops_prefect._internal.diagnostics import counts
from expops_prefect.cli.output import OK, PROBLEM
from expops_prefect.cli.sync import sync
from expops_prefect.config import load_settings
from expops_prefect.errors import KVError, ObjectStoreRefusedError
from expops_prefect.models import names
from expops_prefect.project import Project
from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.stores.outbox import outbox as outbox_module
from expops_prefect.stores.outbox.changes import (
    Append,
    Change,
    Copy,
    Increment,
    KeepObject,
    Publish,
    Put,
    dump,
    register_change,
)
from expops_prefect.stores.outbox.journal import Journal
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.stores.outbox.outbox import Outbox
from expops_prefect.testing.faults import Faults, FaultyKV, FaultyObjects
from tests.config.support import make_project
from tests.support.server import wait_until

METRICS = names.metrics_key("run", "//process[@name='train']")


def _add(value: JSON | None, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    return {"sum": (value or {}).get("sum", 0) + arguments["amount"]}


def _fail(value: JSON | None, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    raise TypeError("not for this")


def _add_one(value: JSON | None, arguments: Mapping[str, JSON]) -> dict[str, JSON]:
    return _add(value, {"amount": 1})


register_change("test.add", _add)
register_change("test.fail", _fail)


class Stores:
    """Stores with faults, and outboxes over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "outbox"
        self.faults = Faults()
        self.raw = SQLiteKV(folder / "kv.sqlite")
        self.raw_objects = LocalObjects(folder / "objects")
        self.kv = FaultyKV(self.raw, self.faults)
        self.objects = FaultyObjects(self.raw_objects, self.faults)
        self.opened: list[Outbox] = []

    def outbox(self, **options: Any) -> Outbox:
        box = Outbox(self.kv, self.objects, self.folder, **{"flush_seconds": 0.01, **options})
        self.opened.append(box)
        return box

    def journals(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("*")) if self.folder.exists() else []


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    made = Stores(tmp_path)
    yield made
    made.faults.down, made.faults.nth = False, None
    for box in made.opened:
        box.close(5)
    made.raw.close()


def _everything(box: Outbox) -> None:
    box.write(Put("a", {"n": 1}), Put("b", 1))
    box.write(Change("total", "test.add", {"amount": 1}), Append(METRICS, [LoggedPoint("loss", 0.5)]))
    box.write_object("artifacts/x/chart.png", b"picture")
    box.write(Increment("count"), Change("total", "test.add", {"amount": 10}), Put("a", {"n": 2}))
    box.write(Append(METRICS, [LoggedPoint("loss", 0.25), LoggedPoint("loss", 9, 7), LoggedPoint("loss", 0.1)]))
    box.write(Increment("count", 2), Copy("source", "target"), Copy("missing", "nothing"))


def _check_everything(stores: Stores) -> None:
    kv = stores.raw
    assert kv.get_many(["a", "b", "count", "target", "nothing"]) == {"a": {"n": 2}, "b": 1, "count": 3, "target": "s"}
    total = kv.get("total")
    assert total is not None
    assert total["sum"] == 11
    assert kv.get(METRICS) == {"loss": {"1": 0.5, "2": 0.25, "7": 9, "8": 0.1}}
    assert stores.raw_objects.get("artifacts/x/chart.png") == b"picture"


def test_all_kinds_of_changes_arrive(stores: Stores) -> None:
    stores.raw.put("source", "s")
    box = stores.outbox()
    _everything(box)
    assert box.settle(10)
    assert box.pending == 0
    _check_everything(stores)
    assert stores.journals() == []


def test_a_late_record_replaces_no_later_one(stores: Stores) -> None:
    stores.raw.put_many({"one": {"ended_at": 20.0}, "two": {"ended_at": 5.0}, "newer": {"format": 99}, "odd": "text"})
    left = Journal.create(stores.folder)
    late = {key: {"ended_at": 10.0, "digest": key} for key in ("one", "two", "newer", "odd", "none")}
    left.append(b"".join(dump(Publish(key, value)) for key, value in late.items()))
    left.append(dump(Publish("none", {"ended_at": 9.0})))
    left.release()
    assert stores.outbox().deliver_orphans() == 6
    assert stores.raw.get_many(["one", "newer"]) == {"one": {"ended_at": 20.0}, "newer": {"format": 99}}
    assert stores.raw.get_many(["two", "odd", "none"]) == {key: late[key] for key in ("two", "odd", "none")}


def test_files_of_small_results(stores: Stores) -> None:
    small = {f"cache/steps/run/train/{number}.pkl": bytes([number] * 3) for number in range(3)}
    left = Journal.create(stores.folder)
    left.append(b"".join(dump(KeepObject(key, data)) for key, data in small.items()))
    left.release()
    stores.raw_objects.put("cache/steps/run/train/1.pkl", [b"???"])  # damaged, and of the same length
    assert stores.outbox().deliver_orphans() == 3
    assert {key: stores.raw_objects.get(key) for key in small} == small


def test_a_store_that_takes_no_files_of_small_results_holds_nothing_up(stores: Stores) -> None:
    box = stores.outbox()
    box._objects = FaultyObjects(stores.raw_objects, Faults(down=True))
    before = counts().get("files of small results not written", 0)
    box.write(KeepObject("cache/steps/run/train/1.pkl", b"small"), Put("a", 1))
    assert box.flush(10)
    assert stores.raw.get("a") == 1
    assert counts()["files of small results not written"] == before + 1


def test_values_of_one_key_are_merged(stores: Stores) -> None:
    box = stores.outbox(flush_seconds=30)
    for number in range(100):
        box.write(Put("a", number), Change("total", "test.add", {"amount": 1}))
    assert box.flush(10)
    assert stores.raw.get("a") == 99
    assert stores.faults.calls.count("put_many") == 1
    assert stores.faults.calls.count("update") == 1


def test_what_is_soon_replaced_waits_for_the_next_delivery_and_no_longer(stores: Stores) -> None:
    box = stores.outbox(flush_seconds=30)
    box.write(Put("a", 1))
    box.write(Put("b", "running"), brief=True)
    box._deliver_some()
    assert (stores.raw.get("a"), stores.raw.get("b"), box.pending) == (1, None, 1)
    box._deliver_some()
    assert (stores.raw.get("b"), box.pending) == (None, 1)
    box.write(Put("b", "completed"))
    box._deliver_some()
    assert (stores.raw.get("b"), box.pending) == ("completed", 0)
    assert stores.faults.calls.count("put_many") == 2
    # Whoever waits is not made to wait for that, and what nothing replaces goes by itself.
    box.write(Put("b", "running"), brief=True)
    assert box.flush(10)
    assert stores.raw.get("b") == "running"
    quick = stores.outbox(flush_seconds=0.5)
    quick.write(Put("c", "running"), brief=True)
    wait_until(lambda: stores.raw.get("c") == "running", 60, "it is delivered")


@pytest.mark.parametrize("after", [False, True], ids=["before it took effect", "after it took effect"])
def test_any_single_failure_changes_nothing(stores: Stores, after: bool) -> None:
    stores.raw.put("source", "s")
    box = stores.outbox()
    _everything(box)
    assert box.settle(10)
    calls = len(stores.faults.calls)
    assert calls >= 8
    for nth in range(1, calls + 1):
        stores.raw.delete_many(["a", "b", "count", "target", "total", METRICS, f"expops_prefect:steps:{METRICS}"])
        stores.raw_objects.delete("artifacts/x/chart.png")
        stores.faults.calls.clear()
        stores.faults.nth, stores.faults.after = nth, after
        box = stores.outbox()
        _everything(box)
        assert box.settle(20), nth
        assert len(stores.faults.calls) > nth, "the failing call was made and made again"
        stores.faults.nth = None
        _check_everything(stores)
        box.close(5)


def test_an_outage_loses_nothing_and_is_said_once(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    stores.raw.put("source", "s")
    stores.faults.down = True
    box = stores.outbox()
    before = counts().get("record delayed", 0)
    _everything(box)
    assert not box.flush(0.5)
    assert box.failing
    assert not box.flush(30, while_failing=False), "does not wait while the store is known to be away"
    assert box.pending == 12
    stores.faults.down = False
    assert box.settle(20)
    _check_everything(stores)
    assert counts()["record delayed"] > before
    assert sum("record delayed" in record.message for record in caplog.records) == 1


def test_nobody_waits_for_what_no_waiting_mends(stores: Stores, tmp_path: Path) -> None:
    """The time limit of the suite is what an hour of waiting would meet."""
    path = tmp_path / "no-database" / "kv.sqlite"
    path.parent.mkdir()
    path.write_bytes(b"this is not a database" * 100)
    kv = SQLiteKV(path)
    box = Outbox(kv, stores.objects, tmp_path / "waiting", flush_seconds=0.05)
    box.write(Put("a", 1))
    assert not box.flush(3600)
    assert not box.settle(3600)
    assert box.hopeless
    assert box.pending == 1
    # Somebody moves the file away; nobody has to do more than that.
    kv.close()
    path.unlink()
    wait_until(lambda: box.pending == 0, 60, "it is delivered")
    assert box.close(10)
    assert SQLiteKV(path).get("a") == 1


def test_a_full_disk_is_waited_for_by_nobody(stores: Stores) -> None:
    box = stores.outbox()
    stores.faults.kind, stores.faults.nth = "full disk", 1
    box.write(Put("a", 1))
    assert not box.flush(3600)
    stores.faults.nth = None
    wait_until(lambda: box.pending == 0, 60, "it is delivered")
    assert stores.raw.get("a") == 1


def test_the_next_process_delivers_what_was_left(stores: Stores) -> None:
    stores.raw.put("source", "s")
    stores.faults.down = True
    dead = stores.outbox()
    _everything(dead)
    dead.close(0.1)
    assert len(stores.journals()) >= 2
    stores.faults.down = False
    assert stores.outbox().deliver_orphans() == 12
    _check_everything(stores)
    assert stores.journals() == []


def test_a_journal_of_a_living_process_is_left_alone(stores: Stores) -> None:
    stores.faults.down = True
    living = stores.outbox()
    living.write(Put("a", 1))
    stores.faults.down = False
    assert stores.outbox().deliver_orphans() == 0
    assert living.settle(20)
    assert stores.raw.get("a") == 1


def test_a_journal_of_this_process_is_left_alone_by_whatever_path_it_is_reached(stores: Stores) -> None:
    stores.faults.down = True
    living = stores.outbox()
    living.write(Put("a", 1))
    link = living.folder.with_name("linked")
    link.symlink_to(living.folder)
    assert list(Journal.orphans(link)) == []
    assert list(Journal.waiting_in(link)) == list(Journal.waiting_in(living.folder)) == [Put("a", 1)]
    # Nor does a look at it free its lock: another process would deliver the same once more.
    code = "import sys, pathlib; from expops_prefect.stores.outbox.journal import Journal; "
    code += "print(len(list(Journal.orphans(pathlib.Path(sys.argv[1])))))"
    other = subprocess.run([sys.executable, "-c", code, str(link)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "0"
    stores.faults.down = False
    assert living.settle(20)
    assert stores.raw.get("a") == 1


CHILD = """
import sys, time
from pathlib import Path
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.stores.objects.local.store import LocalObjects
from expops_prefect.stores.outbox.changes import Append, Increment, Put
from expops_prefect.stores.outbox.outbox import Outbox
folder = Path(sys.argv[1])
box = Outbox(SQLiteKV(folder / "kv.sqlite"), LocalObjects(folder / "objects"), folder / "outbox", flush_seconds=0.002)
number = 0
while True:
    number += 1
    box.write(Append(sys.argv[2], [LoggedPoint("n", number)]), Increment("count"), Put("last", number))
    print(number, flush=True)
    time.sleep(0.0005)
"""


def test_a_killed_process_loses_and_doubles_nothing(stores: Stores, tmp_path: Path) -> None:
    for round_ in range(5):
        key = names.metrics_key("run", f"//process[@name='k{round_}']")
        stores.raw.delete_many(["count", "last"])
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), key], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        said = [int(next(child.stdout)) for _ in range(40 + 37 * round_)]
        child.send_signal(signal.SIGKILL)
        said += [int(line) for line in child.stdout if line.endswith("\n")]
        child.wait()
        child.stdout.close()
        stores.outbox().deliver_orphans()
        # The process may have been killed between taking a change in and saying so.
        (series,) = (stores.raw.get(key) or {}).values()
        assert len(series) in (said[-1], said[-1] + 1)
        assert list(series.items()) == [(str(number), number) for number in range(1, len(series) + 1)]
        assert stores.raw.get_many(["count", "last"]) == {"count": len(series), "last": len(series)}
        assert stores.journals() == []


def test_what_was_delivered_but_not_noted_is_not_counted_twice(stores: Stores) -> None:
    """A process is killed between the delivery and the note of it."""
    stores.raw.put("source", "s")
    box = stores.outbox(flush_seconds=30)
    _everything(box)
    journal = box._journal
    assert journal is not None
    finish = journal.finish
    journal.finish = lambda end: None  # type: ignore[method-assign]
    with box._delivering:
        box._deliver(journal)
    _check_everything(stores)
    journal.finish = finish  # type: ignore[method-assign]
    journal.release()
    box._journal = None
    assert stores.outbox().deliver_orphans() == 12
    _check_everything(stores)


def test_half_a_line_is_no_change(stores: Stores) -> None:
    stores.folder.mkdir()
    journal = Journal.create(stores.folder)
    journal.append(b'["put","a",1]\n["put","b",')
    journal.release()
    assert stores.outbox().deliver_orphans() == 1
    assert stores.raw.get("a") == 1
    assert stores.raw.get("b") is None
    assert stores.journals() == []


def test_a_journal_of_a_newer_release_is_left_alone(stores: Stores) -> None:
    stores.folder.mkdir()
    (stores.folder / "x.journal").write_bytes(b'{"expops-prefect journal":2}\n["put","a",1]\n')
    assert stores.outbox().deliver_orphans() == 0
    assert stores.journals() == ["x.journal"]


def test_changes_that_only_a_newer_release_knows_are_kept_for_it(stores: Stores) -> None:
    stores.folder.mkdir()
    journal = Journal.create(stores.folder)
    journal.append(dump(Change("newer", "not.known", {})))
    journal.release()
    with pytest.raises(KVError, match="upgrade"):
        stores.outbox().deliver_orphans()
    assert stores.journals()
    register_change("not.known", _add_one)
    assert stores.outbox().deliver_orphans() == 1
    assert stores.raw.get("newer")["sum"] == 1  # type: ignore[index]


def test_a_denied_object_does_not_hold_up_records(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(key: str, parts: object, *, read_only: bool = False) -> None:
        raise ObjectStoreRefusedError("denied")

    monkeypatch.setattr(stores.raw_objects, "put", denied)
    box = stores.outbox()
    box.write_object("artifacts/x/chart.png", b"picture")
    box.write(Put("a", 1))
    assert box.settle(10)
    assert stores.raw.get("a") == 1


def test_refused_changes_do_not_hold_up_others(stores: Stores) -> None:
    box = stores.outbox()
    box.write(Change("bad", "test.fail", {}), Put("a", 1))
    box.write(Increment("text"))
    stores.raw.put("text", "no counter")
    box.write(Put("b", 2))
    with pytest.raises(KVError):
        stores.raw.increment("text")
    assert box.settle(10)
    assert stores.raw.get_many(["a", "b"]) == {"a": 1, "b": 2}


def test_without_a_writable_folder_the_record_waits_in_memory(stores: Stores) -> None:
    stores.raw.put("source", "s")
    stores.folder.write_text("a file, not a folder")
    box = stores.outbox()
    _everything(box)
    assert box.flush(10)
    _check_everything(stores)


def test_a_full_disk_keeps_the_order(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    box = stores.outbox(flush_seconds=30)
    box.write(Put("a", 1))
    journal = box._journal
    assert journal is not None

    def full(lines: bytes) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(journal, "append", full)
    box.write(Put("a", 2), Append(METRICS, [LoggedPoint("loss", 1)]))
    monkeypatch.undo()
    box.write(Put("a", 3))
    assert box.flush(10)
    assert stores.raw.get("a") == 3
    assert stores.raw.get(METRICS) == {"loss": {"1": 1}}


def test_in_memory_every_change_counts_once_whatever_fails_and_follows(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "_BATCH_CHANGES", 3)
    stores.folder.write_text("a file, not a folder")
    box = stores.outbox()
    stores.faults.down, stores.faults.after = True, True  # each write takes effect, and fails all the same
    box.write(Increment("count"), Change("sum", "test.add", {"amount": 1}), Append(METRICS, [LoggedPoint("m", 1.0)]))
    wait_until(lambda: box.failing, 20, "a failure")
    for _ in range(4):
        box.write(Increment("count"), Change("sum", "test.add", {"amount": 1}))
        box.write(Append(METRICS, [LoggedPoint("m", 2.0)]))
    stores.faults.down = False
    assert box.flush(20)
    assert stores.raw.get("count") == 5
    assert stores.raw.get("sum")["sum"] == 5  # type: ignore[index]
    assert stores.raw.get(METRICS) == {"m": {"1": 1.0, "2": 2.0, "3": 2.0, "4": 2.0, "5": 2.0}}


def test_charts_in_memory_are_not_taken_for_each_other(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "_BATCH_CHANGES", 1)
    stores.folder.write_text("a file, not a folder")
    box = stores.outbox()
    held, go = threading.Event(), threading.Event()
    put = stores.raw_objects.put

    def slow(key: str, buffers: Any, **options: Any) -> Any:
        if key.endswith("2.png"):
            held.set()
            assert go.wait(20)
        return put(key, buffers, **options)

    monkeypatch.setattr(stores.raw_objects, "put", slow)
    for number in (1, 2, 3):
        box.write_object(f"artifacts/x/{number}.png", b"chart %d" % number)
    assert held.wait(20)
    box.write_object("artifacts/x/4.png", b"chart 4")
    go.set()
    assert box.flush(20)
    for number in (1, 2, 3, 4):
        assert stores.raw_objects.get(f"artifacts/x/{number}.png") == b"chart %d" % number


def test_a_disk_that_is_full_from_the_start_costs_no_descriptors_or_files(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    box = stores.outbox()
    monkeypatch.setattr(os, "write", full)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        box.write(Put("a", number))
        assert box.flush(20)
    assert stores.journals() == []
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 10
    assert stores.raw.get("a") == 19


def test_a_chart_that_is_logged_again_leaves_no_bytes_behind(stores: Stores) -> None:
    box = stores.outbox(flush_seconds=60)
    for number in range(5):
        box.write_object("artifacts/x/chart.png", b"chart %d" % number)
    assert box.flush(20)
    assert stores.raw_objects.get("artifacts/x/chart.png") == b"chart 4"
    assert [name for name in stores.journals() if name.endswith(".blob")] == []


def test_settling_waits_no_longer_than_it_is_told(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go, settled = threading.Event(), threading.Event(), threading.Event()

    def slow(key: str, amount: int = 1, **options: Any) -> int:
        begun.set()
        assert go.wait(60)
        return amount

    monkeypatch.setattr(stores.raw, "increment", slow)
    box = stores.outbox()
    box.write(Increment("a"))
    assert begun.wait(20)

    def settle() -> None:
        box.settle(0.1)
        settled.set()

    threading.Thread(target=settle).start()
    assert settled.wait(20)
    go.set()
    assert box.flush(20)


def test_looking_for_what_others_left_ends_in_time(stores: Stores) -> None:
    dead = stores.outbox()
    stores.faults.down = True
    dead.write(Put("a", 1))
    wait_until(lambda: dead.failing, 20, "a failure")
    assert dead._journal is not None
    dead._journal.release()
    dead._journal = None
    stores.faults.down = False
    box = stores.outbox()
    assert box.deliver_orphans(0) == 0
    assert box.deliver_orphans() == 1


def test_threads_share_an_outbox(stores: Stores) -> None:
    box = stores.outbox()

    def write(thread: int) -> None:
        for number in range(200):
            box.write(Append(METRICS, [LoggedPoint(f"t{thread}", number)]), Increment("count"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert box.settle(20)
    series = stores.raw.get(METRICS)
    assert series == {f"t{n}": {str(step + 1): step for step in range(200)} for n in range(8)}
    assert stores.raw.get("count") == 1600


def test_a_forked_child_has_an_outbox_of_its_own(stores: Stores) -> None:
    box = stores.outbox(flush_seconds=30)
    box.write(Put("parent", 1), Increment("count"))
    child = os.fork()
    if child == 0:
        box.write(Put("child", 1), Increment("count"))
        os._exit(0 if box.settle(10) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert stores.raw.get_many(["parent", "child"]) == {"child": 1}
    assert box.settle(10)
    assert stores.raw.get_many(["parent", "child", "count"]) == {"parent": 1, "child": 1, "count": 2}


def test_two_outboxes_number_one_series_without_gaps(stores: Stores) -> None:
    boxes = [stores.outbox(), stores.outbox()]

    def write(box: Outbox) -> None:
        for _ in range(100):
            box.write(Append(METRICS, [LoggedPoint("loss", 1)]))

    threads = [threading.Thread(target=write, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(box.settle(20) for box in boxes)
    assert stores.raw.get(METRICS) == {"loss": {str(step): 1 for step in range(1, 201)}}


def test_far_away_stores_are_written_side_by_side(stores: Stores) -> None:
    stores.faults.delay = 0.05
    box = stores.outbox(parallel=8, flush_seconds=30)
    most: list[int] = []
    inside = 0
    lock = threading.Lock()
    update = stores.raw.update

    def watched(key: str, change: Any) -> JSON:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
        try:
            wait_until(lambda: max(most) >= 4, 5, "four at once")
            return update(key, change)
        finally:
            with lock:
                inside -= 1

    stores.raw.update = watched  # type: ignore[method-assign]
    for number in range(8):
        box.write(Change(f"t{number}", "test.add", {"amount": 1}))
    assert box.flush(20)
    assert max(most) >= 4


@pytest.mark.parametrize("damage", ["plan", "head"])
def test_a_damaged_journal_is_said_and_kept_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_project(tmp_path / "shop")
    project = Project(load_settings(root, environ={}))
    folder = project.outbox.folder
    good, bad = (Journal.create(folder, "shop") for _ in range(2))
    for journal, key in ((good, "good"), (bad, "bad")):
        journal.append(dump(Put(key, 1)))
        journal.release()
    if damage == "plan":
        bad.path.with_suffix(".plan").write_bytes(b"garbage")
    else:
        bad.path.write_bytes(b"garbage\n" + dump(Put("bad", 1)))
    before = bad.path.read_bytes()
    for _ in range(2):
        assert sync(root) == PROBLEM, "as long as it lies there"
        assert f"{bad.path.name}.damaged is damaged" in capsys.readouterr().err
    assert caplog.text.count("journals damaged") == 1
    assert project.kv.get_many(["good", "bad"]) == {"good": 1}
    assert bad.path.with_name(f"{bad.path.name}.damaged").read_bytes() == before
    for path in folder.iterdir():
        path.unlink()
    assert sync(root) == OK


def test_another_projects_journal_is_not_delivered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_project(tmp_path / "shop")
    project = Project(load_settings(root, environ={}))
    for whose in ("other", ""):
        journal = Journal.create(project.outbox.folder, whose)
        journal.append(dump(Put(whose or "of an older release", 1)))
        journal.release()
    assert sync(root) == PROBLEM
    assert "of the project 'other'" in capsys.readouterr().err
    assert project.kv.get_many(["other", "of an older release"]) == {"of an older release": 1}
    (left,) = Journal.orphans(project.outbox.folder, "other")
    assert left.read(1000)[0] == [Put("other", 1)]
    left.release()


@pytest.mark.parametrize("loss", ["file", "folder", "moved"])
def test_what_was_delivered_to_a_lost_database_is_delivered_again(tmp_path: Path, loss: str) -> None:
    folder = tmp_path / "runtime"
    kv, objects = SQLiteKV(folder / "kv.db"), LocalObjects(folder / "objects")
    box = Outbox(kv, objects, folder / "outbox", flush_seconds=0.01)
    for number in range(3):
        box.write(Put(f"k{number}", number), Append(METRICS, (LoggedPoint("loss", float(number)),)))
        box.write(Increment("n", 1), Change("c", "test.add", {"amount": 1}), KeepObject("kept", b"bytes"))
        assert box.flush(10)
    if loss == "file":
        for path in folder.glob("kv.db*"):
            path.unlink()
    elif loss == "folder":
        shutil.rmtree(folder)
    else:
        folder.rename(tmp_path / "elsewhere")
    for _ in range(2):
        box.write(
            Append(METRICS, (LoggedPoint("loss", 9.0),)), Increment("n", 1), Change("c", "test.add", {"amount": 1})
        )
        assert box.flush(10)
    assert [kv.get(f"k{number}") for number in range(3)] == [0, 1, 2]
    assert kv.get(METRICS) == {"loss": {"1": 0.0, "2": 1.0, "3": 2.0, "4": 9.0, "5": 9.0}}
    found = kv.get("c")
    assert (kv.get("n"), found and found["sum"]) == (5, 5)
    assert kv.renewals == 1
    if loss != "file":
        assert objects.get("kept") == b"bytes"
        assert len(list((folder / "outbox").glob("*.journal"))) == 1
    assert box.close(10)
