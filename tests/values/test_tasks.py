"""The most telling values as arguments and globals of real tasks, with their executions counted."""

from __future__ import annotations

import pytest

from tests.support.processes import FlowProject

pytestmark = [pytest.mark.values, pytest.mark.timeout(900)]

FLOW = """
import io, sys
from decimal import Decimal

import boto3, faker, loguru, pint, polars as pl, redis, scipy.stats
from beartype import beartype
from executions import ran
from expops_prefect import flow, task

from loguru import logger
client = redis.Redis()
s3 = boto3.client("s3", region_name="eu-west-1")
units = pint.UnitRegistry()
people = faker.Faker()
normal = scipy.stats.norm


class Money(Decimal):
    pass


def money(currency):
    made = Money("1.5")
    made.currency = currency
    return made


@beartype
def doubled(value: int) -> int:
    return value * 2


@task
def logged(value):
    ran("logged")
    logger.debug("value {}", value)
    return value + 1


@task
def with_clients(value):
    ran("with_clients")
    return value, type(client).__name__, type(s3).__name__, type(people).__name__


@task
def measured(value):
    ran("measured")
    return str(units.Quantity(value, "m").to("km")), float(normal.cdf(0))


@task
def checked(value):
    ran("checked")
    return doubled(value)


@task
def read(file):
    ran("read")
    return file.read()


@task
def total(frame):
    ran("total")
    return frame.collect()["a"].sum()


@task
def spent(amount):
    ran("spent")
    return amount.currency


@task
def changed(parts):
    ran("changed")
    parts[0].append(1)
    return parts[1]


@task
def both(one, two):
    ran("both")
    one.append(1)
    return two


@flow
def main():
    logged(1), with_clients(1), measured(1), checked(1)
    out = [read(io.BytesIO(b"abc")), read(io.StringIO("abc"))]
    out.append(total(pl.scan_csv("d.csv")))
    out += [spent(money("EUR")), spent(money("USD"))]
    shared = [0]
    out += [changed([[0], [0]]), changed([shared, shared])]
    shared = [0]
    out += [both([0], [0]), both(shared, shared)]
    print("OUT", out)

main()
"""
EACH = {
    **dict.fromkeys(("logged", "with_clients", "measured", "checked", "total"), 1),
    **dict.fromkeys(("read", "spent", "changed", "both"), 2),
}
OUT = "OUT [b'abc', 'abc', {}, 'EUR', 'USD', [0], [0, 1], [0], [0, 1]]"


def test_tasks_run_when_they_must_and_only_then(shop: FlowProject) -> None:
    shop.write("flow.py", FLOW)
    shop.write("d.csv", "a\n1\n2\n")
    first = shop.finish(shop.start("flow.py"), timeout=400).ok()
    assert first.executions == EACH, first.output
    assert OUT.format(3) in first.output
    again = shop.finish(shop.start("flow.py", hashseed=1), timeout=400).ok()
    assert not again.executions, again.output
    shop.write("d.csv", "a\n1\n5\n")
    changed = shop.finish(shop.start("flow.py", hashseed=2), timeout=400).ok()
    assert changed.executions == {"total": 1}, changed.output
    assert OUT.format(6) in changed.output


ATTACHED = """
import collections, dataclasses, random
import numpy as np, pandas as pd, polars as pl, scipy.sparse, torch
from executions import ran
from expops_prefect import flow, task


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    x: int


class Pixel(Point):
    pass


def tagged(made, tag):
    object.__setattr__(made, "tag", tag)
    return made


def error(name):
    return AttributeError("no", name=name, obj=1)


def indexed(tag):
    made = pd.DataFrame({"a": [1]}, index=pd.Index([5]))
    tagged(made.index, tag)
    return made


def weight(factor):
    made = torch.tensor([1.0], requires_grad=True)
    made.register_hook(lambda gradient: gradient * factor)
    return made


def layer(factor):
    torch.manual_seed(0)
    made = torch.nn.Linear(1, 1)
    made.register_forward_pre_hook(lambda _module, given: (given[0] * factor,))
    return made


@task
def read(value, kind):
    ran(kind)
    return str(value.index.tag if kind == "index" else value.tag)


@task
def made(tag):
    ran("made")
    return indexed(tag)


@task
def named(value):
    ran("named")
    return value.name


@task
def trained(value):
    ran("trained")
    (value * 1).sum().backward()
    return float(value.grad)


@task
def computed(value):
    ran("computed")
    return round(float(value(torch.ones(1, 1))), 3)


@task
def differentiated(leaf, value):
    ran("differentiated")
    value.sum().backward()
    return float(leaf.grad)


@flow
def main():
    makers = {
        "ordered": lambda: collections.OrderedDict(a=1),
        "counter": lambda: collections.Counter("ab"),
        "random": lambda: random.Random(0),
        "pixel": lambda: Pixel(1),
        "stamp": lambda: pd.Timestamp("2020"),
        "category": lambda: pd.Categorical(["a"]),
        "polars": lambda: pl.DataFrame({"a": [1]}),
        "series": lambda: pl.Series([1]),
        "sparse": lambda: scipy.sparse.csr_matrix([[1, 0]]),
    }
    out = [read(tagged(make(), tag), kind) for kind, make in makers.items() for tag in ("a", "b")]
    out += [read(made(tag), "index") for tag in ("a", "b")]
    out += [named(error(name)) for name in ("a", "b")]
    out += [trained(weight(factor)) for factor in (2, 3)]
    out += [computed(layer(factor)) for factor in (2, 3)]
    leaf = torch.tensor([1.0], requires_grad=True)
    out += [differentiated(leaf, leaf * factor) for factor in (2, 3)]
    print("OUT", out)

main()
"""
KINDS = ("ordered", "counter", "random", "pixel", "stamp", "category", "polars", "series", "sparse", "index")


def test_what_is_attached_to_a_value_counts(shop: FlowProject) -> None:
    shop.write("flow.py", ATTACHED)
    runs = [shop.finish(shop.start("flow.py", hashseed=seed), timeout=400).ok() for seed in (0, 1)]
    out = ["a", "b"] * (len(KINDS) + 1)
    for run in runs:
        said = next(line for line in run.output.splitlines() if line.startswith("OUT "))
        assert said.startswith(f"OUT {out}"[:-1]), said
        assert ", 2.0, 3.0, " in said, said
    assert runs[0].executions == dict.fromkeys((*KINDS, "made", "named", "trained", "computed", "differentiated"), 2), (
        runs[0].output
    )
    # Gradients of a computed tensor lead to what it was computed from, which no key shows.
    assert runs[1].executions == {"differentiated": 2}, runs[1].output
    assert "gradients flow through it" in runs[1].output
