"""Files and folders as results, over processes and machines: put back without an execution, identical."""

from __future__ import annotations

import json
import os
import shutil
import stat
import uuid
from pathlib import Path

import pytest

from tests.support.backends import Cloud
from tests.support.processes import FlowProject, short

FLOW = """
import json
import json
import os
from dataclasses import dataclass
from pathlib import Path

from executions import ran
from expops_prefect import DataFile, flow, task
from prefect.task_runners import ProcessPoolTaskRunner

HERE = Path(__file__).parent


@dataclass
class Model:
    file: DataFile
    score: float


@task
def table():
    ran("table")
    with open("rows ü.csv", "w") as file:
        file.write("a,b\\n1,2\\n")
    os.chmod("rows ü.csv", 0o640)
    return DataFile("rows ü.csv")


@task
def train(rows, rate):
    ran("train")
    path = HERE / "models" / f"model-{rate}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": len(open(rows).readlines()), "rate": rate}))
    return Model(DataFile(path), rate)


@task
def report(models):
    ran("report")
    folder = HERE / "report"
    folder.mkdir()
    for model in models:
        (folder / Path(model.file).name).write_text(Path(model.file).read_text())
    (folder / "parts").mkdir(mode=0o700)
    (folder / "parts" / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    (folder / "latest").symlink_to("model-1.json")
    return {"report": DataFile(folder)}


@task
def summary(report):
    ran("summary")
    return sorted(os.listdir(report["report"]))


@task
def noted(text):
    ran("noted")
    Path("log.txt").write_text(text)
    return text


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def main():
    rows = table()
    models = train.map(rows, [1, 2]).result()
    assert [json.loads(open(model.file).read())["rows"] for model in models] == [2, 2]
    assert all(Path(model.file).parent == HERE / "models" for model in models)
    assert summary(report(models)) == ["latest", "model-1.json", "model-2.json", "parts"]
    noted("x")


if __name__ == "__main__":
    main()
"""

RESULTS = ("rows ü.csv", "models", "report")
CONFIG = "prefect: {project_id: shop, cache: {default: pure}}\n"


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """Names, modes and bytes of what the tasks return."""
    found: dict[str, tuple[object, ...]] = {}
    for name in RESULTS:
        for path in (root / name, *sorted((root / name).rglob("*"))):
            mode, key = stat.S_IMODE(path.lstat().st_mode), str(path.relative_to(root))
            if path.is_symlink():
                found[key] = ("link", os.readlink(path))  # noqa: PTH115 - text
            else:
                found[key] = (mode, "folder" if path.is_dir() else path.read_bytes())
    return found


def test_files_come_back_in_other_processes(tmp_path: Path, flow_processes: None) -> None:
    shop = FlowProject(tmp_path, CONFIG)
    shop.write("flow.py", FLOW)
    first = shop.run("flow.py").ok()
    assert first.executions == {"table": 1, "train": 2, "report": 1, "summary": 1, "noted": 1}
    before = described(shop.root)
    for name in RESULTS:
        path = shop.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    second = shop.run("flow.py").ok()
    assert second.executions == {"noted": 1}, second.output
    assert described(shop.root) == before
    model = shop.root / "models" / "model-2.json"
    model.write_text("of somebody")
    (shop.root / "report" / "parts" / "large.bin").unlink()
    third = shop.run("flow.py").ok()
    assert third.executions == {"noted": 1}, third.output
    (kept,) = model.parent.glob("*.changed-*")
    assert kept.read_text() == "of somebody"
    kept.unlink()
    assert described(shop.root) == before
    assert third.output.count("changed files kept") >= 1


@pytest.mark.parametrize("combination", ["local-local", "gcp-gcs"])
def test_a_second_machine_gets_the_files(tmp_path: Path, combination: str, flow_processes: None, cloud: Cloud) -> None:
    project_id = f"shop-{uuid.uuid4().hex[:8]}"
    config = cloud.config(combination, project_id, "  cache: {default: pure}\n")
    one = FlowProject(tmp_path / "one", config, environ=cloud.environ())
    one.write("flow.py", FLOW)
    assert one.run("flow.py").ok().executions == {"table": 1, "train": 2, "report": 1, "summary": 1, "noted": 1}
    two = FlowProject(tmp_path / "two" / "deeper", config, environ=cloud.environ())
    two.write("flow.py", FLOW)
    if combination == "local-local":
        (runtime,) = (path for path in one.root.iterdir() if path.name.startswith(".shop"))
        shutil.copytree(runtime, two.root / runtime.name)
    there = two.run("flow.py").ok()
    assert there.executions == {"noted": 1}, there.output
    assert described(two.root) == described(one.root)


OUTPUTS = {
    "training": {"save_model": ["out/models/"]},
    "files_by_path": {"clean": ["out/by_path/clean.csv"], "aggregate": ["{path.parent}/total.json"]},
    "inference": {"make_model": ["out/weights.joblib"], "save": ["out/predictions.csv"]},
    "argparse_script": {"write_rows": ["{path}"]},
    "subflows": {"save": ["out/summary-{region}.txt"]},
}
"""Tasks of flows that others wrote, and the files that they write."""
DRIVER = """
import importlib, json, sys
results = {name: importlib.import_module(name).main() for name in json.loads(sys.argv[1])}
print("RESULTS", json.dumps({name: str(result) for name, result in results.items()}))
"""


def test_flows_of_others_with_outputs_named(tmp_path: Path, flow_processes: None) -> None:
    shop = FlowProject(tmp_path, CONFIG)
    flows = Path(__file__).parents[1] / "effects" / "flows"
    for name, tasks in OUTPUTS.items():
        text = (flows / f"{name}.py").read_text().replace("from prefect import", "from expops_prefect import")
        for function, outputs in tasks.items():
            assert text.count(f"@task\ndef {function}(") == 1
            text = text.replace(f"@task\ndef {function}(", f"@task(outputs={outputs})\ndef {function}(")
        shop.write(f"{name}.py", text)
    shop.write("data/rows.csv", "name,value\na,1\nb,2\nc,3\n")
    shop.write("data/train.csv", "x1,x2,y\n" + "".join(f"{n},{n * n},{3 * n}\n" for n in range(20)))
    for region in ("north", "south"):
        shop.write(f"data/region-{region}.csv", "name,value\na,1\nb,2\n")
    shop.write("driver.py", DRIVER)
    out, seen = shop.root / "out", []
    for _ in range(3):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        done = shop.run("driver.py", json.dumps(list(OUTPUTS))).ok()
        (said,) = [line for line in done.output.splitlines() if line.startswith("RESULTS")]
        files = {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        seen.append((said, files))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][1]) == 9
    runs = shop.project().runs()[: len(OUTPUTS)]
    executed = {
        short(row.path)
        for run in runs
        for row in shop.project().rows(run.run_id)
        if row.status == "completed" and row.fields.get("miss")
    }
    assert executed == {"trained_at"}, "it reads the clock"
