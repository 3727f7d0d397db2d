"""Rows of objects of other libraries: models, graphs, figures, clients, documents."""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Callable
from typing import Any

import boto3
import dask
import dateutil.rrule  # type: ignore[import-untyped]
import duckdb
import faker
import httpx
import jinja2
import loguru
import matplotlib as mpl
import networkx
import numpy as np
import pendulum
import PIL.Image
import pint
import plotly.graph_objects
import redis
import requests
import sklearn.datasets
import sklearn.ensemble
import sklearn.linear_model
import sklearn.neighbors
import sklearn.preprocessing
import spacy
import sqlalchemy
import sqlalchemy.orm
import statsmodels.api
import wrapt
import xarray
import xgboost
from beartype import beartype
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from tests.values.rows_python import used

mpl.use("Agg")

X = np.arange(40.0).reshape(20, 2) % 7
Y = np.arange(20) % 2
WORDS = ["a cat sat here", "the dog ran away", "a cat and a dog"]


class Base(sqlalchemy.orm.DeclarativeBase):
    pass


class Parent(Base):
    __tablename__ = "parent"
    id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(primary_key=True)
    name: sqlalchemy.orm.Mapped[str]
    children: sqlalchemy.orm.Mapped[list[Child]] = sqlalchemy.orm.relationship(back_populates="parent")


class Child(Base):
    __tablename__ = "child"
    id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(primary_key=True)
    parent_id: sqlalchemy.orm.Mapped[int] = sqlalchemy.orm.mapped_column(sqlalchemy.ForeignKey("parent.id"))
    parent: sqlalchemy.orm.Mapped[Parent] = sqlalchemy.orm.relationship(back_populates="children")


def figure(height: float) -> Any:
    from matplotlib.figure import Figure

    made = Figure()
    made.subplots().plot([0, height])
    return made


def graph(weight: int) -> Any:
    made = networkx.Graph()
    made.add_edge("a", "b", weight=weight)
    return made


def image(orientation: int | None = None, **info: Any) -> Any:
    made = PIL.Image.new("L", (2, 2))
    made.info.update(info)
    if orientation is not None:
        made.getexif()[0x0112] = orientation
    return made


def stacked() -> Any:
    models = [("a", sklearn.linear_model.LogisticRegression()), ("b", sklearn.neighbors.KNeighborsClassifier())]
    return sklearn.ensemble.StackingClassifier(models, cv=2)


def voting() -> Any:
    models = [("a", sklearn.linear_model.LogisticRegression()), ("b", sklearn.neighbors.KNeighborsClassifier())]
    return sklearn.ensemble.VotingClassifier(models)


def fitted(model: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, Y)


def vocabulary(model: Any) -> Any:
    return model.fit(WORDS)


def booster(rounds: int) -> Any:
    return xgboost.XGBClassifier(n_estimators=rounds, max_depth=2, n_jobs=1).fit(X, Y)


def daily() -> Any:
    return dateutil.rrule.rrule(dateutil.rrule.DAILY, count=3, dtstart=dt.datetime(2020, 1, 1))


def document(text: str) -> Any:
    return spacy.blank("en")(text)


@beartype
def doubled(value: int) -> int:
    return value * 2


@dask.delayed
def halved(value: int) -> float:
    return value / 2


DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "pendulum.duration": lambda: [pendulum.duration(days=31), pendulum.duration(days=1, months=1)],
    "pendulum.interval": lambda: [
        pendulum.interval(pendulum.datetime(2020, 1, 1), pendulum.datetime(2020, 1, day)) for day in (2, 3)
    ],
    "interval of another month": lambda: [
        pendulum.interval(pendulum.datetime(2020, month, 1), pendulum.datetime(2020, month, 15)) for month in (1, 2)
    ],
    "absolute interval": lambda: [
        pendulum.interval(pendulum.datetime(2020, 1, 2), pendulum.datetime(2020, 1, 1), absolute=flag)
        for flag in (False, True)
    ],
    "zone of pendulum": lambda: [pendulum.datetime(2020, 1, 1, tz=zone) for zone in ("UTC", "Europe/Berlin")],
    "orientation of an image": lambda: [image(), image(1), image(6)],
    "info of an image": lambda: [image(), image(dpi=1), image(dpi=2)],
    "edges": lambda: [graph(1), graph(2)],
    "attributes of a graph": lambda: [graph(1), used(graph(1), lambda v: v.graph.update(name="a"))],
    "vectorizer": lambda: [CountVectorizer(), CountVectorizer(lowercase=False), vocabulary(CountVectorizer())],
    "plotly": lambda: [plotly.graph_objects.Figure(plotly.graph_objects.Bar(y=[n])) for n in (1, 2)],
    "xgboost": lambda: [booster(1), booster(2)],
    "statsmodels": lambda: [statsmodels.api.OLS(Y, X[:, :n]).fit() for n in (1, 2)],
    "xarray": lambda: [
        xarray.DataArray([1, 2], dims="x"),
        xarray.DataArray([1, 3], dims="x"),
        xarray.DataArray([1, 2], dims="y"),
        xarray.DataArray([1, 2], dims="x", name="a"),
        xarray.DataArray([1, 2], dims="x", attrs={"a": 1}),
        xarray.DataArray([1, 2], dims="x", coords={"x": [0, 1]}),
    ],
    "xarray dataset": lambda: [xarray.Dataset({"a": ("x", [n])}) for n in (1, 2)],
    "quantity": lambda: [pint.UnitRegistry().Quantity(1, unit) for unit in ("m", "s")],
    "table of SQLAlchemy": lambda: [
        sqlalchemy.Table("t", sqlalchemy.MetaData(), sqlalchemy.Column(name, sqlalchemy.Integer)) for name in "ab"
    ],
}

ALIKE: dict[str, Callable[[], list[Any]]] = {
    "bunch": lambda: [sklearn.datasets.load_iris(), sklearn.datasets.load_iris()],
    "vectorizer after use": lambda: [
        vocabulary(CountVectorizer()),
        used(vocabulary(CountVectorizer()), lambda v: v.transform(WORDS)),
    ],
    "vectorizer with stop words": lambda: [
        vocabulary(TfidfVectorizer(stop_words=["a"])),
        used(vocabulary(TfidfVectorizer(stop_words=["a"])), lambda v: v.transform(WORDS)),
    ],
    "voting after use": lambda: [fitted(voting()), used(fitted(voting()), lambda v: v.predict(X))],
    "stacking after use": lambda: [fitted(stacked()), used(fitted(stacked()), lambda v: v.predict(X))],
    "neighbours after use": lambda: [
        fitted(sklearn.neighbors.KNeighborsClassifier()),
        used(fitted(sklearn.neighbors.KNeighborsClassifier()), lambda v: v.predict(X)),
    ],
    "tree of neighbours after use": lambda: [
        fitted(sklearn.neighbors.KNeighborsClassifier(algorithm="kd_tree")),
        used(fitted(sklearn.neighbors.KNeighborsClassifier(algorithm="kd_tree")), lambda v: v.predict(X)),
    ],
    "forest after use": lambda: [
        fitted(sklearn.ensemble.RandomForestClassifier(3, random_state=0)),
        used(fitted(sklearn.ensemble.RandomForestClassifier(3, random_state=0)), lambda v: v.predict(X)),
    ],
    "graph after use": lambda: [
        graph(1),
        used(graph(1), lambda v: v.adj, lambda v: v.edges, lambda v: v.nodes, lambda v: v.degree, networkx.density),
    ],
    "image after use": lambda: [
        image(6),
        used(image(6), lambda v: v.getexif(), lambda v: v.tobytes(), lambda v: v.load()),
    ],
    "xgboost after use": lambda: [booster(1), used(booster(1), lambda v: v.predict(X))],
    "xarray after use": lambda: [
        xarray.DataArray([1, 2], dims="x", coords={"x": [0, 1]}),
        used(xarray.DataArray([1, 2], dims="x", coords={"x": [0, 1]}), lambda v: v.sel(x=1), lambda v: v.mean(), repr),
    ],
    "plotly after use": lambda: [
        plotly.graph_objects.Figure(plotly.graph_objects.Bar(y=[1])),
        used(
            plotly.graph_objects.Figure(plotly.graph_objects.Bar(y=[1])), lambda v: v.to_dict(), lambda v: v.to_json()
        ),
    ],
    "request": lambda: [requests.Request("GET", "http://a/").prepare() for _ in range(2)],
    "rule": lambda: [daily(), used(daily(), lambda v: v.count())],
    "results of statsmodels": lambda: [
        statsmodels.api.GLM(Y, X).fit(),
        used(statsmodels.api.GLM(Y, X).fit(), lambda v: v.summary(), lambda v: v.pvalues),
    ],
    "quantity": lambda: [pint.get_application_registry().Quantity(1, "m")] * 2,
    "pendulum after use": lambda: [
        pendulum.datetime(2020, 1, 1),
        used(pendulum.datetime(2020, 1, 1), str, lambda v: v.add(days=1), hash),
    ],
    "statement of a mapped class": lambda: [sqlalchemy.select(Parent.id), sqlalchemy.select(Parent.id)],
    "httpx headers": lambda: [httpx.Headers({"a": "b"}), httpx.Headers({"a": "b"})],
    "functions": lambda: [doubled],
}

REFUSED: dict[str, Callable[[], Any]] = {
    "figure": lambda: figure(1),
    "spacy document": lambda: document("a cat"),
    "mapped object": lambda: Parent(id=1, name="a"),
    "proxy": lambda: wrapt.ObjectProxy([1]),
    "DuckDB connection": duckdb.connect,
    "DuckDB relation": lambda: duckdb.sql("select 1"),
    "SQLAlchemy engine": lambda: sqlalchemy.create_engine("sqlite://"),
    "redis client": redis.Redis,
    "boto3 client": lambda: boto3.client("s3", region_name="eu-west-1"),
    "httpx client": httpx.Client,
}

CONSTANTS: dict[str, Callable[[], list[Any]]] = {
    "loguru": lambda: [loguru.logger, loguru.logger.bind(a=1)],
    "redis": lambda: [redis.Redis(), redis.Redis()],
    "boto3 client": lambda: [boto3.client("s3", region_name="eu-west-1") for _ in range(2)],
    "boto3 session": lambda: [boto3.Session(region_name="eu-west-1") for _ in range(2)],
    "boto3 resource": lambda: [boto3.resource("s3", region_name="eu-west-1") for _ in range(2)],
    "httpx": lambda: [httpx.Client(), httpx.Client()],
    "httpx async": lambda: [httpx.AsyncClient(), httpx.AsyncClient()],
    "requests": lambda: [requests.Session(), requests.Session()],
    "engine": lambda: [sqlalchemy.create_engine("sqlite://") for _ in range(2)],
    "session factory": lambda: [sqlalchemy.orm.sessionmaker(sqlalchemy.create_engine("sqlite://")) for _ in range(2)],
    "metadata": lambda: [Base.metadata],
    "mapped class": lambda: [Parent],
    "pint": lambda: [pint.UnitRegistry(), used(pint.UnitRegistry(), lambda v: v("3 m").to("km"))],
    "faker": lambda: [faker.Faker(), used(faker.Faker(), lambda v: v.name())],
    "jinja": lambda: [
        jinja2.Environment(autoescape=True),
        used(jinja2.Environment(autoescape=True), lambda v: v.from_string("a").render()),
    ],
    "template": lambda: [jinja2.Environment(autoescape=True).from_string("a")],
    "spacy": lambda: [spacy.blank("en"), used(spacy.blank("en"), lambda v: v("a cat"))],
    "distribution": lambda: [__import__("scipy.stats").stats.norm],
    "duckdb": lambda: [duckdb.connect(), duckdb.connect()],
    "beartype": lambda: [doubled],
    "delayed": lambda: [halved],
    "xgboost": lambda: [xgboost.XGBClassifier()],
}
