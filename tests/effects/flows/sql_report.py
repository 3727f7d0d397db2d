"""Tables from frames and frames from tables."""

import pandas as pd
import sqlalchemy as sa
from prefect import flow, task

engine = sa.create_engine("sqlite:///out/report.db")


@task
def stage(path: str) -> str:
    pd.read_csv(path).to_sql("staged", engine, if_exists="replace", index=False)
    return "staged"


@task
def append(table: str) -> int:
    frame = pd.read_sql(f"select * from {table}", engine)
    return frame.to_sql("history", engine, if_exists="append", index=False)


@task
def query(sql: str) -> pd.DataFrame:
    return pd.read_sql_query(sql, con=engine)


@task
def as_records(frame: pd.DataFrame) -> list[dict]:
    return frame.to_dict("records")


@flow
def reported():
    append(stage("data/rows.csv"))
    return as_records(query("select name, count(*) as times, sum(value) as total from history group by name"))


def main():
    return reported()
