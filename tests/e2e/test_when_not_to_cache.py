"""Which tasks are cached unasked, what a result depends on, and what is left to Prefect."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import FlowProject

FLOW = """
import json, os, random, sys, time, urllib.request
from datetime import timedelta
from pathlib import Path
from executions import ran
from expops_prefect import EXPOPS, flow, task
from prefect.variables import Variable


@task
def pure(x):
    ran("pure")
    return x + 1


@task
def writes(x):
    ran("writes")
    Path("out.txt").write_text(str(x))
    return x


@task(cache_policy=EXPOPS)
def writes_as_told(x):
    ran("writes_as_told")
    Path("told.txt").write_text(str(x))
    return x


@task(cache_expiration=timedelta(days=1))
def clock_for_a_day():
    ran("clock_for_a_day")
    return time.time()


@task
def clock():
    ran("clock")
    return time.time()


@task
def draws():
    ran("draws")
    return [random.random(), random.random()]


@task
def reads(path):
    ran("reads")
    return open(path).read()


@task
def lists(folder):
    ran("lists")
    return sorted(os.listdir(folder))


@task
def looks(path):
    ran("looks")
    return Path(path).exists()


@task
def leads():
    ran("leads")
    return os.readlink("current") if os.path.lexists("current") else "nowhere"


@task
def resolved():
    ran("resolved")
    return Path("current").resolve().name


@task
def reads_through():
    ran("reads_through")
    return open("latest/rows").read()


@task
def environment():
    ran("environment")
    return len(os.environ.get("REGION", "none"))


@task
def variable():
    ran("variable")
    return Variable.get("shop_factor", default=1)


@task
def step(path):
    ran("step")
    return open(path).read().upper()


@task
def process(path):
    ran("process")
    return step(path) + "!"


@task
def appends(xs):
    ran("appends")
    xs.append(len(xs))
    return len(xs)


@flow
def main():
    told = {
        "pure": pure(1),
        "writes": writes(1),
        "told": writes_as_told(1),
        "reads": reads("data.csv"),
        "lists": lists("folder"),
        "looks": looks("flag"),
        "leads": [leads(), resolved(), reads_through()],
        "environment": environment(),
        "process": process("data.csv"),
        "appends": [appends([1, 2]), appends([1, 2])],
        "draws": len(draws()),
    }
    clock()
    clock_for_a_day()
    print("GOT", json.dumps(told))


if __name__ == "__main__":
    main()
"""

EVERY_TIME = {"writes", "appends", "clock", "draws"}
CACHED = {
    *(
        "pure",
        "writes_as_told",
        "reads",
        "lists",
        "looks",
        "leads",
        "resolved",
        "reads_through",
        "environment",
        "process",
        "step",
    ),
    "clock_for_a_day",
}


@pytest.fixture
def shop(shop: FlowProject) -> FlowProject:
    shop.configure("prefect: {project_id: shop}\n")  # what holds where nothing is said
    shop.write("flow.py", FLOW)
    shop.write("data.csv", "a,b\n")
    shop.write("folder/one", "1")
    for age in ("old", "new"):
        shop.write(f"{age}/rows", age)
    (shop.root / "latest").symlink_to("old")
    return shop


def test_what_only_computes_is_cached_and_what_it_reads_counts(shop: FlowProject) -> None:
    first = shop.run("flow.py").ok()
    assert set(first.executions) == EVERY_TIME | CACHED
    again = shop.run("flow.py").ok()
    assert set(again.executions) == EVERY_TIME
    assert again.executions["appends"] == 2
    assert got(again.output) == got(first.output)
    # What a hit will not repeat is said when the result is stored, not with each hit.
    assert "writes_as_told: it is cached as requested, although it writes files" in first.output
    assert "cached as requested" not in again.output
    # Each thing that is read by itself.
    shop.write("data.csv", "c,d\n")
    assert set(shop.run("flow.py").ok().executions) == EVERY_TIME | {"reads", "process", "step"}
    shop.write("folder/two", "2")
    shop.write("flag", "up")
    assert set(shop.run("flow.py").ok().executions) == EVERY_TIME | {"lists", "looks"}
    # Both files are alike; what the link says is not.
    for target in ("one", "two"):
        (shop.root / "current").unlink(missing_ok=True)
        (shop.root / "current").symlink_to(f"folder/{target}")
        (shop.root / "folder" / target).write_text("alike")
        moved = shop.run("flow.py").ok()
        assert set(moved.executions) == EVERY_TIME | {"leads", "resolved"}
        assert f'"leads": ["folder/{target}", "{target}", "old"]' in moved.output
    (shop.root / "latest").unlink()
    (shop.root / "latest").symlink_to("new")
    moved = shop.run("flow.py").ok()
    assert set(moved.executions) == EVERY_TIME | {"reads_through"}
    assert '"two", "new"]' in moved.output
    elsewhere = shop.run("flow.py", env={"REGION": "europe"}).ok()
    assert set(elsewhere.executions) == EVERY_TIME | {"environment"}
    assert '"environment": 6' in elsewhere.output
    assert set(shop.run("flow.py", env={"REGION": "europe"}).ok().executions) == EVERY_TIME
    # The world is as the flow made it each time, and the log says why, with the call and its line.
    assert (shop.root / "out.txt").read_text() == "1"
    assert "it writes files" in first.output
    assert "flow.py:" in first.output
    assert 'outputs=["out.txt"]' in first.output


@pytest.mark.parametrize(
    ("cache", "every_time"),
    [
        ("default: all", set()),
        ("default: none", (EVERY_TIME | CACHED) - {"writes_as_told", "clock_for_a_day"}),
        ("processes: {writes: {ttl: 1h}, clock: {enabled: true}, appends: {default: all}}", {"draws"}),
        ("default: all, processes: {draws: {default: pure}, reads: {default: none}}", {"draws", "reads"}),
    ],
)
def test_the_configuration_chooses_the_rule(shop: FlowProject, cache: str, every_time: set[str]) -> None:
    shop.configure(f"prefect: {{project_id: shop, cache: {{{cache}}}}}\n")
    shop.run("flow.py").ok()
    assert set(shop.run("flow.py").ok().executions) == every_time


def test_a_configured_seed_makes_drawing_repeatable(shop: FlowProject) -> None:
    shop.configure("reproducibility: {random_seed: 3}\nprefect: {project_id: shop}\n")
    shop.write("draw.py", FLOW.replace("    clock()\n", "    print('DRAWN', draws(), random.random() >= 0)\n"))
    first, second = shop.run("draw.py").ok(), shop.run("draw.py").ok()
    # Two calls in the first run: what draws is not handed on within one.
    assert (first.executions["draws"], second.executions["draws"]) == (2, 0)
    assert drawn(first.output) == drawn(second.output)


RETRIED = """
import sys
from pathlib import Path
from executions import ran
from expops_prefect import flow, task


@task(persist_result=True)
def insert(x):
    ran("insert")
    with open("rows.txt", "a") as rows:
        rows.write(f"{x}\\n")
    return x


@task
def notify(x):
    ran("notify")
    Path("mail.txt").write_text(str(x))
    return x


@flow(retries=1)
def main():
    insert(1)
    notify(1)
    ran("main")
    if not Path("second").exists():
        Path("second").touch()
        raise RuntimeError("the first attempt fails")


if __name__ == "__main__":
    main()
"""


def test_a_task_with_an_effect_keeps_prefects_own_rule(shop: FlowProject) -> None:
    shop.write("retried.py", RETRIED)
    first = shop.run("retried.py").ok()
    # With persist_result=True Prefect does not execute it again when its flow is retried; else it does.
    assert first.executions == {"insert": 1, "notify": 2, "main": 2}
    assert (shop.root / "rows.txt").read_text() == "1\n"
    second = shop.run("retried.py").ok()
    assert second.executions == {"insert": 1, "notify": 1, "main": 1}
    assert (shop.root / "rows.txt").read_text() == "1\n1\n"


POLLED = """
from executions import ran
from expops_prefect import flow, task
import importlib

service = importlib.import_module("service")


@task
def job_status(job):
    ran("job_status")
    return getattr(service, "sta" + "tus")(job)


@flow
def main():
    while job_status("j1") != "done":
        pass


if __name__ == "__main__":
    main()
"""


def test_a_loop_that_waits_for_a_change_ends(shop: FlowProject) -> None:
    shop.write(
        "service.py",
        "asked = []\n\n\ndef status(job):\n    asked.append(job)\n    return 'done' if len(asked) > 3 else 'no'\n",
    )
    shop.write("polled.py", POLLED)
    for _ in range(2):
        assert shop.run("polled.py").ok().executions == {"job_status": 4}


def got(output: str) -> str:
    return output.partition("GOT ")[2].splitlines()[0]


def drawn(output: str) -> str:
    return output.partition("DRAWN ")[2].splitlines()[0]


def test_nothing_of_an_effect_is_stored(shop: FlowProject, tmp_path: Path) -> None:
    shop.write(
        "secret.py",
        """
        from executions import ran
        from expops_prefect import flow, task
        from prefect.blocks.system import Secret


        @task
        def key():
            ran("key")
            return Secret.load("shop-key").get()


        @flow
        def main():
            Secret(value="hunter2-secret").save("shop-key", overwrite=True)
            key()


        if __name__ == "__main__":
            main()
        """,
    )
    for _ in range(2):
        assert shop.run("secret.py").ok().executions == {"key": 1}
    kept = [path for path in shop.root.rglob("*") if path.is_file() and ".shop" in str(path)]
    assert kept
    assert not any(b"hunter2" in path.read_bytes() for path in kept)


UNHEARD = """
from concurrent.futures import ProcessPoolExecutor
from executions import ran
from expops_prefect import flow, task


def read(path):
    with open(path) as file:
        return file.read()


@task
def by_polars():
    ran("polars")
    import polars

    return polars.read_csv("table.csv")["x"].to_list()


@task
def by_lxml():
    ran("lxml")
    from lxml import etree

    return etree.parse("tree.xml").getroot().text


@task
def elsewhere():
    ran("elsewhere")
    with ProcessPoolExecutor(1) as pool:
        return list(pool.map(read, ["table.csv"]))


@flow
def main():
    print("FOUND", by_polars(), by_lxml(), elsewhere())


if __name__ == "__main__":
    main()
"""


def test_what_the_first_importer_of_a_library_and_other_processes_read(shop: FlowProject) -> None:
    shop.write("unheard.py", UNHEARD)
    for number, executed in (("1", {"polars", "lxml"}), ("1", set()), ("2", {"polars", "lxml"})):
        shop.write("table.csv", f"x\n{number}\n")
        shop.write("tree.xml", f"<a>{number}</a>")
        done = shop.run("unheard.py").ok()
        assert f"FOUND [{number}] {number} ['x\\n{number}\\n']" in done.output
        assert set(done.executions) == executed | {"elsewhere"}
