"""Each task takes a path and gives a path; what is at it is another thing."""

import csv
import json
from pathlib import Path

from prefect import flow, task

OUT = Path("out") / "by_path"


@task
def clean(source: Path) -> Path:
    OUT.mkdir(parents=True, exist_ok=True)
    target = OUT / "clean.csv"
    with source.open() as rows, target.open("w") as cleaned:
        for row in csv.DictReader(rows):
            if int(row["value"]) > 1:
                cleaned.write(f"{row['name']},{row['value']}\n")
    return target


@task
def aggregate(path: Path) -> Path:
    total = sum(int(line.split(",")[1]) for line in path.read_text().splitlines())
    target = path.with_name("total.json")
    target.write_text(json.dumps({"total": total}))
    return target


@task
def read_total(path: Path) -> int:
    return json.loads(path.read_text())["total"]


@flow
def by_path(source: str):
    return read_total(aggregate(clean(Path(source))))


def main():
    return by_path("data/rows.csv")
