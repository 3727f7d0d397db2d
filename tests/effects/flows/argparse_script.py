"""A script with arguments."""

import argparse
import sys

from prefect import flow, task


@task
def read_rows(path: str, least: int) -> list[str]:
    with open(path) as source:
        rows = source.read().splitlines()[1:]
    return [row for row in rows if int(row.split(",")[1]) >= least]


@task
def write_rows(rows: list[str], path: str) -> int:
    with open(path, "w") as target:
        return target.write("\n".join(rows))


@flow
def select(source: str, target: str, least: int):
    return write_rows(read_rows(source, least), target)


def main(argv=("--least", "3")):
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", default="data/rows.csv")
    parser.add_argument("--target", default="out/selected.csv")
    parser.add_argument("--least", type=int, default=1)
    args = parser.parse_args(list(argv) or sys.argv[1:])
    return select(**vars(args))
