"""A limit on how many run at once."""

import os

import requests
from prefect import flow, task
from prefect.concurrency.sync import concurrency


@task
def ask(name: str) -> int:
    with concurrency("nobody-made-this", occupy=1):
        return requests.get(f"{os.environ['SHOP_API']}/rates/{name}", timeout=30).status_code


@task
def shorten(name: str) -> str:
    return name[:3].upper()


@flow
def limited():
    futures = ask.map(["usd", "gbp"])
    return [sorted(futures.result()), [shorten(name) for name in ("dollar", "pound")]]


def main():
    return limited()
