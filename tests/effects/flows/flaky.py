"""A server that answers at the third try."""

import os

import httpx
from prefect import flow, task


@task(retries=3, retry_delay_seconds=[0, 0, 0])
def fetch(name: str) -> dict:
    response = httpx.get(f"{os.environ['SHOP_API']}/flaky/{name}")
    response.raise_for_status()
    return response.json()


@task(retries=1, retry_condition_fn=lambda task, run, state: False)
def fetch_once(name: str) -> dict:
    return httpx.get(f"{os.environ['SHOP_API']}/flaky/{name}").raise_for_status().json()


@flow
def stubborn():
    state = fetch_once("once", return_state=True)
    return [fetch("report"), state.type.value]


def main():
    return stubborn()
