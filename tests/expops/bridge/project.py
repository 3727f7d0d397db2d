"""A small ExpOps project: a data split, a seed split, both taken together again, and a chart."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from expops_prefect import Project
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord

MODEL = '''
"""The project's functions."""
import os
import random

import numpy as np

from expops.core import SerializableData, log_metric, process, step


def ran(name):
    with open(os.environ["EXECUTION_LOG"], "a") as log:
        log.write(f"{name}\\n")


@process()
def load(count: int = 4, random_seed: int | None = None):
    ran("load")
    log_metric("random_seed", random_seed)
    log_metric("columns", ["a", "b"])
    log_metric("sizes", [count, 2 * count])
    log_metric("histogram", {1: 3, 2: count})
    return {"rows": list(range(count)), "unit": "m", "__internal": 1}


@step()
def train(rows: SerializableData, rate: float):
    ran("train")
    for epoch in (1, 2):
        log_metric("loss", np.float32(rate / epoch), step=epoch)
    log_metric("draw", float(np.random.rand()))
    return {"weights": np.asarray(rows, dtype=float) * rate}


@process(description="fits")
def define_fit(rows, rate: float = 1.0, random_seed: int | None = None, **others):
    ran("fit")
    log_metric("others", len(others))
    log_metric("random_seed", random_seed)
    trained = train(rows=rows, rate=rate)
    if os.environ.get("BROKEN") == str(random_seed):
        raise ValueError("on purpose")
    log_metric("drawn", random.random())
    return {"weights": trained["weights"], "offset": rows[0]}


@process()
def score(weights, offset):
    ran("score")
    total = float(weights.sum())
    log_metric("total", total)
    return {"total": total}


@process()
def collect(total, unit=None):
    ran("collect")
    for number, values in enumerate(total.values(), 1):
        log_metric(f"part{number}", sum(values.values()))
    log_metric("labels", {"all": [f"{a}/{b}" for a in total for b in total[a]]})
    return {}
'''

CHARTS = """
from model_helpers import ran

from expops.reporting import ChartContext, chart

PNG = b"\\x89PNG\\r\\n\\x1a\\n" + bytes(20)


@chart()
def report(metrics, ctx: ChartContext):
    ran("report")
    with open("losses.png", "wb") as file:
        file.write(PNG + repr(sorted(metrics.items())).encode())
    with open("notes.txt", "w") as file:
        file.write(ctx.chart_name)
"""

HELPERS = """
import os


def ran(name):
    with open(os.environ["EXECUTION_LOG"], "a") as log:
        log.write(f"{name}\\n")
"""

CONFIG = """
metadata: {name: shop}
scripts:
  main: src/model.py
  charts: src/charts.py
reproducibility: {random_seed: 7}
experiment:
  parameters:
    rate: 2.0
  pipeline:
    process_adjlist: |
      load halves
      halves seeds
      seeds fit
      fit score
      score collect
      collect report
    processes:
      - name: load
      - name: halves
        data_parallelism: {size: 2, data_name: rows}
      - name: seeds
        seed_parallelism: {seeds: [41, 42]}
      - name: fit
        code: define_fit
      - name: score
      - name: collect
        data_aggregation: true
        seed_aggregation: true
      - name: report
        code: charts.report
        probe_paths:
          load: "//*[@name='load']"
          loss: "//*[@name='train']"
          first: "//*[@partition='p1']/*[@seed='41']/*[@name='fit']"
prefect: {project_id: shop}
"""

BRANCHES = [(part, seed) for part in (1, 2) for seed in (41, 42)]


def branch(name: str, part: int, seed: int) -> str:
    return f"//*[@partition='p{part}']/*[@seed='{seed}']/process[@name='{name}']"


def plain(name: str) -> str:
    return f"//process[@name='{name}']"


class ExpOpsProject:
    """The project in a folder, run in this process, with its executions counted."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = folder / "shop"
        self._log = folder / "executions.log"
        monkeypatch.setenv("EXECUTION_LOG", str(self._log))
        for path, text in (
            ("configs/project_config.yaml", CONFIG),
            ("src/model.py", MODEL),
            ("src/charts.py", CHARTS),
            ("src/model_helpers.py", HELPERS),
        ):
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        (self.root / path).write_text(text.replace(old, new))

    def configure(self, change: Mapping[str, Any]) -> None:
        """Replace sections of processes: by name, the new section, or ``None`` to remove it."""
        path = self.root / "configs/project_config.yaml"
        content = yaml.safe_load(path.read_text())
        processes = content["experiment"]["pipeline"]["processes"]
        for name, section in change.items():
            (at,) = [number for number, item in enumerate(processes) if item["name"] == name]
            processes[at : at + 1] = [] if section is None else [{"name": name, **section}]
        path.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    def project(self) -> Project:
        return Project.open(self.root)

    def run(self, **parameters: Any) -> dict[str, str]:
        """Run the pipeline; the status of each process by its probe path."""
        self._log.write_text("")
        state: Any = self.project.as_flow()(parameters=parameters or None, return_state=True)
        result = state.result(raise_on_failure=False)
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, dict)
        return result

    def executions(self) -> Counter[str]:
        """What the last run executed."""
        return Counter(self._log.read_text().split())

    def last_run(self) -> RunRecord:
        return self.project.runs()[0]

    def rows(self) -> dict[str, Row]:
        return {row.path: row for row in self.project.rows(self.last_run().run_id)}

    def metrics(self) -> dict[str, dict[str, dict[str, Any]]]:
        return self.project.metrics(self.last_run().run_id)
