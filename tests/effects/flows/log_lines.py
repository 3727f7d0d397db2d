"""Much is logged and printed, and timed."""

import logging
import time
from functools import wraps

from prefect import flow, get_run_logger, task

log = logging.getLogger("shop")


def timed(function):
    @wraps(function)
    def call(*args, **kwargs):
        started = time.time()
        try:
            return function(*args, **kwargs)
        finally:
            log.info("%s took %.3f s", function.__name__, time.time() - started)

    return call


@task(log_prints=True)
@timed
def primes(limit: int) -> list[int]:
    print("up to", limit)
    return [number for number in range(2, limit) if all(number % part for part in range(2, number))]


@task
def squares(numbers: list[int]) -> list[int]:
    logger = get_run_logger()
    started = time.perf_counter()
    found = [number * number for number in numbers]
    logger.info("squared %d numbers in %.4f s", len(numbers), time.perf_counter() - started)
    return found


@flow(log_prints=True)
def logged(limit: int):
    print("started")
    found = squares(primes(limit))
    print("done:", len(found))
    return found


def main():
    return logged(20)
