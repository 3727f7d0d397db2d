"""Stores of somebody else: proved by our suites, and used by naming them in the configuration."""

from __future__ import annotations

import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from expops_prefect.stores.kv.base import JSON
from expops_prefect.stores.kv.encoding import dump
from expops_prefect.testing import KVConformance, ObjectConformance, RawKV, RawObjects, kv_machine, object_machine
from tests.stores.shelf.shelf_stores.kv import ShelfKV
from tests.stores.shelf.shelf_stores.objects import TABLE, ShelfObjects


class KVFile:
    """The same keys in the file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self, key: str) -> JSON | None:
        values = json.loads(self.file.read_text())["values"]
        return json.loads(values[key]) if key in values else None

    def write(self, key: str, value: JSON) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        content = json.loads(self.file.read_text()) if self.file.exists() else {"values": {}, "tokens": {}}
        content["values"][key] = dump(value)
        self.file.write_text(json.dumps(content))


class ObjectRows:
    """The same objects in the database."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def get(self, key: str) -> bytes | None:
        with closing(sqlite3.connect(self.file)) as connection:
            row = connection.execute("SELECT data FROM objects WHERE key = ?", (f"p/{key}",)).fetchone()
        return None if row is None else row[0]

    def write(self, key: str, data: bytes) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(TABLE)
            stamp = "hex(randomblob(8)), julianday('now')"
            connection.execute(f"REPLACE INTO objects VALUES (?, {stamp}, ?)", (f"p/{key}", data))

    def keys(self) -> set[str]:
        with closing(sqlite3.connect(self.file)) as connection:
            return {row[0].removeprefix("p/") for row in connection.execute("SELECT key FROM objects")}


class TestKV(KVConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ShelfKV:
        return ShelfKV(tmp_path)

    @pytest.fixture
    def raw(self, tmp_path: Path) -> RawKV:
        return KVFile(tmp_path / "kv.json")


class TestObjects(ObjectConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ShelfObjects:
        return ShelfObjects(tmp_path / "objects.sqlite", "p/", tmp_path / "copies")

    @pytest.fixture
    def raw(self, tmp_path: Path) -> RawObjects:
        return ObjectRows(tmp_path / "objects.sqlite")


def _new_objects() -> ShelfObjects:
    folder = Path(tempfile.mkdtemp())
    return ShelfObjects(folder / "objects.sqlite", "p/", folder / "copies")


TestKVMachine = kv_machine(lambda: ShelfKV(Path(tempfile.mkdtemp())), examples=5).TestCase
TestObjectMachine = object_machine(_new_objects).TestCase
