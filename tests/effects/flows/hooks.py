"""Hooks that tell of what happened."""

from pathlib import Path

from prefect import flow, task


def note(text):
    with open("out/hooks.log", "a") as log:
        log.write(text + "\n")


def task_failed(task, run, state):
    note(f"task {task.name} {state.type.value}")


def flow_done(flow, run, state):
    note(f"flow {flow.name} {state.type.value}")


@task(on_failure=[task_failed])
def check(value: int) -> int:
    if value < 0:
        raise ValueError("negative")
    return value


@task
def write(value: int) -> str:
    Path(f"out/hooked-{value}.txt").write_text(str(value))
    return f"out/hooked-{value}.txt"


@flow(on_completion=[flow_done], on_failure=[flow_done])
def hooked(value: int):
    return write(check(value))


def main():
    return [hooked(value, return_state=True).type.value for value in (1, -1)]
