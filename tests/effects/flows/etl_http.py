"""Pages of an API into a table."""

import os
import sqlite3

import requests
from prefect import flow, get_run_logger, task

API = os.environ["SHOP_API"]


@task(retries=3, retry_delay_seconds=0)
def extract(page: int) -> list[dict]:
    response = requests.get(f"{API}/orders", params={"page": page}, timeout=30)
    response.raise_for_status()
    return response.json()


@task
def transform(rows: list[dict]) -> list[tuple]:
    return [(row["id"], row["customer"].title(), round(row["amount"] * 1.19, 2)) for row in rows]


@task
def load(rows: list[tuple]) -> int:
    with sqlite3.connect("out/etl.db") as connection:
        connection.execute("create table if not exists orders (id integer primary key, customer text, gross real)")
        connection.executemany("insert or replace into orders values (?, ?, ?)", rows)
    return len(rows)


@flow(name="orders-etl", log_prints=True)
def etl(pages: int = 2):
    logger = get_run_logger()
    total = 0
    for page in range(1, pages + 1):
        rows = extract(page)
        logger.info("page %s has %s rows", page, len(rows))
        total += load(transform(rows))
    return total


def main():
    return etl()
