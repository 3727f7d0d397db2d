# ruff: noqa
# mypy: ignore-errors
"""Tasks that only compute, as people write them. None of them may be taken for one with an effect."""

from __future__ import annotations

import base64
import csv
import dataclasses
import functools
import hashlib
import heapq
import io
import itertools
import json
import logging
import math
import os
import random
import re
import statistics
import tempfile
import time
import warnings
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from joblib import Parallel, delayed
from matplotlib import pyplot as plt
from prefect import get_run_logger, task
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from expops_prefect import log_metric

logger = logging.getLogger(__name__)
PATTERN = re.compile(r"(?P<key>\w+)=(?P<value>\d+)")
WEIGHTS = {"a": 0.5, "b": 2.0}
COLUMNS = ["a", "b"]
HANDLERS = {"sum": sum, "max": max}


@dataclass
class Order:
    price: float
    count: int = 1
    tags: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        return self.price * self.count

    def discounted(self, share: float) -> Order:
        return dataclasses.replace(self, price=self.price * (1 - share))


class Accumulator:
    def __init__(self, start: float = 0.0) -> None:
        self.total = start
        self.seen: list[float] = []

    def add(self, value: float) -> Accumulator:
        self.total += value
        self.seen.append(value)
        return self

    def __len__(self) -> int:
        return len(self.seen)


def square(x):
    return x * x


def clean(df):
    return df.dropna().drop_duplicates().reset_index(drop=True)


def timed(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            logger.info("%s took %.2f s", function.__name__, time.perf_counter() - started)

    return wrapper


def timed_by_clock(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        started = time.time()
        result = function(*args, **kwargs)
        print(f"{function.__name__} took {time.time() - started:.2f} s")
        return result

    return wrapper


# Python -------------------------------------------------------------------------------------------


def adds(a, b):
    return a + b


def sums_squares(n):
    total = 0
    for i in range(n):
        total += i * i
    return total


def recursion(n):
    return 1 if n < 2 else n * recursion(n - 1)


@functools.lru_cache(maxsize=None)
def _fibonacci(n):
    return n if n < 2 else _fibonacci(n - 1) + _fibonacci(n - 2)


def fibonacci(n):
    return _fibonacci(n)


def counts_words(text):
    counts: dict[str, int] = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]


def counter(text):
    found = Counter(re.findall(r"\w+", text))
    found.update(["end"])
    return dict(found.most_common(3))


def groups(rows):
    found = defaultdict(list)
    for row in rows:
        found[row["key"]].append(row["value"])
    return {key: statistics.mean(values) for key, values in found.items()}


def groups_and_sorts(rows):
    found = {}
    for row in rows:
        found.setdefault(row["key"], []).append(row)
    for values in found.values():
        values.sort(key=lambda row: row["value"])
    return found


def lookups(config, key):
    return config.get(key), config["x"].get("y", 3), WEIGHTS.get(key, 1.0)


def parses_lines(text):
    found = []
    for line in text.splitlines():
        match = PATTERN.search(line)
        if match is None:
            continue
        found.append((match.group("key"), int(match["value"])))
    return found


def dates(start, days):
    first = datetime.fromisoformat(start)
    return [(first + timedelta(days=i)).strftime("%Y-%m-%d") for i in range(days)]


def age(born: date, on: date) -> int:
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def orders(prices):
    made = [Order(price, count) for count, price in enumerate(prices, start=1)]
    for order in made:
        order.tags.append("new")
    return sum(order.discounted(0.1).total for order in made)


def reads_order(order: Order):
    return order.total + len(order.tags)


def accumulates(values):
    accumulator = Accumulator()
    for value in values:
        accumulator.add(value)
    accumulator.total *= 2
    return accumulator.total, len(accumulator)


def search(graph, start):
    seen, waiting = {start}, deque([start])
    order = []
    while waiting:
        node = waiting.popleft()
        order.append(node)
        for neighbour in graph.get(node, []):
            if neighbour not in seen:
                seen.add(neighbour)
                waiting.append(neighbour)
    return order


def shortest(graph, start):
    distances = {start: 0}
    heap = [(0, start)]
    while heap:
        distance, node = heapq.heappop(heap)
        for neighbour, weight in graph[node].items():
            if distance + weight < distances.get(neighbour, math.inf):
                distances[neighbour] = distance + weight
                heapq.heappush(heap, (distance + weight, neighbour))
    return distances


def merges(left, right):
    merged = {**left}
    merged.update(right)
    return merged


def flattens(rows):
    return list(itertools.chain.from_iterable(rows))


def sorts_copy(values):
    values = list(values)
    values.sort()
    values.append(0)
    return values


def removes_from_copy(params):
    params = dict(params)
    params.pop("verbose", None)
    return params


def json_text(rows):
    return json.dumps([json.loads(row) for row in rows], sort_keys=True)


def csv_text(rows):
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=["a", "b"])
    writer.writeheader()
    for row in rows:
        writer.writerow(row)
    return buffer.getvalue()


def hashes(data):
    digest = hashlib.sha256()
    for chunk in data:
        digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()


def dispatches(name, values):
    return HANDLERS[name](values)


def closure(values):
    total = 0

    def add(value):
        nonlocal total
        total += value

    for value in values:
        add(value)
    return total


def generator(n):
    def numbers():
        yield from range(n)

    return sum(next(numbers()) + value for value in numbers())


def checks(x):
    if x < 0:
        raise ValueError(f"{x} is negative")
    assert isinstance(x, int), "a number"
    return x


def tries(values):
    found = []
    for value in values:
        try:
            found.append(int(value))
        except (TypeError, ValueError) as error:
            logger.warning("left out %s: %s", value, error)
    return found


def matches(value):
    match value:
        case {"kind": "a", "value": number}:
            return number
        case [first, *_]:
            return first
        case _:
            return None


def threads(values):
    with ThreadPoolExecutor(max_workers=4) as pool:
        return list(pool.map(square, values))


def joblib_jobs(values):
    return Parallel(n_jobs=2)(delayed(square)(value) for value in values)


# Times that are only shown ------------------------------------------------------------------------


def prints_time(x):
    started = time.time()
    result = x * 2
    print("took", time.time() - started)
    return result


def logs_time(x):
    log = get_run_logger()
    started = datetime.now()
    result = [i * x for i in range(10)]
    elapsed = (datetime.now() - started).total_seconds()
    log.info(f"Finished in {elapsed:.2f} seconds")
    return result


def measures_time(x):
    started = time.time()
    result = sum(range(x))
    log_metric("seconds", time.time() - started)
    return result


@timed
def decorated(x):
    return x + 1


@timed_by_clock
def decorated_by_clock(x):
    return x + 1


def sleeps(x):
    time.sleep(0.001)
    warnings.warn("slow", stacklevel=2)
    return x


# Random numbers with a seed -----------------------------------------------------------------------


def seeded_numpy(n):
    np.random.seed(42)
    return np.random.rand(n)


def seeded_python(n):
    random.seed(7)
    return [random.random() for _ in range(n)]


def own_generator(n, seed=0):
    rng = np.random.default_rng(seed)
    order = np.arange(n)
    rng.shuffle(order)
    return rng.normal(size=n), order


def own_random(values):
    values = list(values)
    random.Random(3).shuffle(values)
    return values


def sets_seeds(seed):
    random.seed(seed)
    np.random.seed(seed)


def seeded_by_helper(n):
    sets_seeds(42)
    return np.random.normal(size=n) + random.gauss(0, 1)


def samples(df):
    return df.sample(n=10, random_state=3)


# pandas ---------------------------------------------------------------------------------------------


def cleans(df: pd.DataFrame) -> pd.DataFrame:
    df = df.copy()
    df["total"] = df["price"] * df["count"]
    df.loc[df["total"] > 100, "big"] = True
    df.columns = [name.lower() for name in df.columns]
    df.fillna(0, inplace=True)
    return df


def chain(df):
    return (
        df.assign(ratio=lambda d: d["a"] / d["b"])
        .query("ratio > 0")
        .groupby("key")
        .agg({"ratio": "mean"})
        .reset_index()
        .sort_values("ratio")
        .rename(columns={"ratio": "r"})
    )


def cleans_by_helper(df):
    frame = clean(df)
    frame["x"] = 1
    return frame


def selects(df):
    part = df[df["a"] > 0][COLUMNS].copy()
    part["c"] = part["a"] + part["b"]
    return part


def rows_of_frame(df):
    found = []
    for _, row in df.iterrows():
        found.append(row["a"] * 2)
    return found


def applies(df):
    return df["a"].apply(square), df.apply(lambda row: row["a"] + row["b"], axis=1)


def pivots(df):
    table = df.pivot_table(index="a", columns="b", values="c", aggfunc="sum").fillna(0)
    table.index.name = "key"
    return pd.melt(table.reset_index(), id_vars=["key"])


def joins(left, right):
    return left.merge(right, on="key", how="left").drop(columns=["x"])


def resamples(df):
    df = df.set_index(pd.to_datetime(df["when"]))
    return df["value"].resample("D").mean().rolling(7).mean().ffill()


def frame_of_dicts(rows):
    df = pd.DataFrame(rows)
    df["share"] = df["value"] / df["value"].sum()
    df.drop(columns=["value"], inplace=True)
    return df.to_dict(orient="records")


def frame_text(df):
    return df.to_csv(index=False), df.to_json(orient="records"), df.to_html(), df.to_markdown()


def frame_bytes(df):
    buffer = io.BytesIO()
    df.to_parquet(buffer)
    text = io.StringIO()
    df.to_csv(text, index=False)
    return buffer.getvalue(), text.getvalue()


def reads_csv(path):
    df = pd.read_csv(path, parse_dates=["when"])
    return df[df["value"] > 0]


def reads_text(path):
    with open(path, encoding="utf-8") as file:
        return [line.strip() for line in file if line]


def reads_path(folder: Path):
    return {path.name: len(path.read_text()) for path in sorted(folder.glob("*.txt"))}


def reads_json(path):
    return json.loads(Path(path).read_text())["rows"]


# numpy, polars, sklearn -----------------------------------------------------------------------------


def normalises(values):
    array = np.asarray(values, dtype=float)
    return (array - array.mean()) / array.std()


def fills(n):
    grid = np.zeros((n, n))
    for i in range(n):
        grid[i, :] = i
        grid[i, i] += 1
    return grid


def linear(a, b):
    solution, *_ = np.linalg.lstsq(a, b, rcond=None)
    return np.round(solution, 3).tolist()


def windows(array):
    array = array.copy()
    array[array < 0] = 0
    array *= 2
    return np.convolve(array, np.ones(3) / 3, mode="valid")


def polars_frame(df):
    return (
        df.lazy()
        .filter(pl.col("a") > 0)
        .with_columns((pl.col("a") * 2).alias("b"))
        .group_by("key")
        .agg(pl.col("b").sum())
        .sort("key")
        .collect()
    )


def polars_scanned(path):
    return pl.scan_csv(path).filter(pl.col("a") > 1).select("a").collect()


def fits(x, y):
    model = LinearRegression()
    model.fit(x, y)
    return model.coef_.tolist(), model.score(x, y)


def trains(df: pd.DataFrame):
    x, y = df.drop(columns=["y"]), df["y"]
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5, random_state=0))
    model.fit(x_train, y_train)
    return {"accuracy": float((model.predict(x_test) == y_test).mean())}


def validates(x, y):
    scaler = StandardScaler()
    return cross_val_score(LinearRegression(), scaler.fit_transform(x), y, cv=3).mean()


def predicts(model, x):
    return model.predict_proba(x)[:, 1]


def plots(values):
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot(values)
    axes.set_title("values")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    return buffer.getvalue()


def private_folder(df):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.csv")
        df.to_csv(path)
        target = Path(folder) / "y.txt"
        target.write_text("x")
        with open(path) as file:
            return file.read()


def saves(df, path):
    df.to_csv(path)


def private_folder_by_helper(df):
    with tempfile.TemporaryDirectory() as folder:
        saves(df, f"{folder}/x.csv")
        return Path(f"{folder}/x.csv").read_bytes()


# Tasks that call tasks -------------------------------------------------------------------------------


@task
def doubled(x):
    return x * 2


def calls_tasks(values):
    futures = doubled.map(values)
    first = doubled.submit(1)
    return [future.result() for future in futures] + [first.result(), doubled(2)]


def process_pool(values: Any) -> Any:
    import multiprocessing

    with multiprocessing.Pool(2) as pool:
        return pool.map(square, values)


def simulates(steps: int, rate: float = 0.1) -> list[float]:
    state = {"x": 1.0}
    history = []
    for _ in range(steps):
        state["x"] -= rate * state["x"]
        history.append(state["x"])
    return history


def retried(x, attempts=3):
    for attempt in range(attempts):
        try:
            return 1 / x
        except ZeroDivisionError:
            logger.info("attempt %d", attempt)
            x += 1
    return None
