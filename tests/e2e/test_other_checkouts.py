"""One cache for two checkouts of a project: what is the same in both is a hit, whatever folder it lies in."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from executions import ran
from expops_prefect import flow, task

HERE = Path(__file__).parent
DATA = HERE / "data"
PLACES = {"train": DATA / "train.csv", "others": [str(HERE / "a"), str(HERE / "b")]}


@dataclass
class Options:
    folder: Path
    names: set


def around(folder):
    def read():
        return len(folder.parts) - len(HERE.parts)
    return read


DEPTH = around(DATA)


@task
def constants():
    ran("constants")
    return len(PLACES) + len(DATA.name)


@task
def defaults(folder=DATA, places=(str(DATA), "x")):
    ran("defaults")
    return folder.name


@task
def closures():
    ran("closures")
    return DEPTH()


@task
def arguments(path, text, options, more):
    ran("arguments")
    return path.name + text.rpartition("/")[2] + options.folder.name


@task
def inside(folder):
    ran("inside")
    return {"written": str(folder / "out.csv")}


@flow
def main():
    constants(), defaults(), closures()
    options = Options(DATA, {str(HERE / "x"), "x"})
    arguments(DATA, str(DATA), options, {"a": [HERE, {"b": str(HERE)}], str(DATA): 1})
    assert inside(DATA) == {"written": str(DATA / "out.csv")}


if __name__ == "__main__":
    main()
"""


def test_paths_below_the_root_count_from_there(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path, environ={"EXPOPS_RUNTIME_DIR": str(tmp_path / "runtime")})
    shop.write("flow.py", FLOW)
    assert shop.run("flow.py").ok().total == 5
    assert shop.run("flow.py").ok().total == 0
    elsewhere = tmp_path / "elsewhere" / "deeper"
    elsewhere.parent.mkdir()
    shutil.move(shop.root, elsewhere)
    shop.root = elsewhere
    # What names a path of the other checkout would be wrong here.
    assert shop.run("flow.py").ok().executions == {"inside": 1}
    assert shop.run("flow.py").ok().total == 0
