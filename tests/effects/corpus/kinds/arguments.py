"""Tasks that change their arguments in place."""

import io
from dataclasses import dataclass, field

import near
import networkx as nx
import numpy as np
import pandas as pd
import polars as pl
import sortedcontainers
from cases import Case
from prefect import task
from sklearn.linear_model import LinearRegression, SGDRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


@task
def add_column(frame):
    frame["double"] = frame["value"] * 2
    return float(frame["double"].sum())


@task
def clean(frame):
    frame.columns = [name.upper() for name in frame.columns]
    return len(frame)


@task
def helped_scale(frame):
    return near.scale(frame)


class Cleaner:
    def __init__(self, column):
        self.column = column

    def fill(self, frame):
        frame.loc[frame[self.column] > 2, self.column] = 0

    @task
    def clean(self, frame):
        self.fill(frame)
        return "cleaned"


@task
async def add_async(frame):
    frame["b"] = 1
    return int(frame["b"].sum())


@task
def drop(frame):
    frame.drop(columns="other", inplace=True)
    return len(frame)


@task
def insert(frame):
    frame.insert(0, "first", 1)
    return len(frame)


@task
def insert_polars(frame):
    frame.insert_column(0, pl.Series("first", [1, 2, 3]))
    return frame.height


@task
def halve(values):
    values /= 2
    return float(values.mean())


def frame(mark):
    return (pd.DataFrame({"value": [1.0, 2.0, 3.0], "other": [mark] * 3}),)


def shown(frame):
    return frame.to_csv()


Case("state: frame", "direct", add_column, args=frame, after=shown)
Case("state: frame", "direct", clean, args=frame, after=shown)
Case("state: frame", "direct", halve, args=lambda mark: (np.arange(4.0),), after=lambda values: values.tolist())
Case("state: frame", "helper", helped_scale, args=frame, after=shown)
Case("state: frame", "method", Cleaner("value").clean, args=frame, after=shown)
Case("state: frame", "async", add_async, args=frame, after=shown)
Case("state: frame", "third party", drop, args=frame, after=shown)
Case("state: frame", "third party", insert, args=frame, after=shown)
Case(
    "state: frame",
    "third party",
    insert_polars,
    args=lambda mark: (pl.DataFrame({"value": [1, 2, 3]}),),
    after=lambda frame: frame.columns,
)


@task
def append(rows):
    rows.append(sum(rows))
    return len(rows)


@task
def sort(rows):
    rows.sort(reverse=True)
    return rows[0]


@task
def fill_defaults(record):
    record.setdefault("tags", []).append("new")
    return sorted(record)


@task
def helped_extend(rows):
    return near.extend(rows)


@dataclass
class Basket:
    items: list = field(default_factory=list)

    @task
    def add(self, item):
        self.items.append(item)
        return len(item)


@task
def rename(basket, name):
    basket.name = name
    return name.title()


@task
async def append_async(rows):
    rows += [4]
    return rows[-1]


@task
def add_sorted(rows):
    rows.add(2)
    return len(rows)


@task
def connect(graph):
    graph.add_edge("a", "c")
    return nx.shortest_path_length(graph, "a", "c")


BASKET = Basket()


def rows(mark):
    return ([3, 1, 2],)


Case("state: list", "direct", append, args=rows, after=list)
Case("state: list", "direct", sort, args=rows, after=list)
Case("state: list", "direct", fill_defaults, args=lambda mark: ({"mark": mark},), after=dict)
Case("state: list", "helper", helped_extend, args=rows, after=list)
Case("state: list", "method", BASKET.add, after=lambda item: item in BASKET.items)
Case("state: list", "method", rename, args=lambda mark: (Basket([1]), mark), after=lambda basket, _: vars(basket))
Case("state: list", "async", append_async, args=rows, after=list)
Case("state: list", "third party", add_sorted, args=lambda mark: (sortedcontainers.SortedList([1, 3]),), after=list)
Case(
    "state: list",
    "third party",
    connect,
    args=lambda mark: (nx.Graph([("a", "b"), ("b", "c")]),),
    after=lambda graph: sorted(graph.edges),
)


@task
def fit(model, values, target):
    model.fit(values, target)
    return round(model.score(values, target), 6)


@task
def helped_fit(model, values, target):
    return near.train(model, values, target)


class Trainer:
    def __init__(self, model):
        self.model = model

    @task
    def train(self, values, target):
        self.model.fit(values, target)
        return len(values)


TRAINER = Trainer(LinearRegression())


@task
async def fit_async(model, values, target):
    model.fit(values, target)
    return model.coef_.shape


@task
def fit_pipeline(pipeline, values, target):
    return pipeline.fit(values, target).predict(values[:2]).round(6)


@task
def fit_part(model, values, target):
    return model.partial_fit(values, target).t_


def data():
    values = np.arange(20.0).reshape(10, 2) % 7
    return values, values.sum(axis=1)


def fitted(model, *_):
    return hasattr(model, "coef_")


Case("state: model", "direct", fit, args=lambda mark: (LinearRegression(), *data()), after=fitted)
Case("state: model", "helper", helped_fit, args=lambda mark: (LinearRegression(), *data()), after=fitted)
Case("state: model", "method", TRAINER.train, args=lambda mark: data(), after=lambda *_: fitted(TRAINER.model))
Case("state: model", "async", fit_async, args=lambda mark: (LinearRegression(), *data()), after=fitted)
Case(
    "state: model",
    "third party",
    fit_pipeline,
    args=lambda mark: (make_pipeline(StandardScaler(), LinearRegression()), *data()),
    after=lambda pipeline, *_: fitted(pipeline[-1]),
)
Case("state: model", "third party", fit_part, args=lambda mark: (SGDRegressor(random_state=1), *data()), after=fitted)


@task
def draw(generator):
    return generator.normal(size=2).round(9).tolist()


@task
def helped_advance(generator):
    return round(near.advance(generator), 9)


class Sampler:
    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    @task
    def sample(self, size):
        return self.generator.integers(1000, size=size).tolist()


SAMPLER = Sampler(7)


@task
async def draw_async(generator):
    return generator.random()


@task
def shuffle_frame(frame, generator):
    return frame.sample(3, random_state=generator).index.tolist()


@task
def take(stream):
    return stream.readline()


def generator(mark):
    return (np.random.default_rng(5),)


def drawn(generator):
    return generator.random()


Case("state: generator", "direct", draw, args=generator, after=drawn)
Case("state: generator", "direct", take, args=lambda mark: (io.StringIO("a\nb\n"),), after=lambda s: s.tell())
Case("state: generator", "helper", helped_advance, args=generator, after=drawn)
Case("state: generator", "method", SAMPLER.sample, args=lambda mark: (3,), after=lambda _: drawn(SAMPLER.generator))
Case("state: generator", "async", draw_async, args=generator, after=drawn)
Case(
    "state: generator",
    "third party",
    shuffle_frame,
    args=lambda mark: (*frame(mark), np.random.RandomState(3)),
    after=lambda _, state: state.rand(),
)
