"""Flows in flows, synchronous and not; one of them fails, and its caller goes on."""

from executions import ran
from prefect import flow, task
from prefect.states import Completed


@task
def measure(what: str) -> int:
    ran(f"measure-{what}")
    return len(what)


@flow(flow_run_name="of-{what}")
def inner(what: str) -> int:
    return measure(what) + 1


@flow
async def beside(what: str) -> int:
    return measure(what)


@flow
def fails() -> int:
    measure("fails")
    raise ValueError("a subflow's own")


@flow
def tells() -> Completed:
    return Completed(message="nothing to do", data=measure("tells"))


@flow
def middle(names: list[str]) -> list[int]:
    return [inner(name) for name in names]


@flow
async def main_async() -> list[object]:
    failed = fails(return_state=True)
    told = tells(return_state=True)
    return [*middle(["a", "bb"]), await beside("ccc"), failed.type.value, told.message]


def main() -> list[object]:
    import asyncio

    return asyncio.run(main_async())
