"""The file's schema: ExpOps' own table, what we add to it, and files that others made."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from expops_prefect.errors import KVError
from expops_prefect.models import names
from expops_prefect.stores.kv.sqlite.schema import FORMAT
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.testing.kv_races import PROCESSES

EXPOPS_TABLE = "CREATE TABLE kv (key TEXT PRIMARY KEY, value TEXT, updated_at REAL)"
EXPOPS_INDEX = "CREATE INDEX idx_kv_updated_at ON kv(updated_at)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.sqlite"


def ask(path: Path, query: str, *values: object) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(query, values).fetchall()


def schema_of(path: Path) -> dict[str, list[tuple]]:
    names_ = [row[0] for row in ask(path, "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    columns = {name: ask(path, f"SELECT name, type, pk FROM pragma_table_info('{name}')") for name in names_}
    indexes = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    return {**columns, "indexes": ask(path, indexes), "user_version": ask(path, "PRAGMA user_version")}


def test_the_table_is_that_of_expops(path: Path) -> None:
    before = time.time()
    SQLiteKV(path).put("k", {"a": [1.5, None, "ü"]})
    assert schema_of(path)["kv"] == [("key", "TEXT", 1), ("value", "TEXT", 0), ("updated_at", "REAL", 0)]
    assert schema_of(path)["indexes"] == [("idx_kv_key_nocase",), ("idx_kv_updated_at",)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    [(key, value, updated_at)] = ask(path, "SELECT key, value, updated_at FROM kv")
    assert (key, value) == ("k", '{"a":[1.5,null,"ü"]}')
    assert before <= updated_at <= time.time()


def test_every_write_moves_updated_at(path: Path) -> None:
    store = SQLiteKV(path)
    store.ping()
    for change in (
        lambda: store.put("k", 1),
        lambda: store.put_many({"k": 2}),
        lambda: store.increment("k"),
        lambda: store.update("k", lambda value: (value or 0) + 1),
        lambda: store.compare_and_set("k", "4", 5),
    ):
        ask(path, "UPDATE kv SET updated_at = 0")
        change()
        assert ask(path, "SELECT updated_at FROM kv")[0][0] > 1.7e9
    assert store.get("k") == 5


def test_prefix_scans_of_expops_use_an_index(path: Path) -> None:
    SQLiteKV(path).put_many({names.row_key("r", f"//process[@name='{number}']"): {} for number in range(50)})
    query = "EXPLAIN QUERY PLAN SELECT key, value FROM kv WHERE key LIKE 'runs:r:steps:%'"
    assert "USING INDEX idx_kv_key_nocase" in ask(path, query)[0][3]
    ask(path, "DROP INDEX idx_kv_key_nocase")
    assert "SCAN" in ask(path, query)[0][3]


def test_a_file_that_expops_made(path: Path) -> None:
    ask(path, EXPOPS_TABLE)
    ask(path, EXPOPS_INDEX)
    ask(path, "INSERT INTO kv VALUES ('runs:r:status', '\"completed\"', 1.5), ('n', '{\"a\": NaN}', 2), ('c', '3', 2)")
    store = SQLiteKV(path)
    assert store.get("runs:r:status") == "completed"
    assert store.increment("c", token="t") == 4
    assert store.delete("n") is True
    store.put("runs:r2:status", "running")
    assert dict(store.scan("runs:")) == {"runs:r:status": "completed", "runs:r2:status": "running"}
    fresh = path.with_name("fresh.sqlite")
    SQLiteKV(fresh).ping()
    assert schema_of(path) == schema_of(fresh)
    assert ask(path, "SELECT updated_at FROM kv WHERE key = 'runs:r:status'") == [(1.5,)]


def test_a_file_of_our_first_format(path: Path) -> None:
    for statement in (EXPOPS_TABLE, EXPOPS_INDEX, "CREATE INDEX idx_kv_key_nocase ON kv(key COLLATE NOCASE)"):
        ask(path, statement)
    ask(path, "INSERT INTO kv VALUES ('c', '3', 1.5)")
    ask(path, "PRAGMA user_version = 1")
    assert SQLiteKV(path).increment("c", token="t") == 4
    assert SQLiteKV(path).increment("c", token="t") == 4
    assert ask(path, "PRAGMA user_version") == [(FORMAT,)]


def test_a_newer_format_is_refused_and_kept(path: Path) -> None:
    store = SQLiteKV(path)
    store.put("k", 1)
    store.close()
    ask(path, f"PRAGMA user_version = {FORMAT + 1}")
    for call in (lambda: store.get("k"), lambda: store.put("k", 2), store.ping):
        with pytest.raises(KVError, match=rf"format {FORMAT + 1}, this one supports {FORMAT}.*upgrade"):
            call()
    assert ask(path, "SELECT value FROM kv") == [("1",)]
    assert ask(path, "PRAGMA user_version") == [(FORMAT + 1,)]


def _first_use(path: Path) -> int:
    return SQLiteKV(path).increment("k")


def test_many_processes_make_one_file(tmp_path: Path) -> None:
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as processes:
        for turn in range(10):
            path = tmp_path / f"{turn}.sqlite"
            assert sorted(processes.map(_first_use, [path] * 8)) == list(range(1, 9))
