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
    # A hit's state is called Cached, as Prefect's own are.
    inner = found[0].result()
    return [found[0].type.value, getattr(inner, "type", inner), found[1].message]
