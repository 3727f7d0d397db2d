"""Names and tags of runs, from where they run."""

from prefect import flow, runtime, tags, task
from prefect.context import get_run_context


@task(task_run_name="{what}-of-{number}")
def named(what: str, number: int) -> str:
    return f"{what} {number}"


@task
def where() -> str:
    return runtime.flow_run.flow_name


@task
def which() -> int:
    return get_run_context().task_run.run_count


@flow(name="naming", flow_run_name="naming-{number}")
def naming(number: int):
    with tags("nightly"):
        return [named("row", number), where(), which()]


def main():
    return naming(4)
