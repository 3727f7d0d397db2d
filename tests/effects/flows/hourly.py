"""An hourly ingest that stamps what it got."""

import os
from datetime import datetime, timezone

import httpx
from prefect import flow, task

STARTED = datetime.now(timezone.utc)


class Client:
    def __init__(self, url):
        self.http = httpx.Client(base_url=url)

    def latest(self):
        return self.http.get("/latest").json()


@task
def current_hour() -> datetime:
    return datetime.now(timezone.utc).replace(minute=0, second=0, microsecond=0)


@task
def ingest(hour: datetime | None = None) -> dict:
    fetched = datetime.now(timezone.utc)
    client = Client(os.environ["SHOP_API"])
    return {"fetched": fetched, "rows": client.latest()}


@task
def partition(hour: datetime) -> str:
    return f"year={hour:%Y}/hour={hour:%H}"


@flow
def hourly():
    hour = current_hour()
    found = ingest(hour)
    return [found["fetched"] > STARTED, found["rows"], partition(hour).count("=")]


def main():
    return hourly()
