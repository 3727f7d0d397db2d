"""Asynchronous tasks, side by side, with a limit of the flow's own."""

import asyncio

from executions import ran
from prefect import flow, get_run_logger, task


@task
async def fetch(number: int, limit: asyncio.Semaphore) -> dict[str, int]:
    async with limit:
        ran("fetch")
        await asyncio.sleep(0)
        get_run_logger().info("fetched %s", number)
        return {"number": number}


@task(timeout_seconds=60)
async def square(number: int) -> int:
    ran("square")
    await asyncio.sleep(0)
    return number**2


@flow
async def work() -> int:
    limit = asyncio.Semaphore(2)
    found = await asyncio.gather(*(fetch(number, limit) for number in range(4)))
    futures = [square.submit(item["number"]) for item in found]
    return sum([await asyncio.to_thread(future.result) for future in futures])


def main() -> int:
    return asyncio.run(work())
