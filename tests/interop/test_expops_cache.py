"""ExpOps' own StepStateManager loads what a flow stored: a process, and a step through the alias that it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from expops_prefect.record.cache_records import read_cache_records
from tests.interop.expops import project_on
from tests.support.server import clean_environment

CONFIG = "experiment: {pipeline: {processes: [{name: train}]}}"
FLOW = """
import numpy as np
from sklearn.neighbors import KNeighborsRegressor
from expops_prefect import flow, task


@task
def fit(n):
    features = np.arange(n * 2, dtype=float).reshape(n, 2)
    model = KNeighborsRegressor(1).fit(features, features.sum(axis=1))
    return {
        "rows": n, "name": "häl", "list": [1, 2.5, "x"], "long": list(range(50_000)),
        "large": features, "small": np.arange(3), "model": model,
    }


@task
def train(n):
    return {"rows": fit(n)["rows"]}


@flow
def main():
    train(40_000)


if __name__ == "__main__":
    main()
"""

# Run by ExpOps alone: our package is out of its reach, and in the cloud so is the project's folder.
READ = """
import json, os, sys
sys.modules["expops_prefect"] = None
from pathlib import Path
import numpy as np
import yaml
from expops.core.runtime.payload_spill import hydrate_payload_refs
from expops.core.runtime.step_state_manager import StepStateManager
from expops.storage.factory import create_kv_store, create_object_store

root, project, keys = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
cache = yaml.safe_load(sys.argv[4])["experiment"]["cache"]
manager = StepStateManager(
    cache_dir=root / f".{project}" / "cache" / "steps",
    kv_store=create_kv_store(project, cache["backend"], env=os.environ, project_root=root),
    object_store=create_object_store(cache, env=os.environ, project_id=project),
    object_prefix=f"{project}/cache",
    project_root=root,
)
os.chdir("/")
train = "//process[@name='train']"
stored, ran_in, times = manager.get_cached_step_result_with_metadata("any", "fit", train, *keys["fit"])
process, _, _ = manager.get_cached_process_result_with_metadata(train, *keys["train"])
result = hydrate_payload_refs(stored, manager)
expected = np.arange(80_000, dtype=float).reshape(40_000, 2)
print("RESULT", json.dumps({
    "rows": result["rows"], "name": result["name"], "list": result["list"],
    "large": bool(np.array_equal(result["large"], expected)),
    "refs": sorted(name for name in stored if "_ref__" in str(stored[name])),
    "long": result["long"] == list(range(50_000)), "long_type": type(result["long"]).__name__,
    "small": result["small"].tolist(), "model": result["model"].predict([[2.0, 3.0]]).tolist(),
    "process": process, "run": ran_in, "time": times["execution_time"] > 0, "kv": type(manager.kv_store).__name__,
}))
"""


@pytest.mark.parametrize(("combination", "kv"), [("local-local", "SQLiteStore"), ("gcp-gcs", "GCPStore")])
def test_expops_loads_what_was_stored(tmp_path: Path, combination: str, kv: str) -> None:
    shop = project_on(combination, tmp_path / "project", CONFIG)
    shop.write("main.py", FLOW)
    shop.run("main.py").ok()
    records = read_cache_records(shop.project().kv)
    keys = {key.task: [key.inputs, key.config, key.function] for key, _ in records}
    config = (shop.root / "configs" / "project_config.yaml").read_text()
    root = shop.root if combination == "local-local" else tmp_path / "nothing-here"
    read = subprocess.run(
        [sys.executable, "-c", READ, str(root), shop.root.name, json.dumps(keys), config],
        capture_output=True,
        text=True,
        timeout=120,
        env={**clean_environment(tmp_path / "home"), **shop.environ},
    )
    assert read.returncode == 0, read.stderr
    assert json.loads(read.stdout.rpartition("RESULT ")[2]) == {
        "rows": 40_000,
        "name": "häl",
        "list": [1, 2.5, "x"],
        "large": True,
        "refs": ["large", "model"],
        "long": True,
        "long_type": "list",
        "small": [0, 1, 2],
        "model": [5.0],
        "process": {"rows": 40_000},
        "run": shop.last_run().run_id,
        "time": True,
        "kv": kv,
    }
