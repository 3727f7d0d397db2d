"""The projects that the real ExpOps ships, run by ExpOps itself and by us, in one folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import expops

from expops_prefect.config import load_settings
from expops_prefect.models.names import run_rows_prefix
from expops_prefect.project import Project
from expops_prefect.record.run_outputs import read_metrics
from tests.support.server import clean_environment

TEMPLATES = Path(expops.__file__).parent / "templates"


@dataclass(frozen=True)
class Done:
    """A run.

    Attributes:
        run_id: its id.
        seconds: what the whole command took.
        printed: what it printed.
    """

    run_id: str
    seconds: float
    printed: str


class Template:
    """A template in a workspace of its own, as ``expops create`` would make it, with environments that need no network.

    Args:
        workspace: an empty folder.
        name: the template.
        rows: how many lines of its data are kept; all of them without it.
    """

    def __init__(self, workspace: Path, name: str, rows: int | None = None) -> None:
        self.workspace = workspace
        self.root = workspace / name
        shutil.copytree(TEMPLATES / name, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        for data in (self.root / "data").iterdir():
            lines = data.read_text(encoding="utf-8").splitlines(keepends=True)
            data.write_text("".join(lines[: len(lines) if rows is None else rows + 1]), encoding="utf-8")
        environments = self.root / f".{name}" / "envs"
        environments.mkdir(parents=True)
        for environment in (f"{name}-env", f"{name}-env-reporting"):
            (environments / environment).symlink_to(sys.prefix, target_is_directory=True)
        self.environ: dict[str, str] = {
            **clean_environment(workspace / "home"),
            "MLOPS_WORKSPACE_DIR": str(workspace),
            # Whatever it may want to install.
            "PIP_NO_INDEX": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    @property
    def project(self) -> Project:
        """What both have recorded."""
        return Project(load_settings(self.root, environ={}))

    def run_by_expops(self) -> Done:
        """``expops run``."""
        before = self._runs()
        seconds, printed = self._command("expops", "run", "--local")
        (run_id,) = self._runs() - before
        return Done(run_id, seconds, printed)

    def run_by_us(self, *arguments: str) -> Done:
        """``expops-prefect run``."""
        seconds, printed = self._command("expops-prefect", "run", "--json", *arguments)
        return Done(json.loads(printed)["run_id"], seconds, printed)

    def statuses(self, run_id: str) -> dict[str, str]:
        """The status of each process of a run, by its probe path; its steps left out."""
        prefix, suffix = run_rows_prefix(run_id), ":__process__"
        rows = {key[len(prefix) :]: value for key, value in self.project.kv.scan(prefix) if key.endswith(suffix)}
        return {key.removesuffix(suffix): row["status"] for key, row in rows.items() if "/step[" not in key}

    def metrics(self, run_id: str) -> dict[str, dict[str, Any]]:
        """The metrics of a run, by probe path; a list as the series that it is recorded as here."""
        found: Mapping[str, Mapping[str, Any]] = read_metrics(self.project.kv, run_id)
        return {path: {name: _series(value) for name, value in metrics.items()} for path, metrics in found.items()}

    def _runs(self) -> set[str]:
        heads = (key.split(":")[1] for key, _ in self.project.kv.scan("runs:"))
        return set(heads)

    def _command(self, *command: str) -> tuple[float, str]:
        program = Path(sys.executable).parent / command[0]
        began = time.monotonic()
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        return time.monotonic() - began, done.stdout


def _series(value: Any) -> Any:
    return {str(number): item for number, item in enumerate(value, 1)} if isinstance(value, list) else value
