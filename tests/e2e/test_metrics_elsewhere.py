"""Metrics that are logged in threads and processes: they are kept where it is known whose they are."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import contextvars
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from expops_prefect import flow, log_metric, task
from prefect.task_runners import ThreadPoolTaskRunner

OLD = ThreadPoolExecutor(2)
OLD_THREADS = ThreadPool(2)
MEETING = threading.Barrier(2)
WORK = []
GO, DONE = threading.Event(), threading.Event()
together = ThreadPoolTaskRunner(max_workers=2)


def logged(name, step):
    log_metric(name, step, step=step)


def wait():
    MEETING.wait(60)


@task
def threads():
    ones = [threading.Thread(target=logged, args=("thread", n)) for n in (1, 2)]
    copies = [contextvars.copy_context() for n in range(2)]
    ones += [threading.Thread(target=copy.run, args=(log_metric, "copied", 1)) for copy in copies]
    ones += [threading.Timer(0, log_metric, ("timer", 1))]
    for one in ones:
        one.start()
        one.join()
    return 1


@task
def side_by_side(name):
    with ThreadPoolExecutor(2) as pool, ThreadPool(2) as other:
        wait()
        list(pool.map(logged, [name, name], [1, 2]))
        wait()
        other.starmap(logged, [(name, 3), (name, 4)])
        wait()
        OLD.submit(logged, name, 5).result()
        wait()
        other.apply(logged, (name, 6))
        OLD_THREADS.starmap(logged, [(name, 7)])
        thread = threading.Thread(target=lambda: list(OLD.map(logged, [name], [8])))
        wait()
        thread.start()
        thread.join()
    return name


@task(cache_policy=None)
def unwatched():
    list(OLD.map(logged, ["own", "own"], [1, 2]))
    return 1


@task
def generator():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(logged, "generated", 1).result()
        yield 1
        pool.submit(logged, "generated", 2).result()


@task
def inner():
    OLD.submit(logged, "inner", 1).result()
    return 1


@task
def outer():
    OLD.submit(logged, "outer", 1).result()
    inner()
    OLD.submit(logged, "outer", 2).result()
    return 1


@task
def alone():
    OLD.submit(logged, "lost", 1).result()
    return 1


def later():
    GO.wait(60)
    logged("lost", 1)
    DONE.set()


@task
def leaves_a_thread():
    threading.Thread(target=later, daemon=True).start()
    return 1


@task
def processes():
    process = multiprocessing.get_context("spawn").Process(target=log_metric, args=("lost", 1))
    process.start()
    process.join()
    return 1


@flow(task_runner=together)
def main():
    threads()
    ones = [side_by_side.with_options(name=name).submit(name) for name in ("left", "right")]
    [one.result() for one in ones]
    unwatched()
    list(generator())
    outer()
    OLD.submit(logged, "flow", 1).result()
    OLD.submit(alone).result()
    leaves_a_thread()
    GO.set()
    DONE.wait(60)
    return processes()


if __name__ == "__main__":
    main()
"""


def test_each_task_keeps_what_its_threads_log(shop: FlowProject) -> None:
    shop.write("flow.py", FLOW)
    output = shop.run("flow.py").ok().output
    assert output.count("log_metric in a thread whose task is unknown") == 1
    assert "contextvars.copy_context().run" in output
    assert output.count("log_metric in a process that a task has started") == 1
    found = {path: {name: sorted(points) for name, points in all_.items()} for path, all_ in shop.metrics().items()}
    steps = [str(number) for number in range(1, 9)]
    assert found == {
        "threads": {"thread": ["1", "2"], "copied": ["1", "2"], "timer": ["1"]},
        "left": {"left": steps},
        "right": {"right": steps},
        "unwatched": {"own": ["1", "2"]},
        "generator": {"generated": ["1", "2"]},
        "outer": {"outer": ["1", "2"]},
        "outer/inner": {"inner": ["1"]},
        "main": {"flow": ["1"]},
    }
