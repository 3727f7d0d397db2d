"""Tasks that a function makes."""

from prefect import flow, task


def make_filter(column, least):
    @task(name=f"filter-{column}")
    def keep(rows: list[dict]) -> list[dict]:
        return [row for row in rows if row[column] >= least]

    return keep


STEPS = {column: make_filter(column, least) for column, least in (("a", 2), ("b", 3))}


@task
def sizes(rows: list[dict]) -> int:
    return len(rows)


@flow
def filtered():
    rows = [{"a": number, "b": number % 4} for number in range(6)]
    for step in STEPS.values():
        rows = step(rows)
    inner = make_filter("a", 4)
    return [sizes(rows), inner(rows)]


def main():
    return filtered()
