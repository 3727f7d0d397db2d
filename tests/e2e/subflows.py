"""A script of cached subflows, for :mod:`tests.e2e.test_cached_subflows`: how they are called and end."""

SCRIPT = '''
import asyncio
import os
import sys

from executions import ran
from expops_prefect import flow, log_metric, process_parameters, task
from prefect import flow as plain_flow
from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext
from helper import scaled


@task
def prepare(x):
    ran("prepare")
    log_metric("prepared", x)
    return x + 0 * process_parameters("prepare").get("rate", 0)


@task
def fit(x):
    ran("fit")
    return scaled(x)


@flow(cached=True)
def training(x, by=1):
    ran("training")
    log_metric("x", x)
    around = TaskRunContext.get()
    assert around is None or around.task.name != "training", "its own task is not seen inside"
    get_run_logger().info("training %s", x)
    return fit.submit(prepare(x)).result() * by


@flow(cached=True)
async def loading(x):
    ran("loading")
    await asyncio.sleep(0)
    return prepare(x)


@flow(cached=True)
def whole(x):
    ran("whole")
    return training(x) + 1


@flow(cached=True)
def failing(x):
    ran("failing")
    raise ValueError("on purpose")


@flow(cached=True)
def nothing(x):
    ran("nothing")


@flow(cached=True, persist_result=False)
def unkept(x):
    ran("unkept")
    return x


@flow(cached=True)
def several_futures(x):
    ran("several_futures")
    return [prepare.submit(x), prepare.submit(x + 1)]


@plain_flow
def below(x):
    ran("below")
    return prepare(x)


@flow(cached=True)
def around(x):
    ran("around")
    return below(x)


@task
def caller(x):
    ran("caller")
    return training(x)


@task(cache_policy=NO_CACHE)
def uncached_caller(x):
    ran("uncached_caller")
    return training(x)


class Model:
    rate = 2

    @flow(cached=True)
    def learn(self, x):
        ran("learn")
        return x * self.rate


@flow
def simple():
    assert training(1) == 30
    assert training(x=1, by=1, return_state=True).result() == 30
    assert training(prepare.submit(1), by=2) == 60


@flow
def nested():
    assert whole(5) == 151
    assert caller(6) == 180
    assert uncached_caller(6) == 180
    assert around(3) == 3


@flow
def results():
    assert nothing(1) is None
    assert unkept(1) == 1
    assert [state.result() for state in several_futures(4)] == [4, 5]
    assert Model().learn(4) == 8
    try:
        failing(1)
    except ValueError as error:
        assert str(error) == "on purpose"


@flow
async def together():
    assert sorted(await asyncio.gather(loading(1), loading(2))) == [1, 2]
    assert (await loading(1, return_state=True)).name == "Cached"


@flow(retries=1)
def again():
    ran("again")
    assert training.with_options(name="retried")(7) == 210
    with open(os.environ["EXECUTION_LOG"]) as log:
        if log.read().split().count("again") == 1:
            raise ValueError("once more")


def alone():
    """A flow run by itself is run; its tasks are cached."""
    assert training(1) == 30


if __name__ == "__main__":
    for name in sys.argv[1:] or ["simple", "nested", "results", "together", "again", "alone"]:
        result = globals()[name]()
        if asyncio.iscoroutine(result):
            asyncio.run(result)
'''

HELPER = """
FACTOR = 30


def scaled(x):
    return x * FACTOR
"""
