"""What compiled libraries open by themselves is seen through the functions that are given its path."""

from __future__ import annotations

import os
import pickle
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet
import pytest
from lxml import etree
from polars import read_csv
from pyarrow.parquet import read_table

from expops_prefect._internal.process import Parts
from expops_prefect.effects import generators, libraries
from expops_prefect.effects.readers import READERS as KNOWN
from expops_prefect.effects.readers import Reader
from expops_prefect.effects.watch import watching
from expops_prefect.models.effects import Seen

FRAME = pl.DataFrame({"a": [1, 2]})
TABLE = pa.table({"a": [1, 2]})
NAMED_BEFORE = (read_csv, read_table)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one.parquet", "two.parquet", "data/three.parquet"):
        Path(name).parent.mkdir(exist_ok=True)
        FRAME.write_parquet(name)
    FRAME.write_csv("in.csv")
    FRAME.write_ipc("in.ipc")
    FRAME.write_json("in.json")
    FRAME.write_ndjson("in.ndjson")
    pa.feather.write_feather(TABLE, "in.feather")
    Path("in.xml").write_text("<a/>")


def watched(body: Callable[[], Any]) -> Seen:
    with watching() as watch, suppress(OSError, pl.exceptions.PolarsError):
        body()
    return watch.seen()


def names(seen: Seen) -> set[str]:
    return {os.path.relpath(item.path) + ("/" if item.listing else "") for item in seen.reads if item.stamp} - {"."}


READERS: list[tuple[str, Callable[[], Any], set[str]]] = [
    ("pl.read_csv", lambda: pl.read_csv("in.csv"), {"in.csv"}),
    ("named before", lambda: read_csv("in.csv"), {"in.csv"}),
    ("pl.read_parquet", lambda: pl.read_parquet(Path("one.parquet")), {"one.parquet"}),
    ("pl.read_json", lambda: pl.read_json("in.json"), {"in.json"}),
    ("pl.read_ndjson", lambda: pl.read_ndjson("in.ndjson"), {"in.ndjson"}),
    ("pl.read_ipc", lambda: pl.read_ipc("in.ipc"), {"in.ipc"}),
    ("pl.scan_csv", lambda: pl.scan_csv("in.csv").collect(), {"in.csv"}),
    ("two", lambda: pl.read_parquet(["one.parquet", "two.parquet"]), {"one.parquet", "two.parquet"}),
    ("a pattern", lambda: pl.scan_parquet("*.parquet").collect(), {"./", "one.parquet", "two.parquet"}),
    ("a folder", lambda: pl.read_parquet("data"), {"data/", "data/three.parquet"}),
    ("pq.read_table", lambda: pa.parquet.read_table("one.parquet"), {"one.parquet"}),
    ("pq, named before", lambda: read_table("one.parquet"), {"one.parquet"}),
    ("pq.ParquetFile", lambda: pa.parquet.ParquetFile("one.parquet").read(), {"one.parquet"}),
    ("pq.read_schema", lambda: pa.parquet.read_schema("one.parquet"), {"one.parquet"}),
    ("pq, a folder", lambda: pa.parquet.read_table("data"), {"data/", "data/three.parquet"}),
    ("dataset", lambda: pa.dataset.dataset("data").to_table(), {"data/", "data/three.parquet"}),
    ("pa.csv", lambda: pa.csv.read_csv("in.csv"), {"in.csv"}),
    ("pa.feather", lambda: pa.feather.read_table("in.feather"), {"in.feather"}),
    ("pa.memory_map", lambda: pa.memory_map("in.ipc").read(), {"in.ipc"}),
    ("pd.read_parquet", lambda: pd.read_parquet("one.parquet"), {"one.parquet"}),
    ("pd.read_feather", lambda: pd.read_feather("in.feather"), {"in.feather"}),
    ("pd.read_csv", lambda: pd.read_csv("in.csv", engine="pyarrow"), {"in.csv"}),
    ("lxml", lambda: etree.parse("in.xml"), {"in.xml"}),
    ("bytes", lambda: pl.read_csv(b"a\n1\n"), set()),
    ("frames", lambda: FRAME.select(pl.col("a") + 1).group_by("a").len(), set()),
]


@pytest.mark.parametrize(("body", "expected"), [case[1:] for case in READERS], ids=[case[0] for case in READERS])
def test_what_is_read(body: Callable[[], Any], expected: set[str]) -> None:
    seen = watched(body)
    assert names(seen) == expected
    assert not seen.effects


EFFECTS: list[tuple[str, Callable[[], Any]]] = [
    ('file write: polars.write_csv("out")', lambda: FRAME.write_csv("out")),
    ('file write: polars.write_parquet("out")', lambda: FRAME.write_parquet("out")),
    ('file write: polars.sink_csv("out")', lambda: FRAME.lazy().sink_csv("out")),
    ('file write: pyarrow.parquet.write_table("out")', lambda: pa.parquet.write_table(TABLE, "out")),
    ('file write: pyarrow.csv.write_csv("out")', lambda: pa.csv.write_csv(TABLE, "out")),
    ('file write: DataFrame.to_parquet("out")', lambda: pd.DataFrame({"a": [1]}).to_parquet("out")),
    ('file write: pyarrow.dataset.write_dataset("out")', lambda: pa.dataset.write_dataset(TABLE, "out", format="csv")),
    ("network: polars.scan_parquet", lambda: pl.scan_parquet("s3://bucket.invalid/x.parquet")),
]


@pytest.mark.parametrize(("call", "body"), EFFECTS)
def test_what_is_written(call: str, body: Callable[[], Any]) -> None:
    assert call in {f"{effect.kind}: {effect.call}" for effect in watched(body).effects}


def test_what_is_absent_is_a_read() -> None:
    (absent,) = [item for item in watched(lambda: pl.read_csv("none.csv")).reads if item.path.endswith("none.csv")]
    assert absent.stamp is None


def test_a_plan_that_was_made_outside_is_read_where_it_is_carried_out() -> None:
    for number in range(5):
        FRAME.write_parquet(f"part-{number}.parquet")
    one, several = pl.scan_csv("in.csv"), pl.scan_parquet("part-*.parquet")
    assert names(watched(one.collect)) == {"in.csv"}
    assert [effect.kind for effect in watched(several.collect).effects] == ["lazy data"], "not all are named"


def test_temporary_files_of_libraries_are_harmless() -> None:
    import tempfile

    def body() -> None:
        with tempfile.TemporaryDirectory() as folder:
            FRAME.write_parquet(f"{folder}/a")
            pl.read_parquet(f"{folder}/a")

    assert watched(body) == Seen()


@pytest.mark.parametrize("module", [libraries, generators])
def test_bodies_that_begin_at_once_all_wait_until_they_can_be_observed(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    """As mapped task runs do, right after a library was imported."""
    monkeypatch.setattr(module, "of_process", Parts())
    drawing = ModuleType("drawing")
    vars(drawing).update(choice=random.choice, sample=random.sample, uniform=random.uniform)
    monkeypatch.setitem(sys.modules, "drawing", drawing)
    monkeypatch.setattr(generators, "_DRAW_ALONGSIDE", ("drawing",))
    wrapped: list[object] = []
    begin = threading.Barrier(8)

    def wrap(one: object) -> object:
        wrapped.append(one)
        time.sleep(0.01)
        return one

    monkeypatch.setattr(module, "_wrap" if module is libraries else "_counted", wrap)

    def body(_: int) -> int:
        begin.wait()
        module.install()
        return len(wrapped)

    with ThreadPoolExecutor(8) as pool:
        known = set(pool.map(body, range(8)))
    assert known == {len(wrapped)} != {0}
    assert len(set(map(id, wrapped))) == len(wrapped)


def test_a_module_that_a_thread_is_importing_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "of_process", Parts())
    wrapped: list[Reader] = []
    monkeypatch.setattr(libraries, "_wrap", wrapped.append)
    name = next(reader.module for reader in KNOWN if reader.module in sys.modules)
    with monkeypatch.context() as importing:
        importing.setattr(sys.modules[name].__spec__, "_initializing", True, raising=False)
        libraries.install()
    assert name not in {reader.module for reader in wrapped}
    wrapped.clear()
    libraries.install()
    assert {reader.module for reader in wrapped} == {name}


def test_functions_keep_their_names() -> None:
    watched(int)
    for function in (pl.read_csv, pa.csv.read_csv, pa.parquet.read_table, pa.parquet.ParquetFile, pa.memory_map):
        assert pickle.loads(pickle.dumps(function)) is function
