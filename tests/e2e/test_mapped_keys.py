"""Calls that begin at the same moment in many threads have the keys that they have in every other process."""

from __future__ import annotations

from expops_prefect.record.cache_records import read_cache_records
from tests.support.processes import FlowProject

FLOW = """
from executions import ran
from expops_prefect import flow, task
import scipy
import shop.shapes


@task
def train(number):
    # What is imported here first is imported by one thread while others make their keys.
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from shop.late import RATE, scaled
    from sklearn.linear_model import LinearRegression

    ran("train")
    plt.close(plt.figure())
    model = LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
    return scaled(number) * RATE * round(float(model.coef_[0]), 6) + float(scipy.stats.norm.mean()) + shop.shapes.ONE


@flow
def main():
    return sum(train.map(list(range(16))).result())


if __name__ == "__main__":
    print("result", main())
"""
LATE = """
from shop.later import shift

RATE, NAMES = 2.0, {"a", "b", "c"}
(LOW, HIGH) = 0, 10


def scaled(number):
    return shift(number) + len(NAMES) + LOW
"""


def test_mapped_calls_in_three_processes(shop: FlowProject) -> None:
    shop.write("main.py", FLOW)
    shop.write("shop/__init__.py", "")
    shop.write("shop/shapes.py", "ONE = 1\n")
    shop.write("shop/late.py", LATE)
    shop.write("shop/later.py", "def shift(number):\n    return number + 1\n")
    expected = f"result {sum(float((number + 1 + 3) * 2.0 + 1) for number in range(16))}"
    for seed, executions in ((1, {"train": 16}), (2, {}), (3, {})):
        outcome = shop.run("main.py", hashseed=seed).ok()
        assert dict(outcome.executions) == executions
        assert expected in outcome.output
        assert shop.last_run().degraded == {}
    keys = [key for key, _ in read_cache_records(shop.project().kv)]
    assert len(keys) == 16
    assert len({key.inputs for key in keys}) == 16
    assert len({(key.config, key.function) for key in keys}) == 1
