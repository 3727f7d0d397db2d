"""A thread pool of Prefect's, and futures as they are done."""

import threading

from prefect import flow, task
from prefect.futures import as_completed, wait
from prefect.task_runners import ThreadPoolTaskRunner

SHARED = []
LOCK = threading.Lock()


@task
def work(number: int) -> int:
    return number * 10


@task
def collect(number: int) -> int:
    with LOCK:
        SHARED.append(number)
    return number


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def pooled():
    futures = [work.submit(number) for number in range(4)]
    done, _ = wait(futures)
    found = sorted(future.result() for future in as_completed(list(done)))
    collect.map(found).wait()
    return [found, sorted(SHARED)]


def main():
    return pooled()
