"""ExpOps' listener SDK receives a real flow's statuses and metrics while the flow runs.

Of documents that are made side by side, the Firestore emulator may announce the first after the
last. Firebase's client then holds what it watches for absent at the time of the last, and takes no
notice of it before it is written again. Firestore itself announces in order. So here each process
logs its first metric by itself, and what is made all at once is read by a client that comes later.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

import pytest

from tests.interop.expops import project_on, serving
from tests.interop.listening import Listener, listening
from tests.support.processes import FlowProject

CONFIG = "experiment: {pipeline: {processes: [{name: train}, {name: report}, {name: broken}]}}"
FLOW = """
import os, time
from executions import ran
from expops_prefect import flow, log_metric, task


def wait_for(gate):
    while not os.path.exists(os.path.join(os.environ["GATES"], gate)):
        time.sleep(0.02)


@task
def evaluate(rate):
    log_metric("score", rate * 2)
    return rate


@task
def train(rate):
    ran("train")
    wait_for(f"start-{rate}")
    for epoch in (1, 2, 3):
        log_metric("loss", rate / epoch)
        wait_for(f"epoch-{epoch}")
    return evaluate(rate)


@task
def report(rates):
    ran("report")
    log_metric("best", min(rates))
    return min(rates)


@task(retries=1)
def broken():
    ran("broken")
    log_metric("attempts", 1)
    wait_for("broken")
    raise ValueError("on purpose")


@flow
def main():
    report([future.result() for future in train.map([0.5, 0.25])])
    if os.environ.get("FAIL"):
        broken()


if __name__ == "__main__":
    main()
"""
TRAIN, REPORT, BROKEN = (f"//process[@name='{name}']" for name in ("train", "report", "broken"))
RATES = {f"//*[@partition='p{number}']/process[@name='train']": rate for number, rate in ((1, 0.5), (2, 0.25))}
STEP = f"{next(iter(RATES))}/step[@name='evaluate']"
GATES = ("start-0.5", "start-0.25", "epoch-1", "epoch-2", "epoch-3")
PATHS = [*RATES, STEP, REPORT, BROKEN]


def loss(rate: float, epochs: int) -> dict[str, dict[str, float]]:
    return {"loss": {str(epoch): rate / epoch for epoch in range(1, epochs + 1)}}


def follow_a_run(shop: FlowProject, heard: Listener, gates: Path) -> str:
    """Run the flow, which goes on only after the SDK has delivered what it did so far; the run id."""
    assert heard.runs() == []
    gates.mkdir()
    process = shop.start("main.py", env={"GATES": str(gates)})
    try:
        heard.wait(lambda: bool(heard.runs()), "the run is listed")
        (run,) = heard.runs() or []
        heard.wait(lambda: heard.now(run) == "running", "the run is running")
        heard.wait(lambda: heard.now(run, TRAIN) == "running", "train is running")
        heard.wait(lambda: heard.subscribed(run, PATHS), "subscriptions to metrics")
        for path, rate in RATES.items():
            (gates / f"start-{rate}").touch()
            heard.wait(partial(lambda path, rate: heard.metrics(run, path) == [loss(rate, 1)], path, rate), path)
        for epoch in (1, 2, 3):
            for path, rate in RATES.items():
                expected = [loss(rate, number) for number in range(1, epoch + 1)]
                heard.wait(
                    partial(lambda path, expected: heard.metrics(run, path) == expected, path, expected),
                    f"epoch {epoch} of {path}",
                )
            (gates / f"epoch-{epoch}").touch()
    finally:
        for gate in GATES:
            (gates / gate).touch()
        ended = shop.finish(process)
    assert ended.ok().executions == {"train": 2, "report": 1}
    heard.wait(lambda: heard.now(run) == heard.now(run, TRAIN) == heard.now(run, REPORT) == "completed", "all is done")
    assert heard.statuses(run) == ["running", "completed"]
    assert heard.statuses(run, TRAIN) == ["running", "completed"]
    assert shop.last_run().run_id == run
    return run


def follow_a_cached_run(shop: FlowProject, heard: Listener, gates: Path) -> str:
    """Run the flow again; the run id."""
    assert shop.run("main.py", env={"GATES": str(gates)}).ok().total == 0
    run = shop.last_run().run_id
    heard.wait(lambda: (heard.runs() or [""])[0] == run, "the run is listed first")
    heard.wait(lambda: heard.now(run) == "completed", "it is completed")
    for path in (TRAIN, *RATES, REPORT):
        heard.wait(partial(lambda path: heard.now(run, path) == "cached", path), f"{path} is cached")
    return run


def shows_metrics(heard: Listener, run: str) -> None:
    """All metrics of a run that has ended."""
    expected: dict[str, dict[str, dict[str, float]]] = {STEP: {"score": {"1": 1.0}}, REPORT: {"best": {"1": 0.25}}}
    expected |= {path: loss(rate, 3) for path, rate in RATES.items()}
    for path, series in expected.items():
        heard.wait(partial(lambda path, series: heard.metrics(run, path)[-1:] == [series], path, series), path)


def test_firestore(tmp_path: Path, firestore_host: str) -> None:
    shop = project_on("gcp-gcs", tmp_path / "workspace", CONFIG)
    shop.write("main.py", FLOW)
    gates = tmp_path / "gates"
    there = ("firestore", firestore_host, shop.root.name, PATHS)
    with listening(*there) as heard:
        first = follow_a_run(shop, heard, gates)
        second = follow_a_cached_run(shop, heard, gates)

        process = shop.start("main.py", env={"GATES": str(gates), "FAIL": "1"})
        try:
            heard.wait(lambda: len(heard.runs() or []) == 3, "the third run is listed")
            third = (heard.runs() or [])[0]
            heard.wait(lambda: heard.now(third, BROKEN) == "running", "it has begun to fail")
            heard.wait(lambda: heard.now(third, TRAIN) == "cached", "what is cached is shown meanwhile")
        finally:
            (gates / "broken").touch()
            failed = shop.finish(process)
        assert failed.returncode != 0
        assert failed.executions == {"broken": 2}
        heard.wait(lambda: heard.now(third) == "failed", "the run failed")
        heard.wait(lambda: heard.now(third, BROKEN) == "failed", "the process failed")
        # An open page does not take a failed process back: it is called failed after the last try.
        assert heard.statuses(third, BROKEN) == ["running", "failed"]
        assert heard.runs() == [third, second, first]
        assert not heard.events("error")
    with listening(*there) as opened_later:
        opened_later.wait(lambda: opened_later.now(second, TRAIN) == "cached", "what was cached is shown")
        shows_metrics(opened_later, first)
        shows_metrics(opened_later, second)


def test_local_mode(tmp_path: Path) -> None:
    # The place in which the SDK looks for the database.
    config = "experiment: {cache: {backend: {type: local, path: kv_store.db}}, " + CONFIG.removeprefix("experiment: {")
    shop = FlowProject(tmp_path / "workspace", config + "\nprefect: {project_id: shop, cache: {default: all}}\n")
    shop.write("main.py", FLOW)
    environ = {"EXPOPS_SQLITE_DIR": str(shop.folder)}
    with (
        serving(shop.folder) as server,
        listening("local", server.url, shop.root.name, PATHS, environ) as heard,
    ):
        first = follow_a_run(shop, heard, tmp_path / "gates")
        shows_metrics(heard, first)
        second = follow_a_cached_run(shop, heard, tmp_path / "gates")
        shows_metrics(heard, second)
        assert heard.runs() == [second, first]
        assert not heard.events("listener.unavailable")
        assert not heard.events("error")


TIMED = """
import os, random, time
from expops_prefect import flow, task


def note(*words):
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(" ".join(map(str, words)) + "\\n")


def work():
    name = os.environ["NAME"]
    note(name, "running", time.time())
    time.sleep(random.uniform(1, 1.5))
    note(name, "completed", time.time())
    return name


@flow
def main():
    for number in range(20):
        os.environ["NAME"] = f"task-{number}"
        task(work, name=f"task-{number}")()


if __name__ == "__main__":
    main()
"""


@pytest.mark.nightly
@pytest.mark.parametrize("mode", ["firestore", "local"])
def test_how_soon_a_status_arrives(tmp_path: Path, firestore_host: str, mode: str) -> None:
    """From the task's own change to the SDK's event, over the whole of a run."""
    if mode == "firestore":
        shop = project_on("gcp-gcs", tmp_path / "workspace", "experiment: {}")
        with listening("firestore", firestore_host, shop.root.name, []) as heard:
            seconds = delays(shop, heard, tmp_path)
    else:
        config = "experiment: {cache: {backend: {type: local, path: kv_store.db}}}\n"
        config += "prefect: {project_id: shop, cache: {default: all}}\n"
        shop = FlowProject(tmp_path / "workspace", config)
        environ = {"EXPOPS_SQLITE_DIR": str(shop.folder)}
        with serving(shop.folder) as server, listening("local", server.url, "shop", [], environ) as heard:
            seconds = delays(shop, heard, tmp_path)
    print(f"{mode}: {len(seconds)} statuses, median {median(seconds):.2f} s, longest {max(seconds):.2f} s")
    assert max(seconds) < 1


def delays(shop: FlowProject, heard: Listener, folder: Path) -> list[float]:
    """Seconds for each status of each task of a run."""
    shop.write("main.py", TIMED)
    notes = folder / "notes"
    shop.run("main.py", env={"NOTES": str(notes)}).ok()
    (run,) = heard.runs() or []
    heard.wait(lambda: heard.now(run) == "completed", "the run is completed")
    seconds = []
    for line in notes.read_text().splitlines():
        name, status, at = line.split()
        path = f"//process[@name='{name}']"
        heard_of = [(event["at"], event["data"]["process_status"] or {}) for event in heard.events("status", run=run)]
        seen = [when for when, found in heard_of if found.get(path) == status]
        assert seen, line
        seconds.append(seen[0] - float(at))
    assert len(seconds) == 40
    return seconds
