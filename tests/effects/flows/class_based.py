"""An ETL that is a class, with its session."""

import os
import sqlite3

import requests
from prefect import flow, task


class OrdersPipeline:
    def __init__(self, table: str):
        self.table = table
        self.session = requests.Session()
        self.loaded = 0

    @task
    def extract(self):
        return self.session.get(f"{os.environ['SHOP_API']}/orders?page=1", timeout=30).json()

    @task
    def transform(self, rows):
        return [(row["id"], row["amount"]) for row in rows if row["amount"] > 2]

    @task
    def load(self, rows):
        with sqlite3.connect("out/class.db") as connection:
            connection.execute(f"create table if not exists {self.table} (id int, amount real)")
            connection.executemany(f"insert into {self.table} values (?, ?)", rows)
        self.loaded += len(rows)
        return self.loaded

    @flow
    def run(self):
        self.load(self.transform(self.extract()))
        return self.loaded


def main():
    return OrdersPipeline("orders").run()
