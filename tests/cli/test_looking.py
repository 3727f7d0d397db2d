"""``runs`` and ``cache``: at a project with runs, and at one without."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.errors import ProcessNotFoundError, RunNotFoundError
from expops_prefect.models.names import normalise
from expops_prefect.record.process_rows import single_calls
from expops_prefect.record.run_lookup import short_run
from tests.cli.conftest import FLOW, NOISY, PREPARE, Command
from tests.config.support import make_project


@pytest.fixture(autouse=True)
def _in_the_project(recorded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = recorded.settings.root / "notebooks"
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)


# runs --------------------------------------------------------------------------------------------


def test_runs_list(cli: Command, recorded: Project) -> None:
    listed = cli("runs", "list")
    heading, newest, oldest = listed.lines
    assert heading.split() == ["run", "flow", "status", "started", "took"]
    second, first = recorded.runs()
    assert newest.startswith(f"{short_run(second.run_id)}  {FLOW}  completed  ")
    assert oldest.startswith(f"{short_run(first.run_id)}  {FLOW}  completed  ")
    assert (listed.code, listed.err) == (0, "")

    as_json = cli("runs", "list", "--json").json()
    assert [run["run_id"] for run in as_json] == [second.run_id, first.run_id]
    assert as_json[0]["flow"] == FLOW

    limited = cli("runs", "list", "--limit", 1)
    assert limited.lines[0].split() == heading.split()
    assert limited.lines[1].split()[:4] == newest.split()[:4], "the age after them may differ by now"
    assert len(limited.lines) == 2
    assert limited.err == "showing the newest 1; see more with --limit\n"
    assert len(cli("runs", "list", "--limit", 1, "--json").json()) == 1


@pytest.mark.parametrize("command", [("runs", "show"), ("runs", "diff"), ("cache", "explain"), ("graph",)])
def test_without_a_name_it_is_the_latest_run(cli: Command, recorded: Project, command: tuple[str, ...]) -> None:
    assert recorded.runs()[0].run_id == recorded.run("latest").run_id
    alone, named = cli(*command, "--json"), cli(*command, "latest", "--json")
    assert (alone.code, alone.json()) == (0, named.json())


def test_runs_show(cli: Command, recorded: Project) -> None:
    second, first = recorded.runs()
    shown = cli("runs", "show", "latest")
    assert shown.code == 0
    assert shown.lines[0].startswith(f"{second.run_id}: flow {FLOW} completed, 20")
    names = [line.split("  ")[0] for line in shown.lines[2:]]
    # What moves the cursor is a space in the name that is shown.
    assert "\x1b" not in shown.out
    both = "train #1\N{EN DASH}#2"
    assert names[:4] == [PREPARE, "train (2 calls)", both, "train_final"]
    assert names[4].startswith("noisy")
    drawn = [line.split("  ")[0] for line in shown.lines[7:11]]
    assert drawn[:3] == [PREPARE, "├── train (2 calls)", "└── train_final"]
    unfolded = cli("runs", "show", "latest", "--all")
    assert [line.split("  ")[0] for line in unfolded.lines[3:6]] == ["train (2 calls)", "train #1", "train #2"]
    total, *trains = [line for line in (*shown.lines, *unfolded.lines[4:]) if line.startswith("train ")]
    assert "  cached  within " in total, "from the first start to the last end, whatever lies between"
    for train in trains:
        assert "  cached  " in train
        assert "within" not in train
        assert short_run(first.run_id) in train
        assert train.endswith("loss 0.25")
        assert " ago  " in train
    assert "loss" not in total, "what the first call logged"
    saved = sum(row.saved or 0.0 for row in single_calls(recorded.rows("latest")))
    assert ("time saved by the cache: " in shown.out) is (saved >= 0.001)
    assert sum(item.saved or 0.0 for item in recorded.explain("latest")) == pytest.approx(saved)
    assert shown.lines[-1].startswith("chart scores of train_final: ")
    assert Path(shown.lines[-1].partition("train_final: ")[2]).read_bytes().startswith(b"\x89PNG")

    executed = cli("runs", "show", first.run_id)
    (step,) = [line for line in executed.lines if line.startswith(f"train_final / {PREPARE}")]
    assert "completed" in step

    as_json = cli("runs", "show", "latest", "--json").json()
    assert as_json["run_id"] == second.run_id
    assert {row["status"] for row in as_json["rows"]} == {"cached"}
    assert as_json["metrics"]["//process[@name='train']"]["loss"] == {"1": 0.5, "2": 0.25}
    (chart,) = as_json["charts"]["//process[@name='train_final']"]
    assert chart["title"] == "scores"


def test_a_run_is_found_by_any_part_of_its_id_that_is_its_own(cli: Command, recorded: Project) -> None:
    second, first = (run.run_id for run in recorded.runs())
    for name in (first, short_run(first), first[-8:], first[:-4], first[-8:-4], first[-4:]):
        assert cli("runs", "show", name).lines[0].startswith(first), name
        assert recorded.run(name).run_id == first
        assert recorded.rows(name) == recorded.rows(first) == recorded.rows(recorded.run(first))
        assert recorded.graph(name) == recorded.graph(first)
        assert recorded.metrics(name) == recorded.metrics(first)
        assert recorded.charts(name) == recorded.charts(first)
        assert recorded.explain(name) == recorded.explain(first)
    begin = next(end for end in range(1, 24) if short_run(first)[:end] != short_run(second)[:end])
    assert cli("runs", "show", short_run(first)[:begin]).lines[0].startswith(first)


def test_runs_that_are_not_there_or_not_one(cli: Command, recorded: Project) -> None:
    place = f"SQLite {recorded.settings.runtime_dir / 'metrics.sqlite'}"
    unknown = cli("runs", "show", "nope")
    assert (unknown.code, unknown.out) == (1, "")
    second, first = (short_run(run.run_id) for run in recorded.runs())
    assert unknown.err == f"no run 'nope' in {place}; the nearest: {second}, {first}; see expops-prefect runs list\n"
    many = cli("runs", "show", "project-shop-")
    assert many.code == 1
    assert (
        many.err == f"'project-shop-' matches 2 runs in {place}: {second}, {first}; give more of the id, or 'latest'\n"
    )


@pytest.mark.parametrize("reader", ["run", "rows", "metrics", "charts", "graph", "explain"])
def test_what_is_not_there_is_never_answered_in_silence(recorded: Project, reader: str) -> None:
    second, first = (run.run_id for run in recorded.runs())
    for name in ("nope", "", first[:-1] + "x", "20010101"):
        with pytest.raises(RunNotFoundError, match=r"no run .* the nearest: ") as error:
            getattr(recorded, reader)(name)
        assert first in [run.run_id for run in error.value.near]
    with pytest.raises(RunNotFoundError, match="matches 2 runs") as error:
        getattr(recorded, reader)("project-shop-")
    assert {run.run_id for run in error.value.near} == {first, second}


def test_a_process_that_a_run_has_not_is_not_answered_in_silence(recorded: Project) -> None:
    with pytest.raises(ProcessNotFoundError, match=r"no process or step 'tain' in run .*; it has .*train"):
        recorded.explain("latest", "tain")


# cache -------------------------------------------------------------------------------------------


def test_cache_list(cli: Command, recorded: Project) -> None:
    listed = cli("cache", "list")
    keys = [line.split()[0] for line in listed.lines[1:]]
    assert sorted(key.split("/")[0] for key in keys) == sorted(
        [normalise(NOISY), "train", "train", "train_final", *[normalise(PREPARE)] * 2]
    )
    assert all([len(part) for part in key.split("/")[1:]] == [8, 8, 8] for key in keys)
    first = recorded.runs()[1].run_id
    assert all(line.endswith(f"  {short_run(first)}") for line in listed.lines[1:])
    assert (listed.code, listed.err) == (0, "")

    assert [line.split()[0] for line in cli("cache", "list", "--task", "train").lines[1:]] == [
        key for key in keys if key.startswith("train/")
    ]
    assert len(cli("cache", "list", "--task", PREPARE).lines) == 3, "by the user's name too"
    limited = cli("cache", "list", "--limit", 3)
    assert [line.split()[0] for line in limited.lines[1:]] == keys[:3]
    assert limited.err == "showing the first 3; see more with --limit\n"
    assert cli("cache", "list", "--limit", 6).err == "", "there are no more"
    as_json = cli("cache", "list", "--task", "train_final", "--json").json()
    assert [item["key"].split("/")[0] for item in as_json] == ["train_final"]
    assert as_json[0]["run_id"] == first


def test_cache_show(cli: Command, recorded: Project) -> None:
    (item,) = cli("cache", "list", "--task", "train_final", "--json").json()
    key, objects = item["key"], recorded.objects
    shown = cli("cache", "show", "train_final")
    assert shown.lines[0] == key
    assert f"computed by  {item['run_id']}" in shown.lines
    assert "expires      never" in shown.lines
    assert shown.lines[-1].split() == [item["object_key"], "41", "B", "there"]
    short = "/".join(part[:8] for part in key.split("/"))
    for name in (key, "train_f", "train_final/", f"train_final/{key.split('/')[1][:4]}", f"train_final{short[8:]}"):
        assert cli("cache", "show", name).lines[0] == key, name

    as_json = cli("cache", "show", "train_final", "--json").json()
    assert as_json["key"] == key
    assert as_json["objects"] == {item["object_key"]: True}

    content = objects.get(item["object_key"])
    assert content is not None
    objects.delete(item["object_key"])
    try:
        last = cli("cache", "show", "train_final").lines[-1]
        assert last.endswith("only in the record; cache verify --repair writes it")
        assert cli("cache", "show", key, "--json").json()["objects"] == {item["object_key"]: False}
    finally:
        objects.put(item["object_key"], [content], read_only=True)


def test_cached_results_that_are_not_there_or_not_one(cli: Command, recorded: Project) -> None:
    place = f"SQLite {recorded.settings.runtime_dir / 'metrics.sqlite'}"
    for name in ("nope", "train/zzzz", "train/a/b/c/d"):
        missing = cli("cache", "show", name)
        assert (missing.code, missing.out) == (1, "")
        assert missing.err == f"no cached result under {name!r} in {place}; see expops-prefect cache list\n"
    keys = [line.split()[0] for line in cli("cache", "list", "--task", "train").lines[1:]]
    many = cli("cache", "show", "train")
    assert many.code == 1
    assert many.err == f"'train' matches 2 cached results in {place}: {', '.join(keys)}; give more of the key\n"
    assert "matches 6 cached results" in cli("cache", "show", "").err
    assert cli("cache", "list", "--task", "nope").out == f"no cached results of 'nope' in {place}\n"


# Other projects ----------------------------------------------------------------------------------


def test_project_names_another_one(
    cli: Command, recorded: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_project(tmp_path / "other", "metadata: {}")
    assert cli("runs", "list", "--project", other).out.startswith("no runs in SQLite ")
    assert cli("cache", "list", "--project", other, "--json").json() == []
    monkeypatch.chdir(other)
    assert len(cli("runs", "list", "--project", recorded.settings.root, "--json").json()) == 2
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(recorded.settings.root))
    assert len(cli("runs", "list", "--json").json()) == 2


@pytest.mark.parametrize("configured", [True, False])
def test_looking_at_a_project_without_runs_leaves_nothing_behind(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    root = make_project(tmp_path / "new", "metadata: {}" if configured else None)
    monkeypatch.chdir(root)
    before = set(root.rglob("*"))
    place = f"SQLite {root / '.new' / 'metrics.sqlite'}"
    how = "run a flow whose flow and task come from expops_prefect"
    note = "" if configured else f"no configs/project_config.yaml found: {root} is taken as the project 'new'"
    for arguments, code, out, err in (
        (["runs", "list"], 0, f"no runs in {place}; {how}\n", ""),
        (["cache", "list"], 0, f"no cached results in {place}\n", ""),
        (["runs", "list", "--json"], 0, "[]\n", ""),
        (["cache", "list", "--json"], 0, "[]\n", ""),
        (["runs", "show", "latest"], 1, "", f"no runs yet in {place}; {how}\n"),
        (["cache", "show", "train"], 1, "", f"no cached result under 'train' in {place}; see expops-prefect cache"),
    ):
        printed = cli(*arguments)
        assert (printed.code, printed.out) == (code, out)
        assert printed.err.startswith(note)
        assert err in printed.err
    assert set(root.rglob("*")) == before


def test_a_database_that_is_none(cli: Command, tmp_path: Path) -> None:
    root = make_project(tmp_path / "broken", "prefect: {project_id: broken}")
    (root / ".broken").mkdir()
    (root / ".broken" / "metrics.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 20)
    printed = cli("runs", "list", "--project", root)
    assert (printed.code, printed.out) == (1, "")
    assert "metrics.sqlite" in printed.err
    assert len(printed.err.splitlines()) == 1, "a message, not a traceback"
