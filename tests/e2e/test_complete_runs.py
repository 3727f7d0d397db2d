"""Every task run of a recorded flow stands in its record: whoever decorated it, wherever it ran, whoever cached it."""

from __future__ import annotations

import pytest

from expops_prefect.models.names import readable
from expops_prefect.record.process_rows import Row
from tests.support.processes import FlowProject, Outcome

pytestmark = pytest.mark.xdist_group("complete-runs")

LIBRARY = """
from executions import ran
from prefect import flow, task
from prefect.assets import materialize
from prefect.cache_policies import INPUTS
from prefect.context import FlowRunContext
from prefect.task_runners import ProcessPoolTaskRunner

import expops_prefect
from expops_prefect import log_metric


@task
def plain(n):
    ran("plain")
    return n + 1


@task
async def waiting(n):
    ran("waiting")
    return n


@expops_prefect.task
def inner(n):
    ran("inner")
    return n


@task
def around(n):
    ran("around")
    log_metric("around", n)
    return inner(n) + plain(n) + inner.submit(n + 1).result()


@materialize("s3://shop/orders")
def orders(n):
    ran("orders")
    return n


@task(cache_policy=INPUTS, persist_result=True)
def kept(n):
    ran("kept")
    log_metric("kept", n / 2)
    return n


@task
def failing(n):
    raise ValueError(n)


@task(cache_policy=expops_prefect.EXPOPS)
def unhashable(lock):
    ran("unhashable")
    log_metric("locked", 1)
    return plain(1)


@flow
def nested(n):
    log_metric("nested", n)
    return inner(n + 1000)


@task
def calls_flow(n):
    return nested(n) + plain(n)


@flow
def foreign(n):
    log_metric("foreign", n)
    return sum(plain.map([n, n + 1]).result()) + nested(n)


@flow
def breaking(n):
    plain(n)
    raise ValueError(f"no {n}")


@flow(retries=1)
def again(n):
    ran("again")
    if FlowRunContext.get().flow_run.run_count == 1:
        raise ValueError(n)


@flow
def typed(n: int):
    return plain(n)


@flow
async def later(n):
    return await waiting(n) + nested(n)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def pooled(n):
    return plain.submit(n).result() + calls_flow.submit(n).result()
"""
FLOW = """
import asyncio
import sys
import threading

from executions import ran
from prefect import Flow, Task
from prefect.cache_policies import INPUTS
from prefect.task_runners import ProcessPoolTaskRunner

import library
from expops_prefect import flow, log_metric, task


@task(cache_policy=INPUTS, persist_result=True)
def own(n, name="own"):
    ran("own")
    log_metric("own", n / 4)
    return n


@task
def leaf(n):
    ran("leaf")
    return n


@flow(cached=True)
def great(n):
    return leaf(n + 100)


@flow
def grandchild(n):
    return leaf(n + 10) + great(n)


@flow
def child(n):
    return leaf(n) + grandchild(n)


@flow
def main():
    own(1)
    library.plain.submit(library.plain(1)).result()
    library.orders(1)
    library.kept.map([1, 2]).result()
    library.around(1)
    library.foreign(2)
    library.unhashable(threading.Lock())
    child(1)
    library.plain.submit(library.failing.submit(1)).wait()


@flow
async def coroutines():
    await library.waiting(1)
    library.waiting.submit(2).wait()


@flow
def typed_ours(n: int):
    return n


@flow
def subflows():
    library.foreign(1)
    library.foreign(2)
    library.calls_flow(3)
    library.breaking(1, return_state=True)
    library.again(1)
    for refusing in (library.typed, typed_ours):
        try:
            refusing("many")
        except Exception as error:
            assert "many" not in type(error).__name__
    asyncio.run(library.later(1))
    library.typed(library.failing.submit(1), return_state=True)
    library.pooled(1)
    leaf(5)


@flow(task_runner=ProcessPoolTaskRunner(max_workers=1))
def elsewhere():
    library.around.submit(5).result()
    library.kept.submit(7).result()


def library_tasks():
    found = vars(library).items()
    return {name: (type(item), dict(vars(item))) for name, item in found if isinstance(item, Task | Flow)}


if __name__ == "__main__":
    before = library_tasks()
    for name in sys.argv[1:]:
        asyncio.run(coroutines()) if name == "coroutines" else globals()[name](return_state=True)
    assert library_tasks() == before
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    made = FlowProject(tmp_path_factory.mktemp("complete"))
    made.write("library.py", LIBRARY)
    made.write("main.py", FLOW)
    made.run("main.py", "main", "coroutines", "subflows").ok()
    return made


@pytest.fixture(scope="module")
def again(shop: FlowProject) -> Outcome:
    return shop.run("main.py", "main", "elsewhere", "elsewhere").ok()


def run_of(shop: FlowProject, flow: str, number: int = 0) -> str:
    """The id of a run of a flow, the newest being number 0."""
    return [run.run_id for run in shop.project().runs() if run.flow == flow][number]


def rows(shop: FlowProject, flow: str, number: int = 0) -> dict[str, Row]:
    """The rows of a run by readable path."""
    return {readable(row.path): row for row in shop.project().rows(run_of(shop, flow, number))}


def metrics(shop: FlowProject, flow: str, number: int = 0) -> dict[str, dict[str, list[object]]]:
    """The values of a run's metrics by readable path."""
    found = shop.project().metrics(run_of(shop, flow, number))
    return {
        readable(path): {name: list(series.values()) for name, series in values.items()}
        for path, values in found.items()
    }


def test_whoever_decorated_a_task(shop: FlowProject) -> None:
    found = rows(shop, "main")
    assert {path: dict(row.calls) for path, row in found.items() if row.calls} == {
        "own": {"completed": 1},
        "plain": {"completed": 2, "pending": 1},
        "orders": {"completed": 1},
        "kept": {"completed": 2},
        "around": {"completed": 1},
        "around / inner": {"completed": 2},
        "around / plain": {"completed": 1},
        "child": {"completed": 1},
        "child / leaf": {"completed": 1},
        "child / grandchild": {"completed": 1},
        "child / grandchild / leaf": {"completed": 1},
        "child / grandchild / great": {"completed": 1},
        "child / grandchild / great / leaf": {"completed": 1},
        "foreign": {"completed": 1},
        "foreign / plain": {"completed": 2},
        "foreign / nested": {"completed": 1},
        "foreign / nested / inner": {"completed": 1},
        "unhashable": {"completed": 1},
        "unhashable / plain": {"completed": 1},
        "failing": {"failed": 1},
    }
    assert found["plain #3"].status == "pending"
    assert found["plain #3"].fields["miss_reason"] == "it did not start: a task that it depends on failed"
    assert found["plain #2"].upstream == (), "a task takes no data from itself"
    assert found["plain"].upstream == ("failing",)
    assert dict(rows(shop, "coroutines")["waiting"].calls) == {"completed": 2}


def test_whoever_decorated_a_subflow(shop: FlowProject) -> None:
    found = rows(shop, "subflows")
    assert {path: dict(row.calls) for path, row in found.items() if row.calls} == {
        "foreign": {"completed": 2},
        "foreign / plain": {"completed": 2},
        "foreign / nested": {"completed": 1},
        "foreign / nested / inner": {"completed": 1},
        "foreign #2 / plain": {"completed": 2},
        "foreign #2 / nested": {"completed": 1},
        "foreign #2 / nested / inner": {"cached": 1},
        "calls_flow": {"completed": 1},
        "calls_flow / plain": {"completed": 1},
        "calls_flow / nested": {"completed": 1},
        "calls_flow / nested / inner": {"completed": 1},
        "breaking": {"failed": 1},
        "breaking / plain": {"completed": 1},
        "again": {"completed": 1},
        "typed": {"failed": 1, "pending": 1},
        "typed-ours": {"failed": 1},
        "later": {"completed": 1},
        "later / waiting": {"completed": 1},
        "later / nested": {"completed": 1},
        "later / nested / inner": {"cached": 1},
        "failing": {"failed": 1},
        "pooled": {"completed": 1},
        "pooled / plain": {"completed": 1},
        "pooled / calls_flow": {"completed": 1},
        "pooled / calls_flow / plain": {"completed": 1},
        "pooled / calls_flow / nested": {"completed": 1},
        "pooled / calls_flow / nested / inner": {"cached": 1},
        "leaf": {"completed": 1},
    }
    assert found["breaking"].fields["failure"] == "ValueError: no 1"
    assert found["breaking"].fields["log"].startswith("flow-run/")
    assert "n: Input should be a valid integer" in found["typed"].fields["failure"]
    assert (found["typed #2"].status, found["typed #2"].upstream) == ("pending", ("failing",))
    for path in ("foreign", "breaking", "again", "later", "pooled"):
        row = found[path].first or found[path]
        inside = [each.fields["started_at"] for name, each in found.items() if name.startswith(f"{path} / ")]
        assert row.fields["started_at"] <= min(inside, default=row.fields["ended_at"]) <= row.fields["ended_at"]
    assert metrics(shop, "subflows") == {
        "foreign": {"foreign": [1]},
        "foreign / nested": {"nested": [1]},
        "foreign #2": {"foreign": [2]},
        "foreign #2 / nested": {"nested": [2]},
        "calls_flow / nested": {"nested": [3]},
        "later / nested": {"nested": [1]},
        "pooled / calls_flow / nested": {"nested": [1]},
    }
    graph = shop.project().graph(run_of(shop, "subflows"))
    assert {"foreign", "breaking", "later", "pooled"} <= set(graph.processes)


def test_whoever_cached_it(shop: FlowProject, again: Outcome) -> None:
    assert (again.executions["own"], again.executions["kept"]) == (0, 1)
    first = run_of(shop, "main", 1)
    assert metrics(shop, "main", 1)["own"] == {"own": [0.25]}
    found = rows(shop, "main")
    for path in ("own", "kept #1", "kept #2"):
        assert found[path].status == "cached"
        assert found[path].fields["cached_by"] == "Prefect's own cache"
        assert found[path].cached_run_id == first
    assert metrics(shop, "main")["own"] == {"own": [0.25]}
    assert metrics(shop, "main")["kept #2"] == {"kept": [1]}
    assert "cached_by" not in found["child / leaf"].fields
    assert found["plain"].status == "pending", "Prefect executes it every time"


def test_wherever_it_ran(shop: FlowProject, again: Outcome) -> None:
    for status, number in (("cached", 0), ("completed", 1)):
        found = rows(shop, "elsewhere", number)
        assert found["around"].status == "completed"
        assert found["around / plain"].status == "completed"
        assert found["around / inner"].status == status
        assert found["kept"].status == status
        assert metrics(shop, "elsewhere", number)["kept"] == {"kept": [3.5]}


CANCELS = """
import sys
from expops_prefect import flow
from prefect.states import Cancelled

@flow
def main():
    return Cancelled(message="nothing to do")

print(main(return_state=True).name)
"""


def test_a_flow_that_cancels_itself_has_ended(shop: FlowProject) -> None:
    shop.write("cancels.py", CANCELS)
    first, second = shop.run("cancels.py").ok(), shop.run("cancels.py").ok()
    assert "Cancelled" in first.output
    assert "died; marked as failed" not in second.output
    runs = shop.project().runs(limit=2)
    assert [(run.status, run.failure) for run in runs] == [("failed", "nothing to do")] * 2
    assert all(run.ended_at is not None for run in runs)
