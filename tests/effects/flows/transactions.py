"""All or nothing: what was written is taken back when a check fails."""

import os
from pathlib import Path

from prefect import flow, task
from prefect.transactions import transaction


@task
def write_file(path: str, contents: str) -> str:
    with open(path, "a") as target:
        target.write(contents)
    return path


@write_file.on_rollback
def del_file(txn):
    Path("out/rolled-back.log").open("a").write("rolled back\n")
    os.unlink("out/staged.txt")


@task
def quality_test(path: str, least: int) -> int:
    lines = Path(path).read_text().splitlines()
    if len(lines) < least:
        raise ValueError("not enough lines")
    return len(lines)


@flow
def publish(least: int):
    with transaction():
        path = write_file("out/staged.txt", "one\ntwo\n")
        return quality_test(path, least)


def main():
    bad = publish(5, return_state=True)
    exists = Path("out/staged.txt").exists()
    good = publish(2, return_state=True)
    os.remove("out/staged.txt")
    return [bad.type.value, exists, good.type.value, good.result()]
