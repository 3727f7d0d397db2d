"""A plugin for pytest: Prefect's tests with this package's ``flow`` and ``task`` in place of Prefect's.

It is loaded by its file's name in a process whose ``tests`` are Prefect's.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import prefect
import prefect.flows
import prefect.main
import prefect.tasks
import pytest

import expops_prefect
from expops_prefect._internal.process import of_process
from expops_prefect.project import OpenProjects

for _module in (prefect, prefect.main, prefect.flows, prefect.tasks):
    for _name in ("flow", "task"):
        if hasattr(_module, _name):
            setattr(_module, _name, getattr(expops_prefect, _name))


@pytest.fixture(autouse=True)
def _fresh_project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing is cached from an earlier test."""
    root = tmp_path_factory.mktemp("project")
    os.environ["EXPOPS_PROJECT_ROOT"] = str(root)
    yield root
    os.environ.pop("EXPOPS_PROJECT_ROOT", None)
    # A process has one project, hardly ever hundreds; each has a thread and connections.
    for _, project in list(of_process(OpenProjects).by_root.values()):
        project.close(timeout=1)
