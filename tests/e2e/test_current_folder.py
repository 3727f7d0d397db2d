"""A task that makes relative paths absolute depends on the current folder."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
import json, os, sys
from pathlib import Path
from executions import ran
from expops_prefect import flow, task


@task
def resolved(name):
    ran("resolved")
    return str(Path(name).resolve())


@task
def absolute(name):
    ran("absolute")
    return [str(Path(name).absolute()), os.path.abspath(name), os.path.realpath(name)]


@task
def given(path):
    ran("given")
    return str(Path(path).resolve())


@task
def counted(path):
    ran("counted")
    with open(path) as file:
        return len(file.read())


@flow
def main(root):
    os.chdir(sys.argv[1])
    Path("rows.csv").write_text("same")
    return [resolved("out.csv"), *absolute("out.csv"), given(root), counted(Path(root) / "rows.csv")]


print("TOLD", json.dumps(main(sys.argv[2])))
"""


def test_each_folder_has_results_of_its_own(shop: FlowProject, tmp_path: Path) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    shop.write("paths.py", FLOW)
    (tmp_path / "rows.csv").write_text("a,b")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    every = {"resolved": 1, "absolute": 1}
    for folder, executed in (
        (folders[0], {**every, "given": 1, "counted": 1}),
        (folders[0], {}),
        (folders[1], every),
        (folders[0], every),
    ):
        run = shop.run("paths.py", str(folder), str(tmp_path)).ok()
        place = str(folder / "out.csv")
        assert f"TOLD {[place, place, place, place, str(tmp_path), 3]}".replace("'", '"') in run.output
        assert run.executions == executed
