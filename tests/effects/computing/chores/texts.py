"""Plain Python: parsing, dates, recursion, small classes, files that are read by path."""

import asyncio
import base64
import collections
import csv
import decimal
import enum
import functools
import gzip
import hashlib
import heapq
import io
import itertools
import json
import logging
import os
import re
import statistics
import tempfile
import textwrap
import time
import xml.etree.ElementTree as ET
import zipfile
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from string import Template
from typing import NamedTuple

import jinja2
import networkx as nx
import pandas as pd
import pydantic
import yaml
from dateutil.relativedelta import relativedelta
from jobs import Job
from prefect import get_run_logger, task
from tools import pricing
from tools.progress import tracked

LINE = re.compile(r"(?P<host>\S+) \[(?P<day>[^\]]+)\] (?P<status>\d{3})")
RATES = {"EUR": 1.0, "USD": 0.92, "GBP": 1.17}
DATA = Path("data")


@task
def parsed(text):
    found = [match.groupdict() for line in text.splitlines() if (match := LINE.match(line))]
    return collections.Counter(entry["status"] for entry in found)


@task
def words(text):
    counts = collections.defaultdict(int)
    for word in re.findall(r"\w+", text.lower()):
        counts[word] += 1
    return dict(counts)


@task
def converted(amounts, currency="USD"):
    return [round(amount * RATES[currency], 2) for amount in amounts]


@task
def months_between(start, end):
    months = []
    while start <= end:
        months.append(start.strftime("%Y-%m"))
        start += relativedelta(months=1)
    return months


@task
def working_days(day: date, number: int) -> list[date]:
    found = []
    while len(found) < number:
        day += timedelta(days=1)
        if day.weekday() < 5:
            found.append(day)
    return found


@task
def as_utc(text):
    return datetime.fromisoformat(text).astimezone(timezone.utc).isoformat()


@task
def hanoi(discs):
    def move(n, a, b, c):
        return [] if n == 0 else [*move(n - 1, a, c, b), (a, c), *move(n - 1, b, a, c)]

    return len(move(discs, "a", "b", "c"))


@functools.cache
def fibonacci(number):
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


@task
def nth(number):
    return fibonacci(number)


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Item(NamedTuple):
    name: str
    price: decimal.Decimal


@task
def priced(items):
    return sum((item.price for item in items), decimal.Decimal(0))


@task
def coloured(numbers):
    return [Colour(number % 2 + 1) for number in numbers]


class Order(pydantic.BaseModel):
    number: int
    lines: list[float] = []

    @property
    def total(self):
        return sum(self.lines)


@task
def orders(records):
    return [order.total for order in map(Order.model_validate, records)]


@task
def discounted(basket):
    return pricing.Basket(basket).total()


@task
def flattened(nested):
    def walk(value, path=""):
        if isinstance(value, dict):
            for key, part in value.items():
                yield from walk(part, f"{path}.{key}" if path else key)
        else:
            yield path, value

    return dict(walk(nested))


@task
def batched(values, size):
    source = iter(values)
    return list(iter(lambda: list(itertools.islice(source, size)), []))


class Tokens:
    def __init__(self, text):
        self.text, self.place, self.found = text, 0, []

    def run(self):
        while self.place < len(self.text):
            end = self.text.find(" ", self.place)
            end = len(self.text) if end < 0 else end
            self.found.append(self.text[self.place : end])
            self.place = end + 1
        return self.found


@task
def tokens(text):
    return Tokens(text).run()


@task
def from_json(text):
    records = json.loads(text)
    records.sort(key=lambda record: record["id"])
    records[0]["first"] = True
    return records


@task
def from_yaml(text):
    return yaml.safe_load(text)


@task
def from_csv(text):
    return list(csv.DictReader(io.StringIO(text)))


@task
def from_xml(text):
    return {node.get("id"): node.text for node in ET.fromstring(text)}


@task
def zipped(texts):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    with zipfile.ZipFile(target) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


@task
def packed(text):
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


@task
def digest(data):
    return hashlib.sha256(data).hexdigest()


@task
def through_a_file(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.txt")
        path.write_text(text)
        return len(path.read_text().split())


@task
def through_a_named_file(rows):
    with tempfile.NamedTemporaryFile("w+", suffix=".csv") as target:
        csv.writer(target).writerows(rows)
        target.flush()
        return pd.read_csv(target.name, header=None).sum().tolist()


@task
def read_lines(path):
    with open(path, encoding="utf-8") as source:
        return [line.strip() for line in source if not line.startswith("#")]


@task
def read_settings(mark):
    return yaml.safe_load((DATA / "settings.yaml").read_text())["limits"]


@task
def read_frame(path):
    return pd.read_csv(path).describe()


@task
def region(mark):
    return f"{mark}-{os.getenv('HONEST_REGION', 'none')}"


@task
def rendered(name, rows):
    return jinja2.Template("Dear {{ name }}:{% for row in rows %} {{ row }}{% endfor %}").render(name=name, rows=rows)


@task
def filled(name):
    return textwrap.fill(Template("Dear $name, " * 9).substitute(name=name), 40)


@task
def shortest(edges, start, end):
    graph = nx.Graph()
    graph.add_weighted_edges_from(edges)
    return nx.dijkstra_path(graph, start, end)


@task
def merged(runs):
    return list(heapq.merge(*runs))


@task
def described(values):
    return {"mean": statistics.mean(values), "median": statistics.median(values)}


@task(log_prints=True)
def loud(numbers):
    total = 0
    for number in tracked(numbers):
        print("at", number)
        total += number
    return total


@task
def logged(numbers):
    started = datetime.now()
    logger = get_run_logger()
    logger.info("started with %d", len(numbers))
    found = [number for number in numbers if all(number % part for part in range(2, number))]
    logging.getLogger("chores").debug("took %s", datetime.now() - started)
    logger.info("done in %s", datetime.now() - started)
    return found


@task
def patient(number):
    time.sleep(0.001)
    return number + 1


@task
async def gathered(numbers):
    async def one(number):
        await asyncio.sleep(0)
        return number * 2

    return await asyncio.gather(*map(one, numbers))


class Pricing:
    def __init__(self, rate):
        self.rate = rate

    @task
    def apply(self, amounts):
        return [amount * self.rate for amount in amounts]


@task(retries=2, retry_delay_seconds=1)
def deduplicated(records):
    seen = set()
    kept = []
    for record in records:
        if record["id"] not in seen:
            seen.add(record["id"])
            kept.append({**record, "rank": len(kept)})
    return kept


@task
def matched(pairs):
    try:
        return [left / right for left, right in pairs]
    except ZeroDivisionError:
        return []


Job(parsed, lambda: ("a [01] 200\nb [02] 404\nc [03] 200\nnothing",))
Job(words, lambda: ("the fox and the dog",))
Job(converted, lambda: ([1.0, 2.5],))
Job(months_between, lambda: (date(2026, 1, 1), date(2026, 5, 1)))
Job(working_days, lambda: (date(2026, 1, 1), 4))
Job(as_utc, lambda: ("2026-01-01T12:00:00+02:00",))
Job(hanoi, lambda: (5,))
Job(nth, lambda: (40,))
Job(priced, lambda: ([Item("a", decimal.Decimal("1.10")), Item("b", decimal.Decimal(2))],))
Job(coloured, lambda: ([1, 2, 3],))
Job(orders, lambda: ([{"number": 1, "lines": [1, 2]}, {"number": 2}],))
Job(discounted, lambda: ({"book": 3, "toy": 2},))
Job(flattened, lambda: ({"a": {"b": 1, "c": {"d": 2}}, "e": 3},))
Job(batched, lambda: (list(range(7)), 3))
Job(tokens, lambda: ("a b c",))
Job(from_json, lambda: ('[{"id": 2}, {"id": 1}]',))
Job(from_yaml, lambda: ("a: 1\nb: [x, y]\n",))
Job(from_csv, lambda: ("a,b\n1,2\n",))
Job(from_xml, lambda: ('<r><i id="1">x</i><i id="2">y</i></r>',))
Job(zipped, lambda: ({"a.txt": "a", "b.txt": "b"},))
Job(packed, lambda: ("text " * 20,))
Job(digest, lambda: (b"data",))
Job(through_a_file, lambda: ("a b c",))
Job(through_a_named_file, lambda: ([[1, 2], [3, 4]],))
Job(read_lines, lambda: ("data/lines.txt",))
Job(read_settings, lambda: ("m",))
Job(read_frame, lambda: ("data/rows.csv",))
Job(region, lambda: ("m",))
Job(rendered, lambda: ("Ann", [1, 2]))
Job(filled, lambda: ("Ann",))
Job(shortest, lambda: ([("a", "b", 1), ("b", "c", 2), ("a", "c", 9)], "a", "c"))
Job(merged, lambda: ([[1, 4], [2, 3]],))
Job(described, lambda: ([1, 2, 6],))
Job(loud, lambda: ([1, 2],))
Job(logged, lambda: (list(range(2, 20)),))
Job(patient, lambda: (1,))
Job(gathered, lambda: ([1, 2],))
Job(Pricing(1.5).apply, lambda: ([1, 2],))
Job(deduplicated, lambda: ([{"id": 1}, {"id": 1}, {"id": 2}],))
Job(matched, lambda: ([(1, 2), (3, 4)],))
