"""``cache load``: what it prints, what it writes, and what it says where it cannot."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from expops_prefect import Project
from expops_prefect.cache import results
from expops_prefect.serialization.manifest import pack
from tests.cli.conftest import Command
from tests.config.support import make_project
from tests.support.cached import metadata_of
from tests.support.result_stores import own_key

KEY = own_key("one")
FRAME = pd.DataFrame({"name": ["a", "b"], "size": [1.5, 2.5]})


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in the current folder, without runs."""
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}\n")
    monkeypatch.chdir(root)
    return Project.open(root)


def put(project: Project, value: Any) -> None:
    made = results.write_result(project, KEY, pack(value), None)
    results.write_record(project, KEY, replace(made, prefect_metadata=metadata_of(KEY)), None)


# What is printed ---------------------------------------------------------------------------------


def test_of_a_run(cli: Command, recorded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded.settings.root)
    assert cli("cache", "load", "latest", "train", "--call", 2).out == "6\n"
    run = recorded.runs()[-1].run_id
    as_json = cli("cache", "load", run, "train_final", "--json").json()
    assert (as_json["value"], as_json["run"], as_json["type"]) == (5, run, "int")
    assert as_json["key"].startswith("train_final/")
    assert as_json["path"] == "//process[@name='train_final']"
    unknown = cli("cache", "load", "latest", "tarin")
    assert (unknown.code, unknown.out) == (1, "")
    assert unknown.err.startswith("no process or step 'tarin' in run ")
    several = cli("cache", "load", "latest", "train")
    assert (several.code, several.out) == (1, "")
    assert "give its number as call: train #1, train #2" in several.err
    assert cli("cache", "load", "train_final", "--call", 1).err == "--call needs a run and a process\n"
    assert cli("cache", "load", "nowhere", "train").err.startswith("no run 'nowhere' in ")


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ({"a": [1, 2], "token": "as it is"}, "{'a': [1, 2], 'token': 'as it is'}\n"),
        ("two\nlines \x1b[31m", "'two\\nlines \\x1b[31m'\n"),
        (None, "None\n"),
        (np.arange(3), "array([0, 1, 2])\n"),
        (FRAME, "  name  size\n0    a   1.5\n1    b   2.5\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_small_is_printed(cli: Command, shop: Project, value: Any, printed: str) -> None:
    put(shop, value)
    done = cli("cache", "load", "train")
    assert (done.code, done.out, done.err) == (0, printed, "")


class Noisy:
    def __repr__(self) -> str:
        return "\x1b[31mred\nsecond [bold]line"


def test_what_a_class_says_of_itself_does_not_move_the_cursor(cli: Command, shop: Project) -> None:
    put(shop, Noisy())
    assert cli("cache", "load", KEY).lines == ["\\x1b[31mred", "second [bold]line"]


def test_what_is_large_is_described(cli: Command, shop: Project) -> None:
    put(shop, [{"number": number} for number in range(20_000)])
    done = cli("cache", "load", KEY)
    assert (done.code, done.lines) == (0, ["list with 20000 items"])
    assert done.err.endswith("write it with --output, as .json, .joblib, .pkl, .pickle\n")
    put(shop, np.zeros(200_000))
    done = cli("cache", "load", KEY)
    assert done.lines == ["array([0., 0., 0., ..., 0., 0., 0.], shape=(200000,))"]
    assert "MiB, computed " in done.err
    assert done.err.endswith("write it with --output, as .npy, .joblib, .pkl, .pickle\n")
    put(shop, list(range(3000)))
    done = cli("cache", "load", KEY)
    assert len(done.lines) == 200
    assert "write it with --output" in done.err


def test_as_json_only_what_json_can_say(cli: Command, shop: Project) -> None:
    put(shop, {"array": np.arange(3)})
    assert cli("cache", "load", KEY, "--json").json().keys() == {"key", "run", "path", "type", "size"}


@pytest.mark.parametrize("name", [(KEY,), ("train",), ("latest", "train")])
def test_looking_creates_nothing(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Any) -> None:
    monkeypatch.chdir(make_project(tmp_path / "new", "prefect: {project_id: new}\n"))
    done = cli("cache", "load", *name)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("no runs yet in " if len(name) == 2 else "no cached result under 'train")
    assert not list(tmp_path.rglob("*.sqlite"))


# What is written ---------------------------------------------------------------------------------


def same(found: Any, value: Any) -> None:
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(found, value)
    elif isinstance(value, pd.Series | pl.DataFrame | pa.Table):
        assert found.equals(value)
    else:
        np.testing.assert_equal(found, value)


@pytest.mark.parametrize(
    ("value", "name", "read"),
    [
        (FRAME, "frame.parquet", pd.read_parquet),
        (FRAME, "frame.csv", pd.read_csv),
        (FRAME, "FRAME.CSV", pd.read_csv),
        (FRAME.set_index("name"), "indexed.csv", lambda path: pd.read_csv(path, index_col="name")),
        (FRAME["size"], "series.csv", lambda path: pd.read_csv(path)["size"]),
        (FRAME["size"], "series.parquet", lambda path: pd.read_parquet(path)["size"]),
        (pl.DataFrame({"a": [1, 2]}), "polars.parquet", pl.read_parquet),
        (pl.DataFrame({"a": [1, 2]}), "polars.csv", pl.read_csv),
        (pa.table({"a": [1, 2]}), "arrow.parquet", parquet.read_table),
        (pa.table({"a": [1, 2]}), "arrow.csv", lambda path: pa.table({"a": pl.read_csv(path)["a"].to_list()})),
        (np.arange(6.0).reshape(2, 3), "array.npy", np.load),
        (np.float32(0.5), "number.npy", lambda path: np.load(path)[()]),
        ({"a": [1, None, "ü"]}, "value.json", lambda path: json.loads(path.read_text())),
        ({"a": (1, b"x")}, "value.pkl", lambda path: pickle.loads(path.read_bytes())),
        ({"a": np.arange(3)}, "value.pickle", lambda path: pickle.loads(path.read_bytes())),
        ({"a": np.arange(3)}, "value.joblib", joblib.load),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files(cli: Command, shop: Project, tmp_path: Path, value: Any, name: str, read: Any) -> None:
    put(shop, value)
    path = tmp_path / name
    path.write_text("what was there")
    done = cli("cache", "load", KEY, "-o", path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("wrote ")
    found = read(path)
    assert type(found) is type(value)
    same(found, value)
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == [name], "nothing else is left"
    assert cli("cache", "load", KEY, "--output", path, "--json").json()["written"] == str(path)


@pytest.mark.parametrize(
    ("value", "name", "says"),
    [
        (
            FRAME,
            "frame.npy",
            "a DataFrame cannot be written as .npy; these endings fit it: .parquet, .csv, .joblib",
        ),
        ([1], "list.csv", "a list cannot be written as .csv; these endings fit it: .json, .joblib, .pkl, .pickle"),
        ([float("nan")], "nan.json", "a list cannot be written as .json; these endings fit it: .joblib, .pkl, .pickle"),
        (np.array([{}]), "objects.npy", "a ndarray cannot be written as .npy; these endings fit it: .joblib, .pkl"),
        (np.ma.masked_array([1], [True]), "masked.npy", "a MaskedArray cannot be written as .npy"),
        ([1], "list.xlsx", "a list cannot be written as .xlsx; these endings fit it: .json"),
        ([1], "list", "list has no ending; these endings fit it: .json, .joblib, .pkl, .pickle"),
        ([1], "nowhere/list.json", "is not a folder"),
        ([1], "folder.json", "is a folder; name a file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_ending_that_does_not_fit_says_which_do(
    cli: Command, shop: Project, tmp_path: Path, value: Any, name: str, says: str
) -> None:
    put(shop, value)
    (tmp_path / "folder.json").mkdir()
    done = cli("cache", "load", KEY, "-o", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert says in done.err
    assert len(done.err.splitlines()) == 1
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == []


def test_what_a_library_cannot_write_says_what_to_try(cli: Command, shop: Project, tmp_path: Path) -> None:
    put(shop, pd.DataFrame({"mixed": [1, "a", {}]}))
    done = cli("cache", "load", KEY, "-o", tmp_path / "mixed.parquet")
    assert (done.code, done.out) == (1, "")
    assert "cannot be written as .parquet: " in done.err
    assert done.err.endswith("; try .csv, .joblib, .pkl, .pickle\n")
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == []


def test_a_library_that_is_missing_is_named(
    cli: Command, shop: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop, [1])
    monkeypatch.setattr("expops_prefect.cli.result_files.find_spec", lambda _: None)
    done = cli("cache", "load", KEY, "-o", tmp_path / "list.joblib")
    assert done.err == "a list cannot be written as .joblib; these endings fit it: .json, .pkl, .pickle\n"
    assert done.code == 2
