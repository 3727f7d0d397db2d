"""What one call did beside computing counts for the other calls of its code in that process."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.effects.worlds import Site, site
from tests.support.processes import FlowProject

LIBRARY = r"""
import os, socket, sqlite3, threading
from urllib.parse import urlsplit

opened, lock, second_is_done = {}, threading.Lock(), threading.Event()


def get(path):
    if "OFFLINE" in os.environ:
        return "0"
    with lock:
        if "site" not in opened:
            address = urlsplit(os.environ["WORLD"])
            opened["site"] = socket.create_connection((address.hostname, address.port), timeout=30)
            opened["answers"] = opened["site"].makefile("rb")
        opened["site"].sendall(f"GET {path} HTTP/1.1\r\nHost: site\r\n\r\n".encode())
        length = 0
        while (line := opened["answers"].readline().strip()):
            if line.startswith(b"Content-Length:"):
                length = int(line.split(b":")[1])
        return opened["answers"].read(length).decode()


def get_beside(path, name):
    if name == "first":
        found = get(path)
        opened["by the first"] = True
        assert second_is_done.wait(30)
        return found
    while "by the first" not in opened:
        second_is_done.wait(0.01)
    return get(path)


def insert(name):
    if "rows" not in opened:
        opened["rows"] = sqlite3.connect("rows.db", check_same_thread=False)
        opened["rows"].execute("create table if not exists sold (name)")
    with opened["rows"] as rows:
        return rows.execute("insert into sold values (?)", (name,)).lastrowid
"""
"""A package that nobody knows: it keeps its connections open, and what is sent over them is not heard."""
FLOW = """
import os, sys
from datetime import timedelta
from executions import ran
from {module} import flow, task
import farshop


@task
def rate(name):
    ran("rate")
    return farshop.get("/w/" + name)


@task
def sell(name):
    ran("sell")
    return farshop.insert(name)


@task(retries=1)
def retried(name):
    ran("retried")
    found = farshop.get("/w/" + name)
    if os.environ.get("FAILS") and found == "1":
        raise ValueError(name)
    return found


@task
def beside(name):
    ran("beside")
    return farshop.get_beside("/w/" + name, name)


@task(cache_expiration=timedelta(days=1))
def told(name):
    ran("told")
    return farshop.get("/w/" + name)


@task
def computed(name):
    ran("computed")
    return name.upper()


@flow
def one_after_the_other():
    print("GOT", [rate(name) for name in "abc"], [sell(name) for name in "abc"], [computed(name) for name in "abc"])


@flow
def refreshed():
    anew = rate.with_options(refresh_cache=True) if "REFRESH" in os.environ else rate
    print("GOT", anew("a"), *[rate(name) for name in "bc"])


@flow
def failing():
    print("GOT", retried("a"), retried("b"))


@flow
def side_by_side():
    first, second = beside.submit("first"), beside.submit("second")
    got = second.result()
    farshop.second_is_done.set()
    print("GOT", first.result(), got)


@flow
def asked_for():
    print("GOT", [told(name) for name in "abc"])


if __name__ == "__main__":
    globals()[sys.argv[1]]()
"""


@pytest.fixture
def world() -> Iterator[Site]:
    def answer(server: Site, _method: str, path: str, _body: bytes) -> tuple[int, int]:
        server.memory[path] += 1
        return 200, server.memory[path]

    with site(answer, keeps_open=True) as server:
        yield server


@pytest.fixture
def far(shop: FlowProject, world: Site) -> FlowProject:
    shop.configure("prefect: {project_id: shop}\n")
    packages = shop.folder / "lib" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "farshop.py").write_text(LIBRARY)
    path = os.pathsep.join(map(str, (shop.folder / "support", packages, shop.root)))
    shop.environ |= {"WORLD": world.url, "PYTHONPATH": path}
    shop.write("flow.py", FLOW.replace("{module}", "expops_prefect"))
    shop.write("plain.py", FLOW.replace("{module}", "prefect"))
    return shop


def got(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("GOT"))


def sold(root: Path) -> int:
    with closing(sqlite3.connect(root / "rows.db")) as rows:
        return int(rows.execute("select count(*) from sold").fetchone()[0])


def test_a_connection_that_one_call_opened_counts_for_those_after_it(far: FlowProject, world: Site) -> None:
    for script, computed in (("plain.py", [3, 3, 3]), ("flow.py", [3, 0, 0])):
        for number in range(3):
            outcome = far.run(script, "one_after_the_other").ok()
            assert (len(world.take("w")), sold(far.root)) == (3, 3 * (number + 1))
            assert outcome.executions == {"rate": 3, "sell": 3, **({"computed": n} if (n := computed[number]) else {})}
        (far.root / "rows.db").unlink()
    reasons = [str(row.fields.get("miss_reason")) for path, row in far.rows().items() if "rate" in path]
    assert {"in an earlier call of this process" in reason for reason in reasons} == {False, True}, reasons


def test_calls_beside_it_are_judged_again(far: FlowProject, world: Site) -> None:
    for script in ("plain.py", "flow.py"):
        for _ in range(3):
            outcome = far.run(script, "side_by_side").ok()
            assert sorted(world.take("w")) == ["GET /first", "GET /second"]
            assert outcome.executions == {"beside": 2}


def test_an_effect_that_shows_late_ends_the_hits_of_older_results(far: FlowProject, world: Site) -> None:
    offline = {"OFFLINE": "1"}
    assert got(far.run("flow.py", "refreshed", env=offline).ok().output) == "GOT 0 0 0"
    assert far.run("flow.py", "refreshed", env=offline).ok().total == 0
    # One that is executed again shows it, and it is all code alike.
    online = far.run("flow.py", "refreshed", env={"REFRESH": "1"}).ok()
    assert (got(online.output), online.executions) == ("GOT 1 1 1", {"rate": 3})
    again = far.run("flow.py", "refreshed").ok()
    assert (got(again.output), again.executions, len(world.take("w"))) == ("GOT 2 2 2", {"rate": 3}, 6)


def test_a_failed_attempt_counts_too(far: FlowProject, world: Site) -> None:
    fails = {"FAILS": "1"}
    assert got(far.run("flow.py", "failing", env=fails).ok().output) == "GOT 2 2"
    again = far.run("flow.py", "failing", env=fails).ok()
    assert (got(again.output), again.executions, len(world.take("w"))) == ("GOT 3 3", {"retried": 2}, 6)


def test_a_task_that_is_to_be_cached_is_cached(far: FlowProject, world: Site) -> None:
    assert far.run("flow.py", "asked_for").ok().executions == {"told": 3}
    again = far.run("flow.py", "asked_for").ok()
    assert (got(again.output), again.total, len(world.take("w"))) == ("GOT ['1', '1', '1']", 0, 3)
