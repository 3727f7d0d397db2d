"""ExpOps' own StepStateManager loads what a flow stored, through the alias that a step writes."""

from __future__ import annotations

import json
import subprocess
import sys

from expops_prefect.records import read_cache_records
from tests.support.processes import FlowProject

FLOW = """
import numpy as np
from sklearn.linear_model import LinearRegression
from expops_prefect import flow, task


@task
def fit(n):
    features = np.arange(n * 2, dtype=float).reshape(n, 2)
    model = LinearRegression().fit(features, features.sum(axis=1))
    return {"rows": n, "name": "häl", "list": [1, 2.5, "x"], "large": features, "small": np.arange(3), "model": model}


@task
def train(n):
    return fit(n)["rows"]


@flow
def main():
    train(40_000)


if __name__ == "__main__":
    main()
"""

# Run by ExpOps alone: our package is out of its reach.
READ = """
import json, os, sys
sys.modules["expops_prefect"] = None
from pathlib import Path
import numpy as np
from expops.core.runtime.payload_spill import hydrate_payload_refs
from expops.core.runtime.step_state_manager import StepStateManager
from expops.storage.adapters.sqlite_store import SQLiteStore

runtime, key = Path(sys.argv[1]), json.loads(sys.argv[2])
store = SQLiteStore("shop", db_path=str(runtime / "metrics.sqlite"))
manager = StepStateManager(cache_dir=runtime / "cache", kv_store=store, project_root=runtime.parent)
os.chdir("/")
stored = manager.get_cached_step_result("any", "fit", "//process[@name='train']", *key)
result = hydrate_payload_refs(stored, manager)
expected = np.arange(80_000, dtype=float).reshape(40_000, 2)
print("RESULT", json.dumps({
    "rows": result["rows"], "name": result["name"], "list": result["list"],
    "large": bool(np.array_equal(result["large"], expected)),
    "spilled": "__mlops_payload_ref__" in str(stored["large"]),
    "small": result["small"].tolist(), "model": float(result["model"].predict([[1.0, 2.0]])[0]),
}))
"""


def test_expops_loads_a_steps_result(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    shop.run("main.py").ok()
    (key,) = [key for key, _ in read_cache_records(shop.project().kv) if key.task == "fit"]
    arguments = [str(shop.root / ".shop"), json.dumps([key.inputs, key.config, key.function])]
    read = subprocess.run([sys.executable, "-c", READ, *arguments], capture_output=True, text=True, timeout=120)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout.rpartition("RESULT ")[2])
    assert found.pop("model") - 3 < 1e-9
    assert found == {
        "rows": 40_000,
        "name": "häl",
        "list": [1, 2.5, "x"],
        "large": True,
        "spilled": True,
        "small": [0, 1, 2],
    }
