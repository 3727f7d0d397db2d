"""Tasks that compute, as people write them, are cached, and give what they gave without us."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.test_existing_flows import dropped_in
from tests.support.processes import FlowProject

pytestmark = [pytest.mark.xdist_group("honest tasks"), pytest.mark.usefixtures("flow_processes")]
LONG = pytest.mark.timeout(900)
"""The first of the tests runs all jobs, and a machine may have other work."""

HERE = Path(__file__).parent / "computing"
ENVIRON = {"HONEST_REGION": "north", "MPLBACKEND": "agg"}


@dataclass(frozen=True)
class Told:
    """What a process says of a task."""

    task: str
    state: str
    result: str


def project(folder: Path, way: str) -> FlowProject:
    """A project with all jobs."""
    shop = FlowProject(folder / way, "prefect: {project_id: honest}\n", environ=ENVIRON)
    shutil.copytree(HERE, shop.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    if way == "drop-in":
        for file in shop.root.rglob("*.py"):
            file.write_text(dropped_in(file.read_text()))
    return shop


def run(shop: FlowProject) -> dict[str, Told]:
    """Run all jobs in a process."""
    told = shop.folder / "told.json"
    shop.finish(shop.start("run.py", str(told)), 600).ok()
    return {entry["task"]: Told(**entry) for entry in json.loads(told.read_text())}


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Told]]:
    """Each job with plain Prefect, and twice with us."""
    folder = tmp_path_factory.mktemp("honest")
    plain, ours = project(folder, "plain"), project(folder, "drop-in")
    with ThreadPoolExecutor(2) as pool:
        alone, first = pool.map(run, (plain, ours))
    return {"plain": alone, "first": first, "second": run(ours)}


@LONG
def test_all_results_are_those_of_plain_prefect(turns: dict[str, dict[str, Told]]) -> None:
    plain = turns["plain"]
    assert len(plain) >= 70
    assert [told for told in plain.values() if told.state != "Completed"] == []
    for turn in ("first", "second"):
        odd = {name: (told.result, plain[name].result) for name, told in turns[turn].items()}
        assert {name: pair for name, pair in odd.items() if pair[0] != pair[1]} == {}


@LONG
def test_nearly_all_are_cached(turns: dict[str, dict[str, Told]], capsys: pytest.CaptureFixture[str]) -> None:
    """Printed: how many of each module's tasks were cached, and which were not."""
    second = turns["second"]
    executed = [name for name, told in second.items() if told.state != "Cached"]
    with capsys.disabled():
        print("\nhonest tasks that were cached in the second run")
        for module in dict.fromkeys(name.split(".")[0] for name in second):
            names = [name for name in second if name.startswith(f"{module}.")]
            again = [name.partition(".")[2] for name in names if name in executed]
            text = f"; executed: {', '.join(again)}" if again else ""
            print(f"{module:12}{len(names) - len(again):4} of {len(names)}{text}")
    assert [name for name, told in turns["first"].items() if told.state != "Completed"] == []
    assert len(executed) <= 0.05 * len(second), executed
