"""Flows of every kind that were written for Prefect alone: plain, with the drop-in import, and instrumented.

What the flows of ``tests/e2e/existing`` return, how their task runs end and which hooks run must be the
same in all three ways; in a second run with us, what their own caching choices say is done, and tasks
whose caching nobody chose are executed again where they do more than compute.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    TaskRunFilter,
    TaskRunFilterTags,
)
from prefect.settings import PREFECT_API_URL, temporary_settings

from tests.support.processes import FlowProject
from tests.support.server import start_prefect_server, wait_until

pytestmark = pytest.mark.xdist_group("existing")
LONG = pytest.mark.timeout(900)
"""The first of the tests runs all flows, and a machine may have other work."""

HERE = Path(__file__).parent / "existing"
WAYS = ("plain", "drop-in", "instrumented")
SELDOM = pytest.param("instrumented", marks=pytest.mark.nightly)
ENTRIES = {
    "etl": "main",
    "fanout": "work",
    "mapping": "main",
    "undone": "publish",
    "nested": "main_async",
    "sharing": "main",
    "classes": "Pipeline.run",
    "human": "main",
    "called": "main",
}
# Tasks that must not be cached, that fail, that do more than compute, and what is rolled back or committed with them.
# Those that extract ask the log of executions how often they ran, which is another one in each run.
AGAIN = {
    "etl": Counter({"load": 1, "extract-1": 1, "extract-2": 2}),
    "undone": Counter({"write": 2, "check": 1, "rolled-back": 1, "committed": 1}),
    "human": Counter(draft=1, publish=1),
    "called": Counter(ask=1),
}
COMPLETED_AGAIN = {
    "etl": {"load", "extract"},
    "undone": {"write"},
    "human": {"draft", "publish"},
    "called": {"ask"},
}
DRIVER = """
import importlib, json, operator, os, sys
from prefect import tags

tag, way, entries = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
for kind, entry in entries.items():
    with open(os.environ["EXECUTION_LOG"], "a") as log:
        log.write(f"<{kind}>\\n")
    module = importlib.import_module(kind)
    if way == "instrumented":
        from expops_prefect import instrument

        owner, _, name = entry.rpartition(".")
        instrument(vars(operator.attrgetter(owner)(module) if owner else module)[name])
    with tags(f"{tag}-{kind}"):
        print("RESULT", kind, json.dumps(module.main()))
"""
SERVE = """
import os, sys
from pathlib import Path
from prefect import flow

entrypoint = "deployed.py:child" if sys.argv[1] == "instrumented" else "called.py:child"
flow.from_source(str(Path.cwd()), entrypoint).serve(name=os.environ["SERVED_AS"], pause_on_shutdown=False)
"""
DEPLOYED = """
from called import child
from expops_prefect import instrument

instrument(child)
"""
TIMES = """

def times(name):
    with open(os.environ["EXECUTION_LOG"]) as log:
        return log.read().split().count(name)
"""


@dataclass(frozen=True)
class Turn:
    """What one process, which ran all flows, did: by flow."""

    results: dict[str, Any]
    executions: dict[str, Counter[str]]
    states: dict[str, Counter[tuple[str, str]]]
    output: str


class Way:
    """The flows in one of the three ways, in a project of its own."""

    def __init__(self, folder: Path, way: str, api: str) -> None:
        self.way = way
        config = f"prefect: {{project_id: existing-{way}}}\n"
        self.shop = FlowProject(folder / way, config, environ={"PREFECT_API_URL": api})
        shutil.copytree(HERE, self.shop.root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        if way == "drop-in":
            for file in self.shop.root.rglob("*.py"):
                file.write_text(dropped_in(file.read_text()))
        counting = folder / way / "support" / "executions.py"
        counting.write_text(counting.read_text() + TIMES)
        self.shop.write("run.py", DRIVER)
        self.shop.write("serve.py", SERVE)
        self.shop.write("deployed.py", DEPLOYED)
        self._served_as = f"existing-{way}-{uuid4().hex[:8]}"

    @contextmanager
    def served(self) -> Iterator[Callable[[], Counter[str]]]:
        """Serve the flow that others call by name; what its runs executed comes back."""
        environ = {"SERVED_AS": self._served_as, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
        process = self.shop.start("serve.py", self.way, env=environ)
        log = self.shop.folder / "executions-1.log"
        try:
            with get_client(sync_client=True) as client:
                names = lambda: {found.name for found in client.read_deployments()}  # noqa: E731
                wait_until(lambda: self._served_as in names(), 90, "the flow is served")
            yield lambda: Counter(log.read_text().split())
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()

    def turn(self, number: int) -> Turn:
        """Run all flows in one process."""
        arguments = ("run.py", f"{self._served_as}-{number}", self.way, json.dumps(ENTRIES))
        process = self.shop.start(*arguments, env={"SERVED_AS": self._served_as})
        output = self.shop.finish(process, 420).ok().output
        results = {kind: json.loads(text) for kind, text in re.findall(r"^RESULT (\w+) (.*)$", output, re.MULTILINE)}
        states = {kind: self._states(f"{self._served_as}-{number}-{kind}") for kind in ENTRIES}
        return Turn(results, self._executions(), states, output)

    def called(self) -> Counter[str]:
        """How the runs of the served flow ended."""
        chosen = DeploymentFilter(name=DeploymentFilterName(any_=[self._served_as]))
        with get_client(sync_client=True) as client:
            return Counter(run.state_name or "" for run in client.read_flow_runs(deployment_filter=chosen))

    def _executions(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for name in self.shop.executed():
            if name.startswith("<"):
                counts = found.setdefault(name.strip("<>"), Counter())
            else:
                counts[name] += 1
        return found

    def _states(self, tag: str) -> Counter[tuple[str, str]]:
        chosen = TaskRunFilter(tags=TaskRunFilterTags(all_=[tag]))
        with get_client(sync_client=True) as client:
            found = client.read_task_runs(task_run_filter=chosen)
        return Counter((re.sub("-[0-9a-f]{3}$", "", run.name), run.state_name or "") for run in found)


def dropped_in(text: str) -> str:
    """The text of a flow's file with `flow` and `task` imported from us."""

    def imports(match: re.Match[str]) -> str:
        names = match[1].split(", ")
        ours, theirs = [[name for name in names if (name in {"flow", "task"}) is wanted] for wanted in (True, False)]
        by_module = {"expops_prefect": ours, "prefect": theirs}
        return "\n".join(f"from {module} import {', '.join(of)}" for module, of in by_module.items() if of)

    return re.sub(r"^from prefect import (.*)$", imports, text, flags=re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What the flows did in one way: in one turn without us, in two turns with us."""

    first: Turn
    second: Turn | None
    called: Counter[str]
    served: Counter[str]


class Ways(dict[str, Done]):
    """All flows in each way that a test asks for; plain and with the drop-in import at once.

    Args:
        run: runs them in one way.
    """

    def __init__(self, run: Callable[[str], Done]) -> None:
        self._run = run
        with ThreadPoolExecutor(2) as pool:
            runs = [pool.submit(copy_context().run, run, way) for way in WAYS[:2]]
            super().__init__({way: done.result() for way, done in zip(WAYS, runs, strict=False)})

    def __missing__(self, way: str) -> Done:
        self[way] = done = self._run(way)
        return done


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    """On a server of their own: served flows ask it all the time."""
    folder = tmp_path_factory.mktemp("existing")
    server, api = start_prefect_server(folder, keeps_events=False)

    def run(way: str) -> Done:
        made = Way(folder, way, api)
        with made.served() as executed:
            first = made.turn(1)
            second = made.turn(2) if way != "plain" else None
            return Done(first, second, made.called(), executed())

    try:
        with temporary_settings({PREFECT_API_URL: api}):
            yield Ways(run)
    finally:
        server.stop()


@LONG
@pytest.mark.parametrize("kind", ENTRIES)
@pytest.mark.parametrize("way", ["drop-in", SELDOM])
def test_a_first_run_is_as_it_was(ways: Ways, way: str, kind: str) -> None:
    plain, ours = ways["plain"].first, ways[way].first
    assert ours.results[kind] == plain.results[kind]
    if kind == "sharing":
        # Two of its flows count the same words, and the later one takes what the earlier one found.
        assert plain.executions[kind] - ours.executions[kind] == Counter(count=1)
        assert plain.states[kind] - ours.states[kind] == Counter({("count words", "Completed"): 1})
        assert ours.states[kind] - plain.states[kind] == Counter({("count words", "Cached"): 1})
    else:
        assert ours.executions[kind] == plain.executions[kind] != Counter()
        assert ours.states[kind] == plain.states[kind] != Counter()


@LONG
@pytest.mark.parametrize("kind", ENTRIES)
@pytest.mark.parametrize("way", ["drop-in", SELDOM])
def test_a_second_run_executes_what_its_author_wants_executed(ways: Ways, way: str, kind: str) -> None:
    first, second = ways[way].first, ways[way].second
    assert second is not None
    assert second.results[kind] == first.results[kind]
    assert second.executions[kind] == AGAIN.get(kind, Counter())
    assert names(second.states[kind]) == names(first.states[kind])
    # Flows in flows are run again; their tasks are not.
    again = {name for name, state in second.states[kind] if state == "Completed" and not re.search(r"-\d$", name)}
    assert again == COMPLETED_AGAIN.get(kind, set())


@LONG
@pytest.mark.parametrize("way", ["plain", "drop-in", SELDOM])
def test_a_flow_called_by_name_through_its_deployment(ways: Ways, way: str) -> None:
    """Each turn calls it twice: a task that acts on Prefect is executed every time."""
    assert ways[way].called == Counter(Completed=2 if way == "plain" else 4)
    assert ways[way].served == Counter(compute=2)


@LONG
@pytest.mark.parametrize("way", ["plain", "drop-in", SELDOM])
def test_what_tasks_print_is_logged(ways: Ways, way: str) -> None:
    for turn in (ways[way].first, ways[way].second):
        if turn is not None:
            assert len(re.findall(r"Task run 'load-\w+' - loading 96$", turn.output, re.MULTILINE)) == 1


def names(states: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (name, _), count in states.items():
        found[name] += count
    return found
