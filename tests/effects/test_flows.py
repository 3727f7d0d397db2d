"""Flows in the shapes that people write: what they do is the same with us, and what can be saved is saved.

Each flow runs three times, in processes of its own, in three forms: with plain Prefect, with the import line
replaced, and with ``instrument``. Results, files, tables, requests, artifacts, Variables and the ends of the
task runs must be those of plain Prefect each time. Before the third run what flows read is changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from prefect import get_client
from prefect.blocks.system import Secret
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterTags,
)
from prefect.variables import Variable
from pydantic import SecretStr

from tests.e2e.test_existing_flows import dropped_in
from tests.effects.worlds import Site, site
from tests.support.processes import FlowProject
from tests.support.server import wait_until

pytestmark = [
    pytest.mark.xdist_group("flows of others"),
    pytest.mark.nightly,
    pytest.mark.usefixtures("flow_processes"),
]
LONG = pytest.mark.timeout(900)

HERE = Path(__file__).parent / "flows"
FORMS = ("plain", "dropin", "instrument")
ROUNDS = (1, 2, 3)
KINDS = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
SELDOM = (
    *("archive", "argparse_script", "class_based", "click_script", "factories", "fan_in", "flaky", "generators"),
    *("limits", "log_lines", "names", "orm", "runners", "sys_path"),
)
"""Shapes that others are much like: run by night."""
ELSEWHERE = {
    "class_based": "class_based:OrdersPipeline.run",
    "deployed": "",  # its own file says it, as a deployment's does
    "packaged": "shop_pkg.pipeline:price_list",
}


def entry(kind: str) -> str:
    """Where the flow of a module is."""
    if kind in ELSEWHERE:
        return ELSEWHERE[kind]
    names = re.findall(r"^@flow.*\n(?:async )?def (\w+)", (HERE / f"{kind}.py").read_text(), re.MULTILINE)
    return f"{kind}:{names[-1]}"


@dataclass
class Round:
    """What one process, which ran all flows, did.

    Attributes:
        results: what each flow returned.
        world: what is outside: files and tables by path, requests, artifacts, Variables.
        ends: how the task runs of each flow ended.
        flows: how its flow runs ended.
    """

    results: dict[str, Any]
    world: dict[str, Any]
    output: str
    ends: dict[str, Counter[tuple[str, str]]] = field(default_factory=dict)
    flows: dict[str, Counter[str]] = field(default_factory=dict)

    def alike(self, kind: str) -> Counter[tuple[str, str]]:
        """The ends of a flow's task runs; taken from the cache is as good as executed."""
        found: Counter[tuple[str, str]] = Counter()
        for (name, state), count in self.ends.get(kind, Counter()).items():
            found[name, "Completed" if state == "Cached" else state] += count
        return found

    def cached(self, kind: str) -> int:
        """How many task runs of a flow were taken from the cache."""
        return sum(count for (_, state), count in self.ends.get(kind, Counter()).items() if state == "Cached")


def answer(server: Site, method: str, path: str, body: bytes) -> tuple[int, Any]:
    """The shop's API. What it says depends on the round, and how often it was asked."""
    parts, query = urlsplit(path).path.strip("/").split("/"), parse_qs(urlsplit(path).query)
    form, what = parts[0], parts[1]
    number = server.memory[f"round {form}"]
    asked = f"{number} {'/'.join(parts)}"
    server.memory[asked] += 1
    if what == "orders":
        page = int(query["page"][0])
        return 200, [{"id": 10 * page + n, "customer": "ann", "amount": n * 1.5 + number} for n in range(3)]
    if what == "new":
        return 200, [{"id": n, "amount": n / 2} for n in range(int(query["after"][0]) + 1, 3 * number + 1)]
    if what == "rates":
        return 200, {"rate": 1 + len(parts[2]) + number / 10}
    if what == "flaky":
        return (200 if server.memory[asked] > 2 else 503), {"try": server.memory[asked]}
    if what == "jobs" and method == "POST":
        return 200, {"id": f"job-{number // 2}"}
    if what == "jobs":
        return 200, {"status": "done" if server.memory[asked] > 2 else "running"}
    return 200, {"round": number, "path": parts[1:]}


class World:
    """A project with all flows in one form."""

    def __init__(self, folder: Path, form: str, server: Site) -> None:
        self.form, self.server = form, server
        environ = {"SHOP_API": f"{server.url}/{form}", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        config = f"prefect: {{project_id: flows-{form}}}\n"
        self.shop = FlowProject(folder / form, config, environ=environ)
        shutil.copytree(HERE, self.shop.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        for file in self.shop.root.rglob("*.py"):
            text = file.read_text().replace("@form", form)
            file.write_text(dropped_in(text) if form == "dropin" else text)
        if form == "instrument":
            deployed = self.shop.root / "deployed.py"
            deployed.write_text(
                f"{deployed.read_text()}\n\nfrom expops_prefect import instrument\n\ninstrument(counts)\n"
            )
        (self.shop.root / "out").mkdir()

    def prepare(self, number: int) -> None:
        """Make what the flows read; in the third round it is other than before."""
        data, late = self.shop.root / "data", number == 3
        data.mkdir(exist_ok=True)
        rows = [("a", 1), ("b", 2), ("c", 4 if late else 3)]
        (data / "rows.csv").write_text("name,value\n" + "".join(f"{name},{value}\n" for name, value in rows))
        for region in ("north", "south", *(("west",) if late else ())):
            values = [len(region), 2 + late]
            (data / f"region-{region}.csv").write_text("name,value\n" + "".join(f"x,{value}\n" for value in values))
        train = "".join(f"{n},{n * n % 7},{3 * n - n * n % 7 + late}\n" for n in range(20))
        (data / "train.csv").write_text(f"x1,x2,y\n{train}")
        (data / "config.yaml").write_text(f"factor: {2 + late}\nsteps: [read, clean]\n")
        (data / "shape.json").write_text(json.dumps({"points": [[0, 0], [2 + late, 0], [0, 2]]}))
        (data / "words.txt").write_text("a b a c\n")
        self.server.memory[f"round {self.form}"] = number

    def run(self, number: int, kinds: Sequence[str]) -> Round:
        """Run flows in a process."""
        told = self.shop.folder / "told.json"
        entries = {kind: entry(kind) for kind in kinds}
        arguments = (
            "run.py",
            str(told),
            self.form,
            f"{self.shop.folder.parent.name}-{self.form}-{number}",
            json.dumps(entries),
        )
        region = {"SHOP_REGION": "south" if number == 3 else "north"}
        outcome = self.shop.finish(self.shop.start(*arguments, env=region), 600).ok()
        results = json.loads(self.neutral(told.read_text()))
        return Round(results, self.snapshot(), outcome.output)

    def neutral(self, text: str) -> str:
        """A text in which the form is not named."""
        return re.sub(rf"\b{self.form}\b", "@form", text)

    def snapshot(self) -> dict[str, Any]:
        """Files and tables, and since the last time requests, artifacts and Variables."""
        found: dict[str, Any] = {}
        for path in sorted((self.shop.root / "out").rglob("*")):
            name = str(path.relative_to(self.shop.root))
            if path.is_dir() or "-ids" in name:
                found[name] = "is there"
            elif path.suffix == ".db":
                with closing(sqlite3.connect(path)) as connection:
                    found[name] = "\n".join(connection.iterdump())
            else:
                content = path.read_bytes()
                text = self.neutral(content.decode()) if is_text(content) else hashlib.sha256(content).hexdigest()
                found[name] = text
        requests = self.server.take(self.form)
        found["requests"] = Counter(self.neutral(line) for line in requests)
        with get_client(sync_client=True) as client:
            wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"%-{self.form}"))
            artifacts = client.read_artifacts(artifact_filter=wanted)
            users = [item for item in artifacts if not (item.key or "").startswith("expops-")]
            found["artifacts"] = Counter(f"{self.neutral(item.key or '')} {item.data}" for item in users)
            for item in artifacts:
                client.delete_artifact(item.id)
            variables = {item.name: item.value for item in client.read_variables(limit=200)}
        found["variables"] = variables.get(f"watermark_{self.form}")
        return found


def is_text(content: bytes) -> bool:
    """Whether it can be shown in a message."""
    try:
        return "\0" not in content.decode()
    except UnicodeDecodeError:
        return False


def ends(tag: str) -> tuple[dict[str, Counter[tuple[str, str]]], dict[str, Counter[str]]]:
    """How the task runs and the flow runs of each flow ended, as Prefect's server has it."""
    tasks: dict[str, Counter[tuple[str, str]]] = {}
    flows: dict[str, Counter[str]] = {}
    with get_client(sync_client=True) as client:
        wanted = TaskRunFilter(tags=TaskRunFilterTags(all_=[tag]))
        offset = 0
        while found := client.read_task_runs(task_run_filter=wanted, limit=200, offset=offset):
            offset += len(found)
            for run in found:
                kind = next(name for name in run.tags if name.startswith(f"{tag}-")).removeprefix(f"{tag}-")
                name = re.sub("-[0-9a-f]{3}$", "", run.name)
                tasks.setdefault(kind, Counter())[name, run.state_name or ""] += 1
        asked = FlowRunFilter(tags=FlowRunFilterTags(all_=[tag]))
        for flow_run in client.read_flow_runs(flow_run_filter=asked, limit=200):
            kind = next(name for name in flow_run.tags if name.startswith(f"{tag}-")).removeprefix(f"{tag}-")
            flows.setdefault(kind, Counter())[flow_run.state_name or ""] += 1
    return tasks, flows


@dataclass
class Flows:
    """Flows that were run in all forms, three times."""

    name: str
    kinds: Sequence[str]
    by_form: dict[str, dict[int, Round]]

    def tag(self, form: str, number: int) -> str:
        """What marks the runs of one process."""
        return f"{self.name}-{form}-{number}"

    def told(self) -> bool:
        """Ask Prefect's server how everything ended; whether it knows all by now."""
        turns = []
        for form, number in product(FORMS, ROUNDS):
            turn = self.by_form[form][number]
            turn.ends, turn.flows = ends(self.tag(form, number))
            turns.append(sum((turn.alike(kind) for kind in self.kinds), Counter()))
        running = any(state in ("Pending", "Running") for turn in turns for _, state in turn)
        return not running and len({turn.total() for turn in turns}) == 1


@pytest.fixture(
    scope="module",
    params=[
        pytest.param([kind for kind in KINDS if kind not in SELDOM], id="suite"),
        pytest.param(SELDOM, id="seldom", marks=pytest.mark.nightly),
    ],
)
def flows(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Flows:
    folder, kinds = tmp_path_factory.mktemp("flows"), request.param
    found: dict[str, dict[int, Round]] = {form: {} for form in FORMS}
    Secret(value=SecretStr("the-shop's-token")).save("shop-token", overwrite=True)
    with site(answer) as server, ThreadPoolExecutor(len(FORMS)) as pool:
        worlds = {form: World(folder, form, server) for form in FORMS}
        for number in ROUNDS:
            Variable.set("shop_limit", "20" if number == 3 else "10", overwrite=True)
            for world in worlds.values():
                world.prepare(number)
            runs = {form: pool.submit(copy_context().run, world.run, number, kinds) for form, world in worlds.items()}
            for form, done in runs.items():
                found[form][number] = done.result()
    made = Flows(folder.name, kinds, found)
    # Task runs reach the server in events, a moment later. What is missing then is shown by the tests.
    with suppress(AssertionError):
        wait_until(made.told, 120, "all task runs are told")
    for name in ("shop_limit", *(f"watermark_{form}" for form in FORMS)):
        Variable.unset(name)
    return made


def differences(plain: dict[str, Any], ours: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What is not alike, as (plain, ours)."""
    names = [*plain, *(name for name in ours if name not in plain)]
    pairs = {name: (plain.get(name), ours.get(name)) for name in names}
    for name, (left, right) in pairs.items():
        if isinstance(left, Counter) and isinstance(right, Counter):
            pairs[name] = (left - right, right - left)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


CHANGE = {
    2: ("hourly", "async_gather", "batches", "sqlite_rows", "watermark", "sampling", "pathless", "tool", "orm"),
    3: ("files_by_path", "env_config", "config_yaml", "threshold", "fan_in", "annotated", "inference", "sys_path"),
}
"""Flows that give another result in a round than in the one before."""


@LONG
def test_the_flows_are_sound(flows: Flows) -> None:
    plain = flows.by_form["plain"]
    assert len(KINDS) - len(SELDOM) >= 40
    for number, turn in plain.items():
        wrong = {kind: result for kind, result in turn.results.items() if re.match(r"\w*(Error|Exit)\b", str(result))}
        assert wrong == {}, turn.output[-8000:]
        assert set(turn.results) == set(flows.kinds) == set(turn.ends) == set(turn.flows)
        same = [
            kind for kind in CHANGE.get(number, ()) if turn.results.get(kind) == plain[number - 1].results.get(kind)
        ]
        assert [kind for kind in same if kind in flows.kinds] == []


@LONG
@pytest.mark.parametrize("number", ROUNDS)
@pytest.mark.parametrize("form", FORMS[1:])
def test_a_flow_does_what_it_does_with_plain_prefect(flows: Flows, form: str, number: int) -> None:
    plain, ours = flows.by_form["plain"][number], flows.by_form[form][number]
    odd = {f"world, {name}": pair for name, pair in differences(plain.world, ours.world).items()}
    odd |= {f"result of {kind}": pair for kind, pair in differences(plain.results, ours.results).items()}
    for kind in flows.kinds:
        pair = (plain.alike(kind), ours.alike(kind))
        odd |= {f"task runs of {kind}": pair} if pair[0] != pair[1] else {}
    odd |= {f"flow runs of {kind}": pair for kind, pair in differences(plain.flows, ours.flows).items()}
    assert not odd, "what: (plain Prefect, with us)\n" + "\n".join(f"{what}: {pair}" for what, pair in odd.items())


SAVED = 0.25
"""At least such a part of the task runs of the second run of all flows is taken from the cache."""


@LONG
def test_what_can_be_saved_is_saved(flows: Flows, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed: the task runs of each flow, and how many were cached, in each form and run."""
    lines = [f"{'flow':22}{'task runs':>10}" + "".join(f"{form:>14}" for form in FORMS)]
    for kind in flows.kinds:
        cells = ["+".join(str(flows.by_form[form][number].cached(kind)) for number in ROUNDS) for form in FORMS]
        runs = flows.by_form["plain"][1].alike(kind).total()
        lines.append(f"{kind:22}{runs:>10}" + "".join(f"{cell:>14}" for cell in cells))
    total = sum(flows.by_form["plain"][2].alike(kind).total() for kind in flows.kinds)
    saved = {form: sum(flows.by_form[form][2].cached(kind) for kind in flows.kinds) for form in FORMS}
    with capsys.disabled():
        print("\ntask runs that were taken from the cache, in runs 1, 2, 3\n" + "\n".join(lines))
        print(f"in the second run: {saved} of {total}")
    for form in FORMS[1:]:
        assert saved[form] >= SAVED * total
