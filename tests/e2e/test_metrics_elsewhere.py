"""Metrics that are logged where nobody knows whose they are: a warning says what to do."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import contextvars
import multiprocessing
import threading
from expops_prefect import flow, log_metric, task


@task
def threads():
    ones = [threading.Thread(target=log_metric, args=("lost", n)) for n in range(2)]
    copies = [contextvars.copy_context() for n in range(2)]
    ones += [threading.Thread(target=copy.run, args=(log_metric, "kept", 1)) for copy in copies]
    for one in ones:
        one.start()
        one.join()
    return 1


@task
def processes():
    process = multiprocessing.get_context("spawn").Process(target=log_metric, args=("lost", 1))
    process.start()
    process.join()
    return 1


@flow
def main():
    return threads(), processes()


if __name__ == "__main__":
    main()
"""


def test_a_warning_says_what_to_do(shop: FlowProject) -> None:
    shop.write("flow.py", FLOW)
    output = shop.run("flow.py").ok().output
    assert output.count("log_metric in a thread that a task or flow has started") == 1
    assert "contextvars.copy_context().run" in output
    assert output.count("log_metric in a process that a task has started") == 1
    assert list(shop.metrics()["threads"]) == ["kept"]
    assert "processes" not in shop.metrics()
