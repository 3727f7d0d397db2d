"""The store that fails on purpose is a KV store like any other while it is not to fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.testing.faults import Faults, FaultyKV
from expops_prefect.testing.kv_samples import RawKV
from expops_prefect.testing.kv_suite import KVConformance
from tests.stores.kv.test_sqlite import Rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.sqlite"


@pytest.fixture
def store(path: Path) -> FaultyKV:
    return FaultyKV(SQLiteKV(path), Faults())


@pytest.fixture
def raw(path: Path) -> RawKV:
    return Rows(path)


class TestConformance(KVConformance):
    pass
