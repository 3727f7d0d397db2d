"""Tasks that connect to a database."""

import sqlite3
from contextlib import closing

import aiosqlite
import near
import pandas as pd
import sqlalchemy as sa
import sqlite_utils
from cases import Case
from prefect import task

ENGINE = sa.create_engine("sqlite:///world.db")


@task
def insert(mark):
    with sqlite3.connect("world.db") as connection:
        connection.execute("insert into marks values (?)", (mark,))
    return 1


@task
def query(mark):
    with closing(sqlite3.connect("world.db")) as connection:
        return connection.execute("select run from runs").fetchone()[0]


@task
def helped(mark):
    return near.insert(mark)


class Warehouse:
    def __init__(self, path):
        self.path = path

    def execute(self, sql, *values):
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).rowcount

    @task
    def load(self, mark):
        return self.execute("insert into marks values (?)", mark)


@task
async def insert_async(mark):
    async with aiosqlite.connect("world.db") as connection:
        await connection.execute("insert into marks values (?)", (mark,))
        await connection.commit()
    return mark


@task
def with_engine(mark):
    with ENGINE.begin() as connection:
        return connection.execute(sa.text("insert into marks values (:mark)"), {"mark": mark}).rowcount


@task
def with_own_engine(engine, mark):
    with engine.connect() as connection:
        connection.execute(sa.text("insert into marks values (:mark)"), {"mark": mark})
        connection.commit()
    return mark


@task
def frame_to_sql(frame):
    frame.to_sql("marks", ENGINE, if_exists="append", index=False)
    return len(frame)


@task
def frame_from_sql(mark):
    return pd.read_sql("select run from runs", ENGINE)


@task
def with_utils(mark):
    sqlite_utils.Database("world.db")["marks"].insert({"mark": mark})
    return mark.upper()


Case("database", "direct", insert, world=True)
Case("database", "direct", query, fresh=True)
Case("database", "helper", helped, world=True)
Case("database", "method", Warehouse("world.db").load, world=True)
Case("database", "async", insert_async, world=True)
Case("database", "third party", with_engine, world=True)
Case("database", "third party", with_own_engine, args=lambda mark: (ENGINE, mark), world=True)
Case("database", "third party", frame_to_sql, args=lambda mark: (pd.DataFrame({"mark": [mark]}),), world=True)
Case("database", "third party", frame_from_sql, fresh=True)
Case("database", "third party", with_utils, world=True)
