"""How many task runs there are is known at run time alone."""

from executions import ran
from prefect import flow, task, unmapped
from prefect.futures import as_completed, wait


@task
def listing(count: int) -> list[str]:
    ran("listing")
    return [f"file-{number}.csv" for number in range(count)]


@task(task_run_name="read-{name}", tags=["reading"])
def read(name: str, factor: int) -> int:
    ran("read")
    return len(name) * factor


@task
def combine(left: int, right: int) -> int:
    ran("combine")
    return left + right


@task
def notify(lines: list[int]) -> int:
    ran("notify")
    return max(lines)


@flow
def main() -> list[int]:
    sizes = read.map(listing(3), factor=unmapped(2))
    pairs = combine.map(sizes, [10, 20, 30])
    wait(pairs)
    doubled = [combine.submit(value, value, wait_for=[pairs[0]]) for value in (future.result() for future in pairs)]
    most = notify.submit(doubled)  # resolved in the list
    return [*sorted(future.result() for future in as_completed(doubled)), most.result()]
