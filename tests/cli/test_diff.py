"""``runs diff``, and the parameters of flows that it compares; shell completion."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from expops_prefect import Project, flow, log_metric, task
from expops_prefect.record.run_lookup import short_run
from expops_prefect.tracking.parameters import shown_parameters
from tests.cli.conftest import Command
from tests.config.support import make_project


@pytest.mark.usefixtures("prefect_server")
def test_two_runs_are_compared(cli: Command, tmp_path: Path) -> None:
    root = make_project(tmp_path / "shop", f"prefect: {{project_id: shop-{uuid4().hex[:6]}}}")

    @task
    def train(rate: float) -> float:
        log_metric("loss", rate)
        return rate

    @task
    def load() -> int:
        return 1

    @flow(project=root)
    def main(rate: float, api_key: str = "hidden") -> None:
        load()
        train(rate)

    main(0.5)
    main(0.25)
    second, first = Project.open(root).runs()
    shown = cli("runs", "diff", first.run_id, "--project", root)
    assert (shown.code, shown.err) == (0, "")
    assert [line.split(": flow ")[0] for line in shown.lines[:2]] == [
        f"- {short_run(first.run_id)}",
        f"+ {short_run(second.run_id)}",
    ]
    table = [line.split() for line in shown.lines[2:]]
    assert table[:2] == [["parameter", "-", "+"], ["rate", "0.5", "0.25"]]
    assert [table[3][0], table[3][1]] == ["load", "completed"]
    assert "cached" in table[3]
    assert (table[4][0], table[4][-1]) == ("train", "inputs")
    assert table[-1] == ["loss", "train", "0.5", "0.25", "-0.25"]
    as_json = cli("runs", "diff", first.run_id, second.run_id, "--json", "--project", root).json()
    assert as_json["metrics"] == [{"path": "//process[@name='train']", "metric": "loss", "first": 0.5, "second": 0.25}]
    assert "hidden" not in str(as_json)
    assert first.parameters == {"rate": "0.5", "api_key": "not shown"}
    alone = cli("runs", "diff", "latest", "--project", root)
    named = cli("runs", "diff", first.run_id, "latest", "--project", root)
    # The first two lines say how long ago the runs were, and a second may have passed.
    assert [line.rpartition(", ")[0] for line in alone.lines[:2]] == [
        line.rpartition(", ")[0] for line in named.lines[:2]
    ]
    assert alone.lines[2:] == named.lines[2:]
    same = cli("runs", "diff", "latest", "latest", "--project", root)
    assert same.lines[2:] == ["the runs do not differ in parameters, statuses, cache keys or metrics"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        ("é", '"é"'),
        ([1, {"a": None}], '[1, {"a": null}]'),
        ("x" * 500, '"' + "x" * 199 + "…"),
        (object(), "a value of type object"),
    ],
)
def test_parameters_are_short_texts(value: Any, text: str) -> None:
    assert shown_parameters({"n": value, "token": value}) == {"n": text, "token": "not shown"}
    assert shown_parameters(None) == {}
    assert len(shown_parameters({str(number): number for number in range(500)})) == 100


def test_the_shell_learns_to_complete(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    target = tmp_path / "completion.bash"
    done = cli("--install-completion", "--shell", "bash", "--output", target)
    assert done.code == 0, done.err
    text = target.read_text()
    assert "expops-prefect" in text
    assert all(word in text for word in ("runs", "reconcile", "--dry-run"))
