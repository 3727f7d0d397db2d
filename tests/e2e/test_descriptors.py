"""How many files a process has open, and what happens when it may open no more."""

from __future__ import annotations

import re

import pytest

from tests.support.processes import FlowProject

MAPPED = """
import os
import resource
import sys
import threading

import prefect
from executions import ran
from expops_prefect import flow, task

count, limit = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
most, over = {}, threading.Event()


def watch(name):
    most[name] = 0
    while not over.wait(0.01):
        try:
            most[name] = max(most[name], len(os.listdir("/proc/self/fd")))
        except OSError:
            most[name] = limit


def square(number):
    return number * number


@task
def ours(number):
    ran("ours")
    return square(number)


@flow
def main():
    return sum(ours.map(range(count)).result())


plain = prefect.task(square)


@prefect.flow
def alone():
    return sum(plain.map(range(count)).result())


for name, run in (("Prefect's", alone), ("executed", main), ("hits", main)):
    over.clear()
    watching = threading.Thread(target=watch, args=(name,), daemon=True)
    watching.start()
    total = run()
    over.set()
    watching.join()
    assert total == sum(map(square, range(count)))
print("MOST", most["executed"] - most["Prefect's"], most["hits"] - most["Prefect's"])
"""
USED_UP = """
import resource

from executions import ran
from expops_prefect import flow, task

held = []


@task
def use_up():
    ran("use_up")
    try:
        while True:
            held.append(open("/dev/null"))
    except OSError:
        return len(held)


@task
def large(number):
    return bytes([number]) * 1_000_000


@task
def small(number):
    # Counted without a file.
    counted.append(number)
    return [number]


counted = []


@task
def give_back():
    while held:
        held.pop().close()
    for _ in counted:
        ran("small")


@flow
def main():
    small(0)  # what Prefect opens for a flow run is open then
    many = use_up()
    sizes = [len(large(1)), *(small(number)[0] for number in range(3))]
    give_back()
    return many > 10, sizes


resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
assert main() == (True, [1_000_000, 0, 1, 2])
"""
CONFIG = "prefect: {project_id: shop, cache: {default: all}, record: {artifacts: false}}\n"


@pytest.mark.local
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("count", "limit"), [(150, 80), pytest.param(2000, 256, marks=pytest.mark.nightly)])
def test_many_threads_share_a_few_descriptors(shop: FlowProject, count: int, limit: int) -> None:
    shop.configure(CONFIG)
    shop.write("mapped.py", MAPPED)
    outcome = shop.finish(shop.start("mapped.py", str(count), str(limit)), 500).ok()
    assert outcome.total == count
    found = re.search(r"MOST (\d+) (\d+)", outcome.output)
    assert found is not None, outcome.output
    # Five connections, the journal, the run's lock, files for a moment. With one connection for each thread they would
    # reach the limit, which is 50 and more above what Prefect has open.
    assert max(map(int, found.groups())) <= 40
    print(f"{count} mapped: {found[0]}")
    assert shop.last_run().status == "completed"
    assert shop.project().kv.get(f"runs:{shop.last_run().run_id}:stats:cache_hit_count") == count


@pytest.mark.local
def test_a_body_that_takes_all_descriptors(shop: FlowProject) -> None:
    shop.configure(CONFIG)
    shop.write("used.py", USED_UP)
    outcome = shop.run("used.py").ok()
    assert outcome.executions["use_up"] == 1
    assert outcome.output.count("results not stored: large") == 1, "said once"
    assert "results not stored 1x" in outcome.output, "and counted"
    assert "Too many open files" in outcome.output
    assert "or close what you can" in outcome.output
    assert "prefect.cache.mmap" not in outcome.output, "nothing is mapped"
    assert shop.last_run().status == "completed"
    ended = [row for row in shop.rows().values() if row.status in ("completed", "cached")]
    assert len(ended) == len(shop.rows()) >= 4, "the record is whole"
