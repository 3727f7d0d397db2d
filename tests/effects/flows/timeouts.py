"""Tasks that take too long, and a flow that goes on."""

import asyncio

from prefect import flow, task


@task(timeout_seconds=0.05)
async def slow(value: int) -> int:
    await asyncio.sleep(30)
    return value


@task(timeout_seconds=60)
async def quick(value: int) -> int:
    return value + 1


@flow(timeout_seconds=120)
async def impatient():
    state = await slow(1, return_state=True)
    return [state.name, await quick(1)]


def main():
    return asyncio.run(impatient())
