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
