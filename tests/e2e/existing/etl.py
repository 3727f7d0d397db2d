"""ETL with retries, and caching choices of the tasks' own."""

from datetime import timedelta

from executions import ran, times
from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.tasks import exponential_backoff, task_input_hash


@task(retries=3, retry_delay_seconds=exponential_backoff(backoff_factor=0.01), retry_jitter_factor=0.1)
def extract(page: int) -> list[dict[str, int]]:
    ran(f"extract-{page}")
    if page == 2 and times("extract-2") == 1:
        raise ConnectionError("the service is away")
    return [{"page": page, "number": number} for number in range(3)]


@task(cache_policy=INPUTS, cache_expiration=timedelta(days=1), persist_result=True)
def transform(rows: list[dict[str, int]]) -> list[int]:
    ran("transform")
    return [row["page"] * 10 + row["number"] for row in rows]


@task(cache_key_fn=task_input_hash, persist_result=True, task_run_name="total-of-{label}")
def total(numbers: list[int], label: str) -> int:
    ran("total")
    return sum(numbers)


@task(cache_policy=NO_CACHE, log_prints=True)
def load(value: int) -> str:
    ran("load")
    print(f"loading {value}")
    return f"loaded {value}"


@flow(name="etl", log_prints=True, retries=1)
def main() -> str:
    rows = [row for page in (1, 2) for row in extract(page)]
    return load(total(transform(rows), label="all"))
