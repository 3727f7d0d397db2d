"""Every row of the tables, in two processes with other hash seeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fingerprint.packages import environment

pytestmark = [pytest.mark.values, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[2]
MODULES = ("rows_python", "rows_arrays", "rows_frames", "rows_libraries", "rows_lazy", "rows_sql")


OF_EACH_LOAD = ("different xarray dataset", "alike xarray")
"""What comes back otherwise each time that it is loaded: the tasks that take it are executed in each run."""


def run(module: str, folder: Path) -> list[dict[str, Any]]:
    """What two processes found."""
    if module == "rows_lazy":
        program = "from tests.values.rows_lazy import write; write()"
        subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment(0, ROOT), check=True)
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.values.child", module, str(folder)],
            cwd=ROOT,
            env={**environment(seed, ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]
    outputs = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.mark.parametrize("module", MODULES)
def test_rows(module: str, tmp_path: Path) -> None:
    first, second = run(module, tmp_path)
    wrong: list[str] = []
    for name, digests in first["different"].items():
        if len(set(digests)) < len(digests) or any(not one.isalnum() for one in digests):
            wrong.append(f"a false hit: {name} {digests}")
    for name, digests in first["alike"].items():
        if len(set(digests)) > 1 or any(not one.isalnum() for one in digests):
            wrong.append(f"a false miss: {name} {digests}")
    for kind in ("different", "alike", "constants"):
        unstable = [name for name, digests in first[kind].items() if second[kind][name] != digests]
        wrong += [f"other in another process: {name}" for name in unstable]
    wrong += [f"not refused: {name}: {said}" for name, said in first["refused"].items() if "refused: " not in said[:9]]
    for name, digests in first["constants"].items():
        if len(set(digests)) > 1:
            wrong.append(f"a constant that changes by being used: {name}")
    for name, digests in first["loaded"].items():
        kind, _, row = name.partition(" ")
        if digests != first[kind][row] and "not storable" not in digests and name not in OF_EACH_LOAD:
            wrong.append(f"other after a way through a store: {name}")
    wrong += [f"a stale plan: {name}" for name, (before, after) in first["changed"].items() if before == after]
    assert not wrong, os.linesep.join(wrong)
