"""A script of many small flows, for :mod:`tests.e2e.test_recording`: every way in which tasks are called and end."""

SCRIPT = '''
import asyncio
import multiprocessing
import os
import time

from executions import ran
from expops_prefect import Project, flow, log_chart, log_metric, task

PNG = b"\\x89PNG\\r\\n\\x1a\\n"


def times(name):
    with open(os.environ["EXECUTION_LOG"]) as log:
        return log.read().split().count(name)


def shown(name):
    """What the record says of a process of the newest run at this moment."""
    project = Project.open()
    assert project.outbox.flush(20)
    rows = {row.path: row.status for row in project.rows(project.runs()[0].run_id)}
    return rows.get(f"//process[@name='{name}']")


@task(retries=2)
def flaky(x):
    ran("flaky")
    print("SHOWN flaky", shown("flaky"))
    if times("flaky") < 3:
        raise ValueError("again")
    return x


@task(retries=1)
def hopeless(x):
    ran("hopeless")
    raise ValueError("never")


@flow
def retried_tasks():
    flaky(1)
    hopeless(1)


@task
def first(x):
    ran("first")
    log_metric("m", x)
    return x


@task
def second(x):
    ran("second")
    if times("second") == 1:
        raise ValueError("in the first round")
    return x


@flow(retries=1)
def retried_flow():
    log_metric("round", 1)
    return second(first(3))


@task
def leaf(x):
    ran("leaf")
    log_metric("depth", 3)
    log_chart("leaf", PNG)
    return x


@task
def branch(x):
    ran("branch")
    log_metric("depth", 2)
    return leaf(x) + leaf(x + 1)


@task
def trunk(x):
    ran("trunk")
    log_metric("depth", 1)
    return branch(x) * 2


@flow
def deep():
    return trunk(1)


@flow
def below(x):
    log_metric("below", x)
    return leaf(x)


@flow
def sub(x):
    if x < 0:
        raise ValueError("negative")
    return below(x) + first(x)


@flow
def subflows():
    sub(1)
    sub(2)
    sub(-1, return_state=True)


@task
async def fetch(x):
    ran("fetch")
    log_metric("x", x)
    return x


@task(timeout_seconds=0.3, retries=1)
async def too_slow(x):
    ran("too_slow")
    await asyncio.sleep(60)


@flow
async def fan_out():
    await asyncio.gather(*(fetch(x) for x in range(3)))
    fetch.submit(3).wait()
    fetch.map([4, 5]).wait()
    await too_slow(1, return_state=True)


@task(timeout_seconds=0.3, retries=1)
def too_slow_sync(x):
    ran("too_slow_sync")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)


@flow
def timeouts():
    too_slow_sync(1, return_state=True)


@task
def numbers(n):
    ran("numbers")
    for number in range(n):
        log_metric("n", number)
        yield number


@task
def broken_numbers(n):
    ran("broken_numbers")
    yield 1
    raise ValueError("midway")


@task
async def async_numbers(n):
    ran("async_numbers")
    for number in range(n):
        yield number


@flow
async def generators():
    assert list(numbers(3)) == [0, 1, 2]
    part = numbers(3)
    next(part)
    part.close()
    try:
        list(broken_numbers(1))
    except ValueError:
        pass
    assert [number async for number in async_numbers(2)] == [0, 1]


class Model:
    rate = 3

    @task
    def fit(self, x):
        ran("fit")
        return self.rate * x

    @classmethod
    @task
    def make(cls, x):
        ran("make")
        return x

    @staticmethod
    @task
    def score(x):
        ran("score")
        return x


@flow
def shapes():
    assert [Model().fit(2), Model().score(4), Model.make(3)] == [6, 4, 3]
    first.with_options(name="named")(1)
    first.with_options(process="processed")(1)
    first.with_options(name="named", process="processed")(2)
    one = leaf.submit(10)
    two = leaf.submit(one)
    first.submit(1, wait_for=[two]).wait()


@task
def straggler(x):
    while times("released") == 0:
        time.sleep(0.01)
    ran("straggler")
    log_metric("late", x)
    return x


def release(flow, flow_run, state):
    ran("released")


@flow(on_completion=[release])
def loose():
    for x in range(3):
        straggler.submit(x)
    return 1


@flow
def upstream_failed():
    failed = hopeless.with_options(name="failed upstream", retries=0).submit(1)
    first.submit(failed).wait()
    return 1


def log_in_a_fork(count):
    for number in range(count):
        log_metric("forked", number)


@task
def forks(x):
    ran("forks")
    child = multiprocessing.get_context("fork").Process(target=log_in_a_fork, args=(20,))
    child.start()
    child.join()
    return x


@flow
def forking():
    forks(1)


@task
def interrupted(x):
    raise KeyboardInterrupt


@task
def holding(x):
    ran("holding")
    interrupted(x)


@flow
def crashing():
    holding(1)


@flow
def typed(x: int):
    first(x)


@flow
def wrong_parameters():
    typed("no number", return_state=True)


FLOWS = [retried_tasks, retried_flow, deep, subflows, fan_out, timeouts, generators, shapes, loose]
FLOWS += [upstream_failed, forking, wrong_parameters]

if __name__ == "__main__":
    for each in FLOWS:
        result = each(return_state=True)
        if asyncio.iscoroutine(result):
            asyncio.run(result)
    typed("no number", return_state=True)
    try:
        crashing()
    except KeyboardInterrupt:
        print("INTERRUPTED")
'''
