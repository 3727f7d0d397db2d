"""Results are read back in other processes: in Python and on the command line, with the classes of the script."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from tests.support.processes import FlowProject

MODELS = """
class Model:
    def __init__(self, rate):
        self.rate = rate

    def __repr__(self):
        return f"Model({self.rate})"
"""
MAIN = """
import threading

from executions import ran
from expops_prefect import Project, flow, task
from models import Model


class Guarded:
    lock = threading.Lock()

    def __init__(self, rate):
        self.rate = rate


class Plain:
    def __init__(self, rate):
        self.rate = rate


@task
def score(rate):
    ran("score")
    return {"rate": rate, "score": 1 - rate}


@task
def train(rate):
    ran("train")
    return [Model(rate), Plain(rate)]


@task
def guarded(rate):
    ran("guarded")
    return Guarded(rate)


@task
def opens():
    ran("opens")
    return Project.open().result("latest", "score", call=2)["rate"]


@task
def holds():
    ran("holds")
    return PROJECT.result("latest", "score", call=1)["rate"]


@flow
def compute():
    score.map([0.5, 0.25]).result(), train(0.5), guarded(0.5)


@flow
def look():
    return opens(), holds()


PROJECT = Project.open()

if __name__ == "__main__":
    compute()
    print("READ", look())
"""


@pytest.fixture
def shop(tmp_path: Path) -> FlowProject:
    made = FlowProject(tmp_path, "prefect: {project_id: shop}\n")
    made.write("models.py", MODELS)
    made.write("main.py", MAIN)
    return made


def load(shop: FlowProject, *arguments: str) -> tuple[int, str]:
    """``expops-prefect cache load``, where nothing of the project can be imported."""
    done = shop.run("-m", "expops_prefect.cli.main", "cache", "load", *arguments, env={"PYTHONPATH": ""})
    return done.returncode, "\n".join(line for line in done.output.splitlines() if "temporary folder" not in line)


def test_results_are_read_back(shop: FlowProject) -> None:
    first = shop.run("main.py").ok()
    assert "READ (0.25, 0.5)" in first.output
    assert first.executions == {"score": 2, "train": 1, "guarded": 1, "opens": 1, "holds": 1}
    # What a task reads of other runs is no part of its key, so it is executed every time.
    second = shop.run("main.py").ok()
    assert second.executions == {"opens": 1, "holds": 1}
    run = shop.project().runs()[-1].run_id

    assert load(shop, run, "score", "--call", "2") == (0, "{'rate': 0.25, 'score': 0.75}")
    assert load(shop, run, "train", "-o", "model.pkl") == (0, "wrote list into model.pkl")
    code, told = load(shop, run, "guarded")
    assert code == 1
    assert "main:Guarded is not in the script that runs here" in told
    assert told.endswith("in Python, import main, then read the result in the same process")
    says = f"""
import json, pickle
import main
from expops_prefect import Project
project = Project.open()
model, plain = project.result({run!r}, "train")
guarded = project.result({run!r}, "guarded")
with open("model.pkl", "rb") as file:
    again = pickle.load(file)
print(json.dumps([type(model) is main.Model, type(plain) is main.Plain, type(guarded) is main.Guarded, again[1].rate]))
"""
    done = shop.run("-c", says).ok()
    assert json.loads(done.output.splitlines()[-1]) == [True, True, True, 0.5]
    assert (shop.root / "model.pkl").read_bytes().startswith(pickle.PROTO)
