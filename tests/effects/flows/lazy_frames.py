"""Plans over files go from task to task."""

import polars as pl
from prefect import flow, task


@task
def scan(path: str) -> pl.LazyFrame:
    return pl.scan_csv(path)


@task
def filtered(frame: pl.LazyFrame, least: int) -> pl.LazyFrame:
    return frame.filter(pl.col("value") >= least)


@task
def collected(frame: pl.LazyFrame) -> pl.DataFrame:
    return frame.collect()


@task
def names(frame: pl.DataFrame) -> list[str]:
    return frame["name"].to_list()


@flow
def lazy(path: str):
    return names(collected(filtered(scan(path), 2)))


def main():
    return lazy("data/rows.csv")
