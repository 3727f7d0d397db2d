"""A task that persists its result is not executed again when its flow is retried, as with Prefect alone."""

from __future__ import annotations

from tests.support.processes import FlowProject

FLOW = """
import sys
from executions import ran
from expops_prefect import flow, task
from prefect.flow_engine import run_flow
from prefect.client.orchestration import get_client
from prefect.states import Scheduled

COUNT = [0]


@task(persist_result=True)
def kept(x):
    ran("kept")
    return x * 10 + 0 * COUNT[0]


@task
def plain(x):
    ran("plain")
    return x + 0 * COUNT[0]


@flow(retries=1 if sys.argv[1] == "here" else 0)
def main():
    values = [kept(1), *kept.map([2, 3]).result(), kept(1)]
    plain(1)
    COUNT[0] += 1
    if COUNT[0] == 1 and sys.argv[1] != "again":
        raise RuntimeError("the first attempt fails")
    print("RESULT", values)


if sys.argv[1] == "here":
    main()
elif sys.argv[1] == "first":
    print("RUN", main(return_state=True).state_details.flow_run_id)
else:
    COUNT[0] = 7
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(sys.argv[2], Scheduled(name="AwaitingRetry"), force=True)
        run = client.read_flow_run(sys.argv[2])
    run_flow(main, flow_run=run)
"""


def test_what_persists_is_not_executed_again(shop: FlowProject) -> None:
    shop.write("flow.py", FLOW)
    here = shop.run("flow.py", "here").ok()
    assert "RESULT [10, 20, 30, 10]" in here.output
    assert here.executions == {"kept": 3, "plain": 2}, "a task that was not told to persist has another key"


def test_nor_in_another_process(shop: FlowProject) -> None:
    shop.write("flow.py", FLOW)
    first = shop.run("flow.py", "first").ok()
    assert first.executions["kept"] == 3
    (run,) = [line.split()[1] for line in first.output.splitlines() if line.startswith("RUN ")]
    again = shop.run("flow.py", "again", run).ok()
    assert "RESULT [10, 20, 30, 10]" in again.output
    assert again.executions == {"plain": 1}
    # Another run of the flow is no retry.
    assert shop.run("flow.py", "here").ok().executions["kept"] == 0
