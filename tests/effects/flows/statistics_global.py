"""What was counted while the flow ran is in a global."""

from collections import Counter

from prefect import flow, task

STATS = Counter()


def counted(name, rows):
    STATS[name] += len(rows)
    return rows


@task
def read(number: int) -> list[int]:
    return counted("read", list(range(number)))


@task
def keep_even(rows: list[int]) -> list[int]:
    kept = [row for row in rows if row % 2 == 0]
    STATS.update(dropped=len(rows) - len(kept))
    return kept


@task
def total(rows: list[int]) -> int:
    return sum(rows)


@flow
def counting(number: int):
    return [total(keep_even(read(number))), dict(STATS)]


def main():
    STATS.clear()
    return counting(7)
