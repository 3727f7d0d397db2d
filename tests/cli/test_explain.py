"""``cache explain``: a table, what differs, JSON; and for what is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from expops_prefect.models.names import process_path
from expops_prefect.record.run_lookup import short_run
from tests.cli.conftest import PREPARE, Command
from tests.config.support import make_project

if TYPE_CHECKING:
    from expops_prefect import Project

TRAIN = process_path("train")
CONFIG = """
experiment: {pipeline: {processes: [{name: train, hyperparameters: {rate: 0.1}}]}}
prefect: {project_id: shop}
"""


def test_a_hit(cli: Command, recorded: Project) -> None:
    second, first = recorded.runs()
    root = recorded.settings.root
    shown = cli("cache", "explain", "latest", "train_final", "--project", root)
    heading, columns, line = shown.lines
    assert heading.startswith(f"{second.run_id}: flow ")
    assert columns.split("  ")[0] == "process or step"
    assert line.split()[:2] == ["train_final", "cached"]
    assert f" ago by run {short_run(first.run_id)} on {first.host} at 20" in line
    assert (shown.code, shown.err) == (0, "")

    every = cli("cache", "explain", first.run_id[-8:], "--project", root, "--json").json()
    folded = cli("cache", "explain", first.run_id, "train", "--project", root)
    assert [line.split("  ")[0] for line in folded.lines[2:]] == ["train", "train #1\N{EN DASH}#2"]
    unfolded = cli("cache", "explain", first.run_id, "train", "--all", "--project", root)
    assert [line.split("  ")[0] for line in unfolded.lines[2:]] == ["train", "train #1", "train #2"]
    assert {item["because"] for item in every} == {"new", "calls"}, "calls of one run are not compared with each other"
    calls = {item["path"]: item for item in every if "'train'" in item["path"]}
    assert [calls[path]["because"] for path in (TRAIN, process_path("train", 1), process_path("train", 2))] == [
        "calls",
        "new",
        "new",
    ]
    assert len(every) == len(recorded.rows(first.run_id)) + 1
    (step,) = cli(
        "cache",
        "explain",
        first.run_id,
        f"train_final / {every[0]['path'].split(chr(39))[1]}",
        "--project",
        root,
        "--json",
    ).json()
    assert (step["label"], step["because"], step["differences"]) == (PREPARE, "new", [])
    limited = cli("cache", "explain", "latest", "--limit", 1, "--project", root)
    assert len(limited.lines) == 3
    assert limited.err == f"showing the first 1 of {len(recorded.rows(second.run_id))}; see more with --limit\n"


def helper_of(version: int) -> Callable[[int], int]:
    """Two versions of a function of one name, as before and after an edit."""
    if version == 1:

        def helper(x: int) -> int:
            return x + 1

    else:

        def helper(x: int) -> int:
            y = x + 1
            return y + 1

    return helper


@pytest.mark.usefixtures("prefect_server")
def test_what_differs(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from expops_prefect import Project, flow, task

    root = make_project(tmp_path / "shop", CONFIG)
    monkeypatch.chdir(root)

    def run(version: int, x: int) -> None:
        helper = helper_of(version)

        @task
        def train(x: int) -> int:
            return helper(x)

        @flow(project=root)
        def main() -> None:
            train(x)

        main()

    run(1, 1)
    (root / "configs" / "project_config.yaml").write_text(CONFIG.replace("0.1", "0.2"))
    run(2, 3)
    second, first = Project.open(root).runs()
    shown = cli("cache", "explain", "latest")
    assert (shown.code, shown.err) == (0, "")
    assert shown.lines[2].startswith("train            completed  ")
    assert shown.lines[2].endswith("  parameter `x` changed: 1 -> 3 (and 2 more)")
    assert shown.lines[3] == ""
    assert shown.lines[4].startswith(f"train, compared with run {short_run(first.run_id)} of 20")
    assert shown.lines[5:] == [
        "  parameter `x` changed: 1 -> 3",
        "  configuration hyperparameters.rate: 0.1 -> 0.2",
        "  code of tests.cli.test_explain:helper_of.<locals>.helper changed",
        "    @@ -1,2 +1,3 @@",
        "     def helper(x):",
        "    -    return x + 1",
        "    +    y = x + 1",
        "    +    return y + 1",
    ]
    (item,) = cli("cache", "explain", short_run(second.run_id), "train", "--json").json()
    assert (item["because"], item["compared_with"]["run_id"]) == ("changed", first.run_id)
    assert [part["kind"] for part in item["differences"]] == ["input", "config", "code"]

    unknown = cli("cache", "explain", "latest", "trian")
    assert (unknown.code, unknown.out) == (1, "")
    see = f"see expops-prefect runs show {second.run_id[-8:]}"
    assert unknown.err == f"no process or step 'trian' in run {second.run_id}; it has train; {see}\n"
    assert cli("cache", "explain", "nope").err.startswith("no run 'nope' in SQLite ")
