"""The real ExpOps reads what we store. It runs in a process of its own, as it does for its users."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestRegressor

from expops_prefect.serialization.manifest import pack
from expops_prefect.stores.objects.local.store import LocalObjects

READ = """
import json, os, sqlite3, sys, time
sys.modules["expops_prefect"] = None
from pathlib import Path
import numpy as np
from expops.core.runtime.payload_spill import hydrate_payload_refs
from expops.core.runtime.step_state_manager import StepStateManager
from expops.storage.adapters.sqlite_store import SQLiteStore

runtime, manifest = Path(sys.argv[1]), sys.argv[2]
store = SQLiteStore("p", db_path=str(runtime / "metrics.sqlite"))
manager = StepStateManager(cache_dir=runtime / "cache", kv_store=store, project_root=runtime.parent)
path, digests = "//process[@name='train']", ("a" * 64, "b" * 64, "c" * 64)
connection = sqlite3.connect(runtime / "metrics.sqlite")
record = {"status": "completed", "cache_path": manifest, "run_id": "r"}
key = ":".join(("steps", path, "load", *digests))
connection.execute("insert into kv values (?, ?, ?)", (key, json.dumps(record), time.time()))
connection.commit()
os.chdir("/")
result = hydrate_payload_refs(manager.get_cached_step_result("r", "load", path, *digests), manager)
"""


def read(root: Path, value: object, show: str) -> Any:
    runtime = root / ".p"
    objects = LocalObjects(runtime)
    packed = pack(value, spill_bytes=1024)
    for payload in packed.payloads:
        objects.create(payload.ref.key, payload.parts, read_only=True)
    objects.put("cache/steps/r/load/m.pkl", [packed.manifest], read_only=True)
    code = READ + f"print('RESULT', json.dumps({show}))"
    arguments = [sys.executable, "-c", code, str(runtime), objects.uri("cache/steps/r/load/m.pkl")]
    result = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.rpartition("RESULT ")[2])


def test_numbers_text_lists_arrays_and_a_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    features = rng.random((500, 3))
    model = RandomForestRegressor(5, random_state=0).fit(features, features.sum(axis=1))
    value = {
        "loss": 0.25,
        "epochs": 3,
        "name": "häl",
        "none": None,
        "list": [1, 2.5, "x", [True]],
        "tuple": (1, rng.random(600)),
        "array": features,
        "fortran": np.asfortranarray(features),
        "small": np.arange(3),
        "labels": np.array(["a", "bc"] * 300),
        "nested": {"deep": [{"array": rng.integers(0, 9, (20, 30))}]},
        "model": model,
        "features": features[:5],
    }
    show = """[
        result["loss"], result["epochs"], result["name"], result["none"], result["list"], result["tuple"][0],
        [float(np.asarray(result[k]).sum()) for k in ("array", "fortran", "small")],
        [list(np.asarray(result[k]).shape) for k in ("array", "fortran")],
        np.asarray(result["labels"]).tolist()[:3],
        np.asarray(result["nested"]["deep"][0]["array"]).tolist(),
        np.asarray(result["tuple"][1]).tolist(),
        result["model"].predict(np.asarray(result["features"])).tolist(),
        type(result["model"]).__name__,
    ]"""
    assert read(tmp_path, value, show) == [
        *(0.25, 3, "häl", None, [1, 2.5, "x", [True]], 1),
        [features.sum(), np.asfortranarray(features).sum(), 3.0],
        [[500, 3], [500, 3]],
        ["a", "bc", "a"],
        value["nested"]["deep"][0]["array"].tolist(),
        value["tuple"][1].tolist(),
        model.predict(features[:5]).tolist(),
        "RandomForestRegressor",
    ]


@pytest.mark.parametrize("marker", ["__mlops_payload_ref__", "__mlops_model_ref__"])
def test_a_users_dictionary_is_not_taken_for_a_reference(marker: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.joblib"
    secret.write_bytes(b"not to be read")
    show = "sorted(key for key, part in result.items() if isinstance(part, dict))"
    assert read(tmp_path, {"mine": {marker: True, "uri": str(secret)}, "n": 1}, show) == ["mine"]
