"""Tasks that change what they did not make: globals, containers of a module, attributes."""

import os
from collections import defaultdict, deque

import far
import near
import pandas as pd
import sortedcontainers
from cases import Case
from prefect import task

calls = 0
SEEN = []
BY_NAME = {}
GROUPS = defaultdict(list)
RECENT = deque(maxlen=5)
ORDERED = sortedcontainers.SortedDict()
TOTALS = pd.DataFrame({"total": [0.0]})


@task
def count(mark):
    global calls
    calls += 1
    return "counted"


@task
def helped_count(mark):
    return near.count()


class Registry:
    made = 0

    def __init__(self):
        self.items = []

    @classmethod
    def another(cls):
        cls.made += 1

    @task
    def register(self, mark):
        Registry.made += 1
        return "registered"


REGISTRY = Registry()


@task
async def count_async(mark):
    global calls
    calls = calls + 1
    return "counted"


@task
def set_option(mark):
    pd.set_option("display.max_rows", 7)
    return "set"


@task
def set_variable(mark):
    os.environ["CORPUS_SET"] = "by a task"
    return "set"


def counter():
    found = 0

    @task
    def add(mark):
        nonlocal found
        found += 1
        return "added"

    return add, lambda mark: found


ADD, FOUND = counter()

Case("state: global", "direct", count, after=lambda mark: calls)
Case("state: global", "direct", ADD, after=FOUND)
Case("state: global", "direct", set_variable, after=lambda mark: os.environ.get("CORPUS_SET"))
Case("state: global", "helper", helped_count, after=lambda mark: far.calls)
Case("state: global", "method", Registry().register, after=lambda mark: Registry.made)
Case("state: global", "async", count_async, after=lambda mark: calls)
Case("state: global", "third party", set_option, after=lambda mark: pd.get_option("display.max_rows"))


@task
def remember(mark):
    SEEN.append(mark)
    return len(mark)


@task
def remember_by_name(mark):
    BY_NAME[mark] = len(mark)
    return mark


@task
def group(mark):
    GROUPS[mark[0]].append(mark)
    return mark[0]


@task
def helped_remember(mark):
    return near.remember(mark)


@task
def through_object(mark):
    REGISTRY.items.append(mark)
    return mark


class Collector:
    found: set = set()

    @task
    def collect(self, mark):
        self.found.add(mark)
        return mark


@task
async def remember_async(mark):
    BY_NAME.update({mark: "async"})
    RECENT.append(mark)
    return mark


@task
def in_order(mark):
    ORDERED[mark] = 1
    return mark


@task
def total(mark):
    TOTALS.loc[0, "total"] += 1
    return mark


Case("state: container", "direct", remember, after=lambda mark: mark in SEEN)
Case("state: container", "direct", remember_by_name, after=lambda mark: mark in BY_NAME)
Case("state: container", "direct", group, after=lambda mark: mark in GROUPS[mark[0]])
Case("state: container", "helper", helped_remember, after=lambda mark: mark in far.SEEN)
Case("state: container", "method", through_object, after=lambda mark: mark in REGISTRY.items)
Case("state: container", "method", Collector().collect, after=lambda mark: mark in Collector.found)
Case("state: container", "async", remember_async, after=lambda mark: [mark in BY_NAME, mark in RECENT])
Case("state: container", "third party", in_order, after=lambda mark: mark in ORDERED)
Case("state: container", "third party", total, after=lambda mark: float(TOTALS["total"][0]))
