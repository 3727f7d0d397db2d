"""Pipelines that cannot be run say so, in one message, before anything runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.errors import ConfigurationError
from tests.expops.bridge.project import ExpOpsProject

LINES = "process_adjlist: |\n"
SEEDS = "seeds: [41, 42]"
CASES = {
    "cycle": (LINES, LINES + "      score fit\n", "process_adjlist is a cycle, fit -> score -> fit; allowed: a graph"),
    "itself": (LINES, LINES + "      fit fit\n", "process_adjlist is a cycle, fit -> fit"),
    "unknown process": (LINES, LINES + "      score colect\n", "unknown process 'colect'; .*did you mean 'collect'"),
    "no function": (
        "code: define_fit",
        "code: define_fitt",
        "processes.fit.code is 'define_fitt'; .*model.py: collect, define_fit, load, ran, score, train",
    ),
    "no function of its name": ("- name: score", "- name: rate", "unknown process 'score'"),
    "no script": ("code: charts.report", "code: chart.report", "'chart.report'; .*script of: main, charts"),
    "no file": ("src/charts.py", "src/chart.py", "scripts.charts is '.*chart.py'; allowed: a file"),
    "no code": ("code: define_fit", "code: [define_fit]", "processes.fit.code is .*; allowed: the name of a function"),
    "join without a split": (
        "- name: load",
        "- name: load\n        data_aggregation: true",
        "load.data_aggregation is true",
    ),
    "join of seeds without": (
        f"seed_parallelism: {{{SEEDS}}}",
        "description: none",
        "collect.seed_aggregation is true, but",
    ),
    "no flag": ("seed_aggregation: true", "seed_aggregation: yes please", "'yes please'; allowed: true or false"),
    "no size": ("{size: 2, data_name: rows}", "{data_name: rows}", "halves.data_parallelism.size is None; allowed"),
    "size 0": ("size: 2", "size: 0", "data_parallelism.size is 0"),
    "sizes": ("size: 2", "size: [1, -1]", "data_parallelism.size is .1, -1."),
    "data name": ("data_name: rows", "data_name: 3", "data_parallelism.data_name is 3"),
    "no seeds": (SEEDS, "seeds: []", "seed_parallelism.seeds is ..; allowed: a list of whole numbers"),
    "seeds twice": (SEEDS, "seeds: [41, 41]", "whole numbers, each once"),
    "seeds of text": (SEEDS, "seeds: [one]", "whole numbers"),
    "component": (
        "code: define_fit",
        "component: sklearn.LogisticRegression.fit_predict",
        "fit.component .*expops run",
    ),
    "probe path": ("//*[@name='train']", "//*[@name='train'", "report.probe_paths.loss is .*; allowed: an XPath"),
    "probe paths": (
        "code: charts.report\n        probe_paths:",
        "type: chart\n        probe_paths: []\n        x:",
        "function 'report'",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_pipeline_is_refused(expops_project: ExpOpsProject, case: str) -> None:
    old, new, message = CASES[case]
    expops_project.edit("configs/project_config.yaml", old, new)
    with pytest.raises(ConfigurationError, match=message) as refused:
        expops_project.project.as_flow()
    assert "project_config.yaml: " in str(refused.value)
    assert not (expops_project.root / ".shop").exists()


def test_a_project_without_processes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/project_config.yaml").write_text("prefect: {project_id: shop}\n")
    with pytest.raises(ConfigurationError, match=r"experiment\.pipeline\.processes is empty"):
        Project.open(tmp_path).as_flow()


def test_a_script_that_cannot_be_imported_is_refused(expops_project: ExpOpsProject) -> None:
    expops_project.edit("src/model.py", "import numpy as np", "import no_such_library")
    with pytest.raises(ConfigurationError, match=r"model\.py \(scripts\.main\) cannot be imported.*no_such_library"):
        expops_project.project.as_flow()


def test_without_expops_it_says_what_to_install(expops_project: ExpOpsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "expops"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "expops", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'expops-prefect\[expops\]'"):
        expops_project.project.as_flow()


@pytest.mark.usefixtures("prefect_server")
def test_parameters_name_processes(expops_project: ExpOpsProject) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'fitt\.rate' does not name a process; allowed: name, or process\.name"
    ):
        expops_project.run(**{"fitt.rate": 1})
    assert not expops_project.executions()
