"""Tasks with other options than they were made with."""

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE


@task
def power(base: int, exponent: int) -> int:
    return base**exponent


@task
def append(text: str) -> int:
    with Path("out/options.log").open("a") as log:
        return log.write(text)


cube = power.with_options(name="cube", retries=2)
append_again = append.with_options(name="append again", cache_policy=NO_CACHE)


@flow
def optional():
    found = [power(2, 3), cube(2, 3), power.with_options(task_run_name="p-{base}", tags=["math"])(3, 2)]
    return [*found, append("a\n"), append_again("b\n")]


@flow
def outer():
    return optional.with_options(name="renamed")()


def main():
    return outer()
