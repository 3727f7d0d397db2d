"""Tasks and flows that return states."""

from prefect import flow, task
from prefect.states import Completed, Failed


@task
def check(value: int):
    if value > 2:
        return Failed(message="too large")
    return Completed(message="fine", data=value)


@task
def double(value: int) -> int:
    return 2 * value


@flow
def stated(value: int):
    state = check(value, return_state=True)
    if state.is_failed():
        return Completed(message="skipped")
    return double(value, return_state=True)


def main():
    found = [stated(value, return_state=True) for value in (1, 3)]
    return [(state.type.value, state.result()) for state in found[:1]] + [found[1].message]
