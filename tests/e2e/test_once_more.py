"""Values that a way through a store changes: the tasks that take them are hits in the second run."""

from __future__ import annotations

from pathlib import Path

from tests.support.processes import FlowProject

FLOW = """
from decimal import Decimal
from functools import cached_property

import numpy as np
from executions import ran
from expops_prefect import flow, task
from sklearn.utils import Bunch


class Money(Decimal):
    pass


class Lossy:
    def __init__(self, kept, lost):
        self.kept, self.lost = kept, lost

    def __getstate__(self):
        return {"kept": self.kept}

    def __reduce__(self):
        return Lossy, (self.kept, None)


class Numbers:
    def __init__(self):
        self.values = [1, 2]

    @cached_property
    def total(self):
        return sum(self.values)


class Tagged(np.ndarray):
    pass


@task
def make(kind):
    ran("make")
    if kind == "money":
        made = Money("1.5")
        made.currency = "EUR"
        return made
    if kind == "lossy":
        return Lossy(1, 2)
    if kind == "bunch":
        return Bunch(data=np.arange(3), inner=Bunch(a=1))
    if kind == "numbers":
        return Numbers()
    if kind == "array":
        made = np.arange(3).view(Tagged)
        made.unit = "m"
        return made
    return [Lossy(1, 2), {"x": Lossy(3, 4)}]


@task
def take(value):
    ran("take")
    return str(type(value))


@task
def total(numbers):
    ran("total")
    return numbers.total


@task
def both(values):
    ran("both")
    return len(values)


@flow
def main():
    made = {kind: make(kind) for kind in ("money", "lossy", "bunch", "numbers", "array", "list")}
    for value in made.values():
        take(value)
    total(made["numbers"])
    made["numbers"].total
    take(made["numbers"])
    both([made["lossy"], {"a": made["money"], "b": made["list"]}])
    made["lossy"].kept = 5
    take(made["lossy"])


main()
"""


def test_what_the_store_changes_counts_as_it_was(tmp_path: Path) -> None:
    shop = FlowProject(tmp_path)
    shop.write("flow.py", FLOW)
    first = shop.run("flow.py").ok()
    assert first.executions == {"make": 6, "take": 7, "total": 1, "both": 1}, first.output
    again = shop.run("flow.py").ok()
    # The last one takes what was changed since it was loaded.
    assert again.executions == {"take": 1}, again.output
