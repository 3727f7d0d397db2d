"""Caching that the author chose."""

from datetime import timedelta
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE, TASK_SOURCE
from prefect.tasks import task_input_hash


def line(text):
    with Path("out/policies.log").open("a") as log:
        log.write(text + "\n")
    return text


@task(cache_policy=INPUTS, persist_result=True)
def by_inputs(value: int) -> str:
    return line(f"inputs {value}")


@task(cache_policy=INPUTS + TASK_SOURCE, cache_expiration=timedelta(hours=1), persist_result=True)
def for_an_hour(value: int) -> str:
    return line(f"hour {value}")


@task(cache_key_fn=task_input_hash, persist_result=True)
def by_function(value: int) -> str:
    return line(f"function {value}")


@task(cache_key_fn=lambda context, parameters: f"policies-{parameters['value']}-@form", persist_result=True)
def by_own_key(value: int) -> str:
    return line(f"key {value}")


@task(cache_policy=NO_CACHE)
def never(value: int) -> str:
    return line(f"never {value}")


@task
def nothing_chosen(value: int) -> str:
    return line(f"nothing {value}")


@task(persist_result=False)
def not_kept(value: int) -> str:
    return line(f"not kept {value}")


@flow
def chosen():
    tasks = (by_inputs, for_an_hour, by_function, by_own_key, never, nothing_chosen, not_kept)
    return [task(value) for task in tasks for value in (1, 1, 2)]


def main():
    return chosen()
