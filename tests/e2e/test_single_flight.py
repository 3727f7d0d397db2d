"""Processes that want one result at once: one computes it; what becomes of it when that one is killed or paused."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from expops_prefect.models.names import LEASE_PREFIX
from tests.support.processes import FlowProject
from tests.support.server import wait_until

CONFIG = "prefect: {project_id: shop, cache: {default: all, single_flight: true, lease_seconds: %s}}\n"

FLOW = """
import logging, os, sys, time
from pathlib import Path
from executions import ran
from expops_prefect import flow, task

SIGNS = Path(os.environ["SIGNS"])
ME = os.environ["ME"]


class Waits(logging.Handler):
    def emit(self, record):
        if " waits: " in record.getMessage():
            (SIGNS / f"waits-{ME}").touch()


logging.getLogger("prefect.expops").addHandler(Waits())


def until(done):
    deadline = time.monotonic() + 100
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@task
def slow(x):
    ran("slow")
    (SIGNS / f"inside-{os.environ['ME']}").touch()
    until(lambda: (SIGNS / "go").exists())
    return {"x": x, "by": os.environ["ME"]}


@flow
def main():
    return slow(1)


if __name__ == "__main__":
    print("result", main())
"""


class Crowd:
    """Flow processes that share signs in a folder, and one count of executions.

    Args:
        shop: the project.
        lease_seconds: how long its leases last.
    """

    def __init__(self, shop: FlowProject, lease_seconds: float) -> None:
        self.shop = shop
        self.signs = shop.folder / "signs"
        self.signs.mkdir()
        self.log = shop.folder / "all-executions.log"
        self.log.touch()
        shop.configure(CONFIG % lease_seconds)
        shop.write("main.py", FLOW)

    def start(self, name: str) -> subprocess.Popen[str]:
        """Start a process under a name."""
        env = {"ME": name, "SIGNS": str(self.signs), "EXECUTION_LOG": str(self.log)}
        return self.shop.start("main.py", env=env)

    def wait(self, pattern: str, count: int = 1) -> list[Path]:
        """Wait until there are so many signs."""
        wait_until(lambda: len(list(self.signs.glob(pattern))) >= count, 120, f"{count} signs {pattern}")
        return list(self.signs.glob(pattern))

    def go(self) -> None:
        """Let whoever computes end."""
        (self.signs / "go").touch()

    def executions(self) -> int:
        """How often the task was executed."""
        return len(self.log.read_text().split())

    def nothing_is_held(self) -> bool:
        """Whether no lease is left."""
        return not list(self.shop.project().kv.scan(LEASE_PREFIX))


def test_one_of_many_computes(shop: FlowProject) -> None:
    crowd = Crowd(shop, 30)
    processes = [crowd.start(name) for name in "abcd"]
    crowd.wait("waits-*", 3)
    [inside] = crowd.wait("inside-*")
    crowd.go()
    winner = inside.name[-1]
    for process in processes:
        done = shop.finish(process).ok()
        assert f"result {{'x': 1, 'by': '{winner}'}}" in done.output
    assert crowd.executions() == 1
    project = shop.project()
    rows = [row for run in project.runs() for row in project.rows(run.run_id)]
    assert sorted(row.status for row in rows) == ["cached", "cached", "cached", "completed"]
    waited = {row.status: row.fields.get("waited_seconds", 0) > 0 for row in rows}
    assert waited == {"completed": False, "cached": True}
    [computed] = [row for row in rows if row.status == "completed"]
    assert {row.cached_run_id for row in rows if row.status == "cached"} == {computed.fields["run_id"]}
    assert crowd.nothing_is_held()


def test_a_holder_that_is_killed_is_followed_by_the_next(shop: FlowProject) -> None:
    crowd = Crowd(shop, 3)
    killed = crowd.start("killed")
    crowd.wait("inside-killed")
    following = crowd.start("following")
    crowd.wait("waits-following")
    assert not (crowd.signs / "inside-following").exists()
    killed.send_signal(signal.SIGKILL)
    crowd.wait("inside-following")
    crowd.go()
    assert "'by': 'following'" in shop.finish(following).ok().output
    assert shop.finish(killed).returncode == -signal.SIGKILL
    assert crowd.executions() == 2
    assert crowd.nothing_is_held()


def test_a_holder_that_is_paused_does_not_overwrite(shop: FlowProject) -> None:
    crowd = Crowd(shop, 3)
    paused = crowd.start("paused")
    crowd.wait("inside-paused")
    paused.send_signal(signal.SIGSTOP)
    try:
        following = crowd.start("following")
        crowd.wait("inside-following")
        crowd.go()
        assert "'by': 'following'" in shop.finish(following).ok().output
    finally:
        paused.send_signal(signal.SIGCONT)
    late = shop.finish(paused).ok()
    # It has its own result, of its own execution, but only the follower's is published.
    assert "'by': 'paused'" in late.output
    assert "could not renew its lease in time" in late.output
    assert crowd.executions() == 2
    project = shop.project()
    [record] = [value for _, value in project.kv.scan("process:")]
    computed_by = {run.run_id: run.degraded for run in project.runs()}
    assert computed_by.pop(record["run_id"]) == {}
    assert list(computed_by.values()) == [{"records not stored": 1}]
    assert crowd.nothing_is_held()
