"""Rows in, rows out: reading a table is no constant."""

import sqlite3
from contextlib import closing

from prefect import flow, task

DB = "out/rows.db"


@task
def setup():
    with closing(sqlite3.connect(DB)) as connection, connection:
        connection.execute("create table if not exists visits (id integer primary key, page text)")
    return DB


@task
def insert(db: str, page: str) -> int:
    with closing(sqlite3.connect(db)) as connection, connection:
        return connection.execute("insert into visits (page) values (?)", (page,)).lastrowid


@task
def count(db: str) -> int:
    with closing(sqlite3.connect(db)) as connection:
        return connection.execute("select count(*) from visits").fetchone()[0]


@task
def percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 2)


@flow
def visits():
    db = setup()
    before = count(db)
    for page in ("a", "b", "a"):
        insert(db, page)
    after = count(db)
    return [before, after, percent(3, after)]


def main():
    return visits()
