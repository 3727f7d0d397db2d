"""What an import costs: no library that a flow may never need is loaded by it."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
import prefect
before = set(sys.modules)
import expops_prefect
bare = sorted(set(sys.modules) - before)
from expops_prefect import EXPOPS, DataFile, Project, flow, instrument, log_chart, log_metric, task
print(json.dumps([bare, sorted({name.partition(".")[0] for name in sys.modules})]))
"""
HEAVY = {"google", "grpc", "joblib", "matplotlib", "numpy", "pandas", "polars", "pyarrow", "sklearn", "sqlite_utils"}


def test_heavy_libraries_are_imported_when_they_are_needed() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=True)
    bare, loaded = json.loads(done.stdout)
    assert bare == ["expops_prefect"], "the names are looked up when they are asked for"
    assert HEAVY & set(loaded) == set()
