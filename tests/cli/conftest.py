"""The command line in this process, and a project with two recorded runs to look at."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.config.support import make_project

if TYPE_CHECKING:
    # A conftest may be imported before the suite has set Prefect's environment, so Prefect must not be yet.
    from expops_prefect import Project

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
FLOW = "学習フロー [bold]x"
PREPARE = "特徴量抽出"
NOISY = "noisy \x1b[31m\nname"


@dataclass(frozen=True)
class Printed:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        return orjson.loads(self.out)


Command = Callable[..., Printed]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """``expops-prefect <arguments>``, in this process."""

    from expops_prefect.cli.main import main

    def run(*arguments: object) -> Printed:
        monkeypatch.setattr(sys, "argv", ["expops-prefect", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Printed(ended.value.code, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> Project:
    """A project in which one flow ran twice, the second time from the cache."""
    from expops_prefect import Project, flow, log_chart, log_metric, task

    root = make_project(tmp_path_factory.mktemp("recorded") / "shop", "prefect: {project_id: shop}")

    @task(name=PREPARE)
    def prepare(rows: int) -> list[int]:
        return list(range(rows))

    @task
    def train(rows: list[int], factor: int) -> int:
        log_metric("loss", 0.5)
        log_metric("loss", 0.25)
        return sum(rows) * factor

    @task
    def train_final(rows: list[int]) -> int:
        log_chart("scores", PNG)
        return len(prepare(2)) + len(rows)

    @task(name=NOISY)
    def noisy(number: int) -> int:
        return number

    @flow(name=FLOW, project=root)
    def pipeline() -> int:
        rows = prepare(3)
        return train(rows, 1) + train(rows, 2) + train_final(rows) + noisy(1)

    assert pipeline() == pipeline()
    return Project.open(root)
