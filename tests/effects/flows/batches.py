"""Each load has a number of its own."""

import sqlite3
import uuid

from prefect import flow, task


@task
def batch_id() -> str:
    return uuid.uuid4().hex


@task
def load(batch: str, rows: list[int]) -> int:
    with sqlite3.connect("out/batches-ids.sqlite") as connection:
        connection.execute("create table if not exists loaded (batch text, value int)")
        connection.executemany("insert into loaded values (?, ?)", [(batch, row) for row in rows])
    return len(rows)


@task
def batches() -> int:
    with sqlite3.connect("out/batches-ids.sqlite") as connection:
        return connection.execute("select count(distinct batch) from loaded").fetchone()[0]


@flow
def batched():
    load(batch_id(), [1, 2])
    load(batch_id(), [1, 2])
    return batches()


def main():
    return batched()
