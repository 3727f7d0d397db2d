"""Tasks that call tasks."""

import os
from pathlib import Path

import requests
from prefect import flow, task


@task
def parse(text: str) -> dict:
    return dict(part.split("=") for part in text.split(";"))


@task
def fetch(name: str) -> float:
    return requests.get(f"{os.environ['SHOP_API']}/rates/{name}", timeout=30).json()["rate"]


@task
def enrich(text: str) -> dict:
    entry = parse(text)
    entry["rate"] = fetch(entry["currency"])
    return entry


@task
def write(entry: dict) -> str:
    Path("out/nested.txt").open("a").write(f"{entry}\n")
    return entry["id"]


@task
def both(text: str) -> str:
    return write(parse(text))


@flow
def nested():
    return [enrich("id=1;currency=usd"), both("id=2;currency=gbp")]


def main():
    return nested()
