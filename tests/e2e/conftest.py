"""Every test here runs flows in processes of their own."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _runs_flows(flow_processes: None) -> None:
    """Ask for what they need."""
