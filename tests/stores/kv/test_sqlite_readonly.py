"""A database on a file system that is mounted read-only can be read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from tests.support.readonly import ended, read_only

WRITER = """
import os, sys
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
kv = SQLiteKV(sys.argv[1])
kv.put_many({"a": 1, "b": 2})
if sys.argv[2] == "closed":
    kv.close()
os._exit(0)
"""
READER = """
import sys
from expops_prefect.errors import KVError
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
kv = SQLiteKV(sys.argv[1])
print(kv.get("a"), kv.get_many(["b"]), list(kv.scan("")), kv.get_versioned("a").value)
for write in (lambda: kv.put("a", 2), lambda: kv.delete("a"), lambda: kv.update("a", lambda value: 3), kv.ping):
    try:
        write()
    except KVError as error:
        print("mounted read-only" in str(error), error.lasting)
input()
print(kv.get("a"))
"""


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_what_was_written_is_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "metrics.sqlite"
    subprocess.run([sys.executable, "-c", WRITER, str(path), end], check=True)
    # Who was killed leaves a log with what it wrote last.
    assert (end == "killed") == path.with_name("metrics.sqlite-wal").exists()
    before = sorted(os.listdir(tmp_path))  # noqa: PTH208
    reader = read_only(tmp_path, READER, str(path))
    assert reader.stdout is not None
    assert reader.stdout.readline() == "1 {'b': 2} [('a', 1), ('b', 2)] 1\n"
    assert [reader.stdout.readline() for _ in range(4)] == ["True True\n"] * 4
    assert sorted(os.listdir(tmp_path)) == before  # noqa: PTH208
    # For others it is writable.
    writer = SQLiteKV(path)
    writer.put("a", "changed")
    writer.close()
    assert reader.stdin is not None
    reader.stdin.write("\n")
    assert ended(reader) == ["changed"]


def test_where_nothing_is(tmp_path: Path) -> None:
    code = """
import sys
from expops_prefect.errors import KVError
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
try:
    SQLiteKV(sys.argv[1] + "/new/metrics.sqlite").get("a")
except KVError as error:
    print("mounted read-only" in str(error))
"""
    assert ended(read_only(tmp_path, code, str(tmp_path))) == ["True"]
