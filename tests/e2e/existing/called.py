"""A flow that is called by name, through its deployment."""

import os

from executions import ran
from prefect import flow, task
from prefect.deployments import run_deployment


@task
def compute(number: int) -> int:
    ran("compute")
    return number * 2


@flow(persist_result=True)
def child(number: int) -> int:
    return compute(number)


@task
def ask(number: int) -> str:
    ran("ask")
    return run_deployment(f"child/{os.environ['SERVED_AS']}", parameters={"number": number}, poll_interval=1).state.name


@flow
def main() -> list[str]:
    state = run_deployment(f"child/{os.environ['SERVED_AS']}", parameters={"number": 4}, poll_interval=1).state
    return [state.name, ask(5)]
