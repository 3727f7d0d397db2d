"""Tasks with effects are executed each time; what they read by name is a dependency.

Every kind of effect in five shapes, as people write them: each process runs them all, in one flow. The
world outside counts what was done, and plain Prefect proves that it counts rightly.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from prefect import get_client
from prefect.blocks.system import Secret
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.variables import Variable
from pydantic import SecretStr

from tests.e2e.test_existing_flows import dropped_in
from tests.effects.worlds import Site, site
from tests.support.processes import FlowProject
from tests.support.server import wait_until

pytestmark = [pytest.mark.xdist_group("effect corpus"), pytest.mark.usefixtures("flow_processes", "prefect_events")]
LONG = pytest.mark.timeout(900)
"""The first of the tests runs all cases, and a machine may have other work."""

HERE = Path(__file__).parent / "corpus"
DEPENDENCIES = ("file read", "folder listed", "environment by name", "variable by name", "lazy data")
EFFECTS = (
    *("clock", "random", "environment", "network", "database", "process", "file write", "person"),
    *("state: global", "state: container", "state: frame", "state: list", "state: model", "state: generator"),
    *("prefect: artifact", "prefect: event", "prefect: set variable", "prefect: secret", "prefect: runtime"),
    "prefect: client",
)
SHAPES = ("direct", "helper", "method", "async", "third party")
ROUNDS = {"plain": (1, 3), "drop-in": (1, 2, 3)}
SECRET = "the-secret-of-run"


@dataclass(frozen=True)
class Told:
    """What a process says of a case."""

    kind: str
    shape: str
    mark: str
    fresh: bool
    world: bool
    task: str
    state: str
    result: str
    after: str


@dataclass
class Round:
    """What one process did: its cases, and how often the world saw the mark of each."""

    told: dict[str, Told]
    world: Counter[str]
    output: str


class World:
    """A project with the corpus, and the folder, tables and requests that its tasks see."""

    def __init__(self, folder: Path, way: str, server: Site) -> None:
        self.way, self.server = way, server
        self.shop = FlowProject(folder / way, f"prefect: {{project_id: corpus-{way}}}\n")
        shutil.copytree(HERE, self.shop.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        if way == "drop-in":
            for file in self.shop.root.rglob("*.py"):
                file.write_text(dropped_in(file.read_text()))
        self.out, self.database = self.shop.root / "out", self.shop.root / "world.db"

    def prepare(self, number: int) -> None:
        """Make the world new; in the third round what tasks depend on is other than before."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        for mark in self.removed():
            (self.out / f"old-{mark}").touch()
        self.database.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("create table marks (mark text)")
            connection.execute("create table runs (run integer)")
            connection.execute("insert into runs values (?)", (number,))
        if number != 2:
            data = self.shop.root / "data"
            (data / "parts").mkdir(parents=True, exist_ok=True)
            frame = pd.DataFrame({"name": ["a", "b"], "value": [number + 1, number + 4]})
            frame.to_csv(data / "rows.csv", index=False)
            frame.to_parquet(data / "rows.parquet")
            np.save(data / "rows.npy", frame["value"].to_numpy())
            frame.to_csv(data / "parts" / f"part-{number}.csv", index=False)
            (data / "settings.json").write_text(json.dumps({"limit": number}))

    def removed(self) -> list[str]:
        """The marks of the cases that remove or move a file."""
        text = (HERE / "kinds" / "files.py").read_text()
        tasks = [task for _, task in re.findall(r'^Case\("file write", "([\w ]+)", ([\w.]+)', text, re.MULTILINE)]
        return [f"file-write-{tasks.index(task)}-{self.way}" for task in ("remove", "move", "helped_remove")]

    def run(self, number: int) -> Round:
        """Run all cases in a process."""
        answers = self.shop.folder / "answers.txt"
        answers.write_text("".join(f"answer {line} of run {number}\n" for line in range(20)))
        told = self.shop.folder / "told.json"
        told.unlink(missing_ok=True)
        environ = {
            "WORLD": f"{self.server.url}/{self.way}",
            "CORPUS_WAY": self.way,
            "CORPUS_RUN": str(number),
            "CORPUS_REGION": "south" if number == 3 else "north",
        }
        with answers.open() as stdin:
            process = self.shop.start("run.py", str(told), f"run-{number}", env=environ, stdin=stdin.fileno())
            output = self.shop.finish(process, 600).ok().output
        found = [Told(**entry) for entry in json.loads(told.read_text())]
        return Round({entry.mark: entry for entry in found}, self.seen(found), output)

    def seen(self, told: list[Told]) -> Counter[str]:
        """How often each mark is in the world, since the world was made new."""
        found = Counter(re.split("[/ ]", line)[2] for line in self.server.take(self.way))
        with closing(sqlite3.connect(self.database)) as connection:
            found.update(mark for (mark,) in connection.execute("select mark from marks"))
        for path in self.out.iterdir():
            found[path.name] += 1
        if (commands := self.out / "commands.txt").exists():
            found.update(commands.read_text().split())
        for mark in self.removed():
            if not (self.out / f"old-{mark}").exists() and not (self.out / mark).exists():
                found[mark] += 1
        return found + self.told_prefect([case.mark for case in told])

    def told_prefect(self, marks: list[str]) -> Counter[str]:
        """What Prefect's server has under the marks; all but the events is removed."""
        found: Counter[str] = Counter()
        with get_client(sync_client=True) as client:
            wanted = ArtifactFilter(key=ArtifactFilterKey(any_=marks))
            for artifact in client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC):
                found[artifact.key or ""] += 1
                client.delete_artifact(artifact.id)
            names = {mark.replace("-", "_"): mark for mark in marks}
            for variable in client.read_variables(limit=200):
                if variable.name in names:
                    found[names[variable.name]] += 1
                    client.delete_variable_by_name(variable.name)
        return found


def events(marks: set[str]) -> Counter[str]:
    """How often each mark was told in an event."""
    found: Counter[str] = Counter()
    with get_client(sync_client=True) as client:
        asked = EventFilter(event=EventNameFilter(prefix=["corpus."]))
        answer = client._client.post("/events/filter", json={"filter": asked.model_dump(mode="json"), "limit": 50})
        for event in answer.raise_for_status().json()["events"]:
            found[event["resource"]["prefect.resource.id"].removeprefix("corpus.")] += 1
    return Counter({mark: count for mark, count in found.items() if mark in marks})


@dataclass
class Corpus:
    """All that was run, by way and round."""

    rounds: dict[str, dict[int, Round]]
    events: Counter[str]
    leaked: list[str]

    def cases(self, kind: str, way: str = "drop-in") -> list[list[Told]]:
        """Each case of a kind: what each round says of it."""
        rounds = self.rounds[way]
        marks = [mark for mark, told in rounds[1].told.items() if told.kind == kind]
        return [[rounds[number].told[mark] for number in rounds] for mark in marks]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    folder = tmp_path_factory.mktemp("corpus")
    rounds: dict[str, dict[int, Round]] = {way: {} for way in ROUNDS}

    def answer(server: Site, method: str, path: str, body: bytes) -> tuple[int, Any]:
        server.memory[path] += 1
        return 200, {"path": path, "times": server.memory[path]}

    with site(answer) as server, ThreadPoolExecutor(2) as pool:
        worlds = {way: World(folder, way, server) for way in ROUNDS}
        for number in (1, 2, 3):
            Secret(value=SecretStr(f"{SECRET}-{number}")).save("corpus", overwrite=True)
            Variable.set("corpus_threshold", str(10 * (1 + (number == 3))), overwrite=True)
            ways = [way for way in ROUNDS if number in ROUNDS[way]]
            for way in ways:
                worlds[way].prepare(number)
            done = list(pool.map(lambda way, number=number: worlds[way].run(number), ways))
            for way, found in zip(ways, done, strict=True):
                rounds[way][number] = found
        told = {mark for way in ROUNDS for mark, case in rounds[way][1].told.items() if case.kind == "prefect: event"}
        wanted = sum(len(ROUNDS[mark.partition("-")[2].split("-", 2)[2]]) for mark in told)
        wait_until(lambda: events(told).total() >= wanted, 20, "all events", on_failure=lambda: repr(events(told)))
        leaked = [
            str(path.relative_to(folder))
            for path in worlds["drop-in"].shop.root.rglob("*")
            if path.is_file() and SECRET.encode() in path.read_bytes()
        ]
        yield Corpus(rounds, events(told), leaked)
        Variable.unset("corpus_threshold")


def kept(cases: list[list[Told]]) -> list[str]:
    """The cases that some later round took from the cache."""
    return [told[0].task for told in cases if any(case.state == "Cached" for case in told[1:])]


@LONG
@pytest.mark.parametrize("way", ROUNDS)
def test_the_world_counts_what_is_executed(corpus: Corpus, way: str) -> None:
    """Under plain Prefect each case has its effect each time; and so has each with us."""
    rounds = corpus.rounds[way]
    assert len(rounds[1].told) >= 120
    odd = []
    for mark, told in rounds[1].told.items():
        others = [rounds[number].told[mark] for number in rounds]
        where = f"{told.kind}, {told.shape}: {told.task}"
        if failed := [case.result for case in others if case.state not in ("Completed", "Cached")]:
            odd.append(f"{where}: failed: {failed}")
        if told.world and told.kind != "prefect: event":
            odd += [f"{where}: run {n}: {count} times" for n in rounds if (count := rounds[n].world[mark]) != 1]
        if told.kind == "prefect: event" and corpus.events[mark] != len(rounds):
            odd.append(f"{where}: {corpus.events[mark]} events in {len(rounds)} runs")
        if told.fresh and told.kind not in DEPENDENCIES and len({case.result for case in others}) < len(others):
            odd.append(f"{where}: a result came twice: {[case.result[:80] for case in others]}")
        if told.fresh and others[0].result == others[-1].result:
            odd.append(f"{where}: the result did not change: {told.result[:80]}")
        if len({case.after for case in others}) > 1:
            odd.append(f"{where}: what is seen after it: {[case.after for case in others]}")
    assert not odd, "\n" + "\n".join(odd)


@LONG
def test_what_tasks_leave_in_the_process_is_what_plain_prefect_leaves(corpus: Corpus) -> None:
    plain, ours = corpus.rounds["plain"][1].told, corpus.rounds["drop-in"][2].told
    afters = {told.task: told.after for told in plain.values()}
    # A mark ends with the way in which its case was run.
    other = {told.task: (told.after.replace("-drop-in", "-plain"), afters[told.task]) for told in ours.values()}
    assert {task: pair for task, pair in other.items() if pair[0] != pair[1]} == {}


@LONG
@pytest.mark.parametrize("kind", EFFECTS)
def test_an_effect_is_executed_each_time(corpus: Corpus, kind: str) -> None:
    cases = corpus.cases(kind)
    assert {told[0].shape for told in cases} == set(SHAPES)
    assert kept(cases) == []


@LONG
@pytest.mark.parametrize("kind", DEPENDENCIES)
def test_what_is_read_by_its_name_is_a_dependency(corpus: Corpus, kind: str) -> None:
    cases = corpus.cases(kind)
    assert {told[0].shape for told in cases} == set(SHAPES)
    stale = [third.task for first, _, third in cases if third.state == "Cached" or third.result == first.result]
    assert stale == []
    other = [first.task for first, second, _ in cases if second.result != first.result]
    assert other == []
    again = [second.task for _, second, _ in cases if second.state != "Cached"]
    assert set(again) <= MAY_RUN_AGAIN


MAY_RUN_AGAIN = {
    *("dependencies.collect", "dependencies.helped_scan", "dependencies.Lake.scan", "dependencies.scan_async"),
    *("dependencies.dask_sum", "dependencies.dataset", "dependencies.from_settings"),
    "dependencies.Config.name",
}
"""Plans over files, and settings that are read by names that no code shows."""


@LONG
def test_no_secret_is_in_the_project(corpus: Corpus) -> None:
    assert corpus.leaked == []


@LONG
def test_the_table(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed: how many of the cases of each kind and shape ran in each round."""
    lines = [f"{'effect':24}" + "".join(f"{shape:>16}" for shape in SHAPES)]
    for kind in (*EFFECTS, *DEPENDENCIES):
        cells = []
        for shape in SHAPES:
            cases = [told for told in corpus.cases(kind) if told[0].shape == shape]
            ran = [sum(told[number].state != "Cached" for told in cases) for number in range(3)]
            cells.append(f"{'+'.join(map(str, ran))} of {len(cases)}")
        lines.append(f"{kind:24}" + "".join(f"{cell:>16}" for cell in cells))
    with capsys.disabled():
        print("\nexecuted in runs 1, 2, 3, of the cases of each kind and shape\n" + "\n".join(lines))
    assert len(lines) == 1 + len(EFFECTS) + len(DEPENDENCIES)
