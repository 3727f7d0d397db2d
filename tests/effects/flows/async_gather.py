"""Many requests side by side."""

import asyncio
import os

import httpx
from prefect import flow, task


@task(retries=2)
async def fetch_rate(client: httpx.AsyncClient, currency: str) -> float:
    response = await client.get(f"{os.environ['SHOP_API']}/rates/{currency}")
    return response.json()["rate"]


@task
async def convert(amount: float, rate: float) -> float:
    await asyncio.sleep(0)
    return round(amount * rate, 4)


@flow
async def rates(currencies: list[str]):
    async with httpx.AsyncClient() as client:
        found = await asyncio.gather(*[fetch_rate(client, currency) for currency in currencies])
    return await asyncio.gather(*[convert(100, rate) for rate in found])


def main():
    return asyncio.run(rates(["usd", "gbp", "chf"]))
