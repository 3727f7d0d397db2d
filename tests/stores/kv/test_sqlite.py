from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import orjson
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest

from expops_prefect.errors import KVDamagedError, KVError
from expops_prefect.stores.kv import tolerant_reads
from expops_prefect.stores.kv.base import JSON, MetricPoint
from expops_prefect.stores.kv.sqlite import connections as module
from expops_prefect.stores.kv.sqlite import schema
from expops_prefect.stores.kv.sqlite.store import SQLiteKV, _Borrowed
from expops_prefect.testing.kv_machine import kv_machine
from expops_prefect.testing.kv_samples import RawKV
from expops_prefect.testing.kv_suite import KVConformance


class Rows:
    """The same keys as rows of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, key: str) -> JSON | None:
        with closing(sqlite3.connect(self.path)) as connection:
            row = connection.execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return None if row is None else orjson.loads(row[0])

    def write(self, key: str, value: JSON) -> None:
        SQLiteKV(self.path).ping()  # makes the table
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("REPLACE INTO kv VALUES (?, ?, 0)", (key, orjson.dumps(value).decode()))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made when needed" / ".project" / "metrics.sqlite"


@pytest.fixture
def store(path: Path) -> SQLiteKV:
    return SQLiteKV(path)


@pytest.fixture
def raw(path: Path) -> RawKV:
    return Rows(path)


class TestConformance(KVConformance):
    pass


TestMachine = kv_machine(lambda: SQLiteKV(Path(tempfile.mkdtemp()) / "kv.sqlite"), examples=25).TestCase


def test_describe_names_the_file(store: SQLiteKV, path: Path) -> None:
    assert str(path) in store.describe()
    assert str(path) in repr(store)


def test_relative_path_does_not_follow_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = SQLiteKV("kv.sqlite")
    monkeypatch.chdir("/")
    store.put("k", 1)
    assert (tmp_path / "kv.sqlite").exists()


def _in_child(store: SQLiteKV, parents: sqlite3.Connection, pipe: Connection) -> None:
    # SQLite forbids the use of a connection across a fork, though it may seem to work.
    with store._reading("read") as connection:
        assert connection is not parents
    store.append_metrics("m", [MetricPoint("loss", 2, 2)])
    pipe.send([store.increment("k"), store.get("m")])
    store.close()
    os._exit(0)  # not through Prefect's own end of a process, which fails in a fork


def test_who_watches_the_file_alone_notices(store: SQLiteKV, path: Path) -> None:
    store.announce()
    assert not path.exists(), "nothing was written, nothing is made"
    store.put("k", 1)
    os.utime(path, (1, 1))
    store.put("k", 2)
    assert path.stat().st_mtime == 1, "what is written stands in another file first"
    store.announce()
    assert path.stat().st_mtime > 1
    assert store.get("k") == 2


def test_in_a_forked_child(store: SQLiteKV) -> None:
    store.append_metrics("m", [MetricPoint("loss", 1, 1)])
    assert store.increment("k") == 1
    context = get_context("fork")
    ours, theirs = context.Pipe()
    with store._reading("read") as connection:
        child = context.Process(target=_in_child, args=(store, connection, theirs))
    child.start()
    assert ours.recv() == [2, {"loss": {"1": 1, "2": 2}}]
    child.join()
    assert child.exitcode == 0
    # Its end has not dropped the parent's locks or connection.
    assert store.increment("k") == 3


def opened(path: Path) -> int:
    return [file.path for file in psutil.Process().open_files()].count(str(path))


def test_threads_that_end_leave_no_open_file(store: SQLiteKV, path: Path) -> None:
    store.put("k", 0)
    for _ in range(20):
        thread = threading.Thread(target=store.increment, args=("k",))
        thread.start()
        thread.join()
    # SQLite itself puts off closing a file on which the process holds locks.
    assert opened(path) < 5
    assert store.get("k") == 20
    store.close()
    assert opened(path) == 0


def test_a_killed_writer_leaves_a_whole_file(store: SQLiteKV, path: Path) -> None:
    code = f"""
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
store = SQLiteKV({str(path)!r})
for turn in range(10**9):
    store.put_many({{"a": turn, "b": turn, "filling": "x" * 3000}})
    if turn == 20:
        print("writing", flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.kill()
    found = store.get_many(["a", "b"])
    assert found["a"] == found["b"] >= 20
    assert store.increment("a") == found["a"] + 1


@pytest.mark.parametrize("content", [b"not a database, but long enough to look like one" * 30, b"\0" * 4096])
def test_a_file_that_is_no_database(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    store = SQLiteKV(path)
    for call in (lambda: store.get("k"), lambda: store.put("k", 1), store.ping):
        with pytest.raises(KVError, match=r"Move the file away") as caught:
            call()
        assert str(path) in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert path.read_bytes() == content


def test_a_value_that_is_not_json(store: SQLiteKV, path: Path) -> None:
    store.put("k", 1)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kv SET value = '{\"cut'")
    with pytest.raises(KVError, match="k is not JSON; delete the key"):
        store.get("k")
    assert store.delete("k") is True


@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_cannot_be_written(tmp_path: Path, existing: bool) -> None:
    # A mode would not stop root, who may be running the tests; a file in the folder's place does.
    (tmp_path / "file").write_text("")
    store = SQLiteKV(tmp_path / "file" / "kv.sqlite" if existing else Path("/proc/no/kv.sqlite"))
    with pytest.raises(KVError, match=r"EXPOPS_RUNTIME_DIR") as caught:
        store.ping()
    assert isinstance(caught.value.__cause__, OSError)


def test_a_file_that_cannot_be_written(store: SQLiteKV, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("k", 1)
    connect = sqlite3.connect

    def read_only(file: Path, **options: object) -> sqlite3.Connection:
        return connect(f"file:{file}?mode=ro", uri=True, **options)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    other = SQLiteKV(path)
    assert other.get("k") == 1
    with pytest.raises(KVError, match="Make the file and its folder writable"):
        other.ping()


def test_a_lock_that_is_held_too_long(store: SQLiteKV, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("k", 1)
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)
    other = SQLiteKV(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert other.get("k") == 1  # readers do not wait
        with pytest.raises(KVError, match="which one has the file open"):
            other.put("k", 2)
    other.put("k", 3)
    assert store.get("k") == 3


def test_a_lock_that_is_held_while_the_file_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr(schema, "BUSY_SECONDS", 0.2)
    path.parent.mkdir(parents=True)
    store = SQLiteKV(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(KVError, match="which one has the file open"):
            store.put("k", 2)
    store.put("k", 3)
    assert store.get("k") == 3


def test_a_full_disk(store: SQLiteKV, path: Path) -> None:
    store.put("k", 1)
    with closing(sqlite3.connect(path)) as probe:
        pages = probe.execute("PRAGMA page_count").fetchone()[0]
    with _Borrowed(store._connections.writing, "write", path) as connection:
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(KVError, match="Free some disk space"):
        store.put_many({"k": 2, "large": "x" * 100_000})
    assert store.get_many(["k", "large"]) == {"k": 1}


def test_a_text_that_is_not_utf_8_hides_no_others(store: SQLiteKV, path: Path) -> None:
    store.put_many({f"k{number}": number for number in range(5)})
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kv SET value = CAST(x'22ff22' AS TEXT) WHERE key = 'k2'")
    left: list[str] = []
    assert dict(tolerant_reads.scan(store, "k", damaged=left.append)) == {"k0": 0, "k1": 1, "k3": 3, "k4": 4}
    assert left == ["k2"]
    assert tolerant_reads.get_many(store, ["k1", "k2", "k3"]) == {"k1": 1, "k3": 3}
    for read in (store.get, store.get_versioned):
        with pytest.raises(KVDamagedError) as error:
            read("k2")
        assert error.value.key == "k2"
    assert store.get("k1") == 1, "the connection reads texts again"
    assert store.delete("k2")
