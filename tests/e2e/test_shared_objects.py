"""Results that others have too, or that are used up, and hooks of transactions: as with Prefect alone."""

from __future__ import annotations

import json
from typing import Any

from tests.support.processes import FlowProject
from tests.support.server import clean_environment

FLOW = """
import functools
import json
import operator
import os
import numpy as np
from executions import ran
from {module} import flow, task
from prefect.transactions import transaction

CONFIG = {{"rows": [1]}}
COLUMNS = ("a", "b")
UNSET = object()


class Settings:
    shared = {{"debug": False}}

    def __init__(self):
        self.names = ["x"]


SETTINGS = Settings()


def closure():
    held = []

    @task
    def kept():
        ran("kept")
        return held

    return kept, held


@task
def config():
    ran("config")
    return CONFIG


@task
def rows():
    ran("rows")
    return CONFIG["rows"]


@task
def names():
    ran("names")
    return SETTINGS.names


@task
def shared():
    ran("shared")
    return Settings.shared


@task
def window(values):
    ran("window")
    return values[:2]


@task
def halves(values):
    ran("halves")
    return [values.T[:1], values.T[1:]]


@task
def appends(items):
    ran("appends")
    return items.append


@task
def adds(items):
    ran("adds")
    return functools.partial(operator.iadd, items)


@task
def bytes_of(buffer):
    ran("bytes_of")
    return np.frombuffer(buffer, dtype=np.uint8)


@task
def total(values):
    ran("total")
    return (values[:2] + 1).sum()


@task
def counted(n):
    ran("counted")
    return (i for i in range(n))


@task
def columns():
    ran("columns")
    return COLUMNS


@task
def is_set(value):
    ran("is_set")
    return value is not UNSET


@task
def reserve(seat):
    ran("reserve")
    return seat + 1


@reserve.on_rollback
def undo(_):
    ran("undo")


@task
def ship(fails):
    if fails:
        raise ValueError("no ship")


@flow
def main(fails):
    config()["debug"] = True
    rows().append(2)
    names().append("y")
    shared()["debug"] = True
    kept, held = closure()
    kept().append(1)
    grid, items, buffer = np.arange(6.0).reshape(2, 3), [1], bytearray(b"ab")
    window(grid)[0, 0] = 99
    halves(grid)[1][0, 1] = 77
    appends(items)(2)
    adds(items)([3])
    bytes_of(buffer)[0] = 65
    looked = [grid.tolist(), items, buffer.decode(), float(total(grid))]
    told = [looked, CONFIG, SETTINGS.names, Settings.shared, held, columns(), type(counted(3)).__name__]
    told += [is_set(UNSET), is_set(object()), is_set(UNSET)]
    try:
        with transaction():
            reserve(1)
            ship(fails)
    except ValueError:
        told.append("undone")
    print("TOLD", json.dumps(told))


if __name__ == "__main__":
    main(bool(int(os.environ["FAILS"])))
"""
PURE = {"columns": 1, "is_set": 2, "total": 1}
"""What only computes: ours executes it less often. A plain object() that has no name is no key."""


def test_each_process_is_as_with_plain_prefect(shop: FlowProject) -> None:
    shop.configure("prefect: {project_id: shop}\n")
    told: dict[str, list[Any]] = {}
    executed: dict[str, list[dict[str, int]]] = {}
    for module in ("prefect", "expops_prefect"):
        shop.write(f"{module}_flow.py", FLOW.format(module=module))
        home = clean_environment(shop.folder / f"home-{module}")
        for fails in (0, 0, 1):
            run = shop.run(f"{module}_flow.py", env={**home, "FAILS": str(fails)}).ok()
            told.setdefault(module, []).append(json.loads(run.output.split("TOLD ", 1)[1].splitlines()[0]))
            executed.setdefault(module, []).append(dict(run.executions))
    assert told["expops_prefect"] == told["prefect"]
    assert told["prefect"][2][-1] == "undone"
    plain, ours = executed["prefect"], executed["expops_prefect"]
    assert plain[0]["is_set"] == 3
    assert ours == [{**plain[0], "is_set": 2}, *({**_less(run), "is_set": 1} for run in plain[1:])]


def _less(executed: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in executed.items() if name not in PURE}
