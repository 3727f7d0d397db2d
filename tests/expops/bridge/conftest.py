"""A fresh project for each test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.expops.bridge.project import ExpOpsProject


@pytest.fixture
def expops_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExpOpsProject:
    from tests.expops.bridge.project import ExpOpsProject

    return ExpOpsProject(tmp_path, monkeypatch)
