"""Transactions: what was written is rolled back when a later task fails."""

from pathlib import Path

from executions import ran
from prefect import flow, task
from prefect.transactions import get_transaction, transaction


@task
def write(name: str) -> str:
    ran("write")
    get_transaction().set("name", name)
    Path(name).write_text("rows")
    return name


@write.on_rollback
def remove(txn) -> None:
    ran("rolled-back")
    Path(txn.get("name")).unlink()


@write.on_commit
def keep(txn) -> None:
    ran("committed")


@task
def check(name: str, good: bool) -> bool:
    ran("check")
    if not good:
        raise ValueError("too few rows")
    return good


@flow(name="all-or-nothing")
def publish(name: str, good: bool) -> bool:
    with transaction():
        write(name)
        return check(name, good)


def main() -> list[object]:
    bad = publish("bad.csv", False, return_state=True)
    good = publish("good.csv", True, return_state=True)
    return [bad.type.value, Path("bad.csv").exists(), good.type.value, Path("good.csv").exists(), good.result()]
