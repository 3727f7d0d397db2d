"""Tasks that read what is named in them: cached until it changes."""

import csv
import glob
import json
import os
from os import environ, getenv
from pathlib import Path

import dask.dataframe as dd
import near
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pydantic_settings
from cases import Case
from prefect import task, variables
from prefect.variables import Variable

DATA = Path("data")


@task
def read(path):
    with open(path) as source:
        return list(csv.DictReader(source))


@task
def settings(mark):
    return json.loads((DATA / "settings.json").read_text())


@task
def helped_read(path):
    return near.read(path)


class Source:
    def __init__(self, folder):
        self.folder = folder

    def open(self, name):
        return Path(self.folder, name).open()

    @task
    def rows(self, name):
        with self.open(name) as source:
            return [line.split(",") for line in source]


@task
async def read_async(path):
    return Path(path).read_bytes().decode().upper()


@task
def pandas_csv(path):
    return pd.read_csv(path)


@task
def pandas_parquet(path):
    return pd.read_parquet(path)


@task
def polars_csv(path):
    return pl.read_csv(path)["value"].sum()


@task
def array(path):
    return np.load(path).sum()


@task
def array_text(path):
    return np.loadtxt(path, delimiter=",", skiprows=1, usecols=1)


def path(name):
    return lambda mark: (f"data/{name}",)


Case("file read", "direct", read, args=path("rows.csv"), fresh=True)
Case("file read", "direct", settings, fresh=True)
Case("file read", "helper", helped_read, args=path("rows.csv"), fresh=True)
Case("file read", "method", Source("data").rows, args=lambda mark: ("rows.csv",), fresh=True)
Case("file read", "async", read_async, args=path("rows.csv"), fresh=True)
Case("file read", "third party", pandas_csv, args=path("rows.csv"), fresh=True)
Case("file read", "third party", pandas_parquet, args=path("rows.parquet"), fresh=True)
Case("file read", "third party", polars_csv, args=path("rows.csv"), fresh=True)
Case("file read", "third party", array, args=path("rows.npy"), fresh=True)
Case("file read", "third party", array_text, args=path("rows.csv"), fresh=True)


@task
def listed(folder):
    return len(os.listdir(folder))


@task
def globbed(pattern):
    return sum(os.path.getsize(name) for name in sorted(glob.glob(pattern)))


@task
def helped_names(folder):
    return near.names_in(folder)


class Folder:
    def __init__(self, path):
        self.path = Path(path)

    @task
    def lines(self, pattern):
        return sum(len(file.read_text().splitlines()) for file in self.path.glob(pattern))


@task
async def walked(folder):
    return sorted(name for _, _, names in os.walk(folder) for name in names)


@task
def read_all(pattern):
    return pd.concat([pd.read_csv(name) for name in sorted(glob.glob(pattern))])


Case("folder listed", "direct", listed, args=path("parts"), fresh=True)
Case("folder listed", "direct", globbed, args=path("parts/*.csv"), fresh=True)
Case("folder listed", "helper", helped_names, args=path("parts"), fresh=True)
Case("folder listed", "method", Folder("data").lines, args=lambda mark: ("parts/*.csv",), fresh=True)
Case("folder listed", "async", walked, args=path("parts"), fresh=True)
Case("folder listed", "third party", read_all, args=path("parts/*.csv"), fresh=True)


@task
def subscript(mark):
    return f"{mark} {os.environ['CORPUS_REGION']}"


@task
def get(mark):
    return getenv("CORPUS_REGION", "none")


@task
def helped_region(mark):
    return near.region()


class Config:
    def __init__(self):
        self.prefix = "region"

    def region(self):
        return environ.get("CORPUS_REGION")

    @task
    def name(self, mark):
        return f"{self.prefix}-{self.region()}"


@task
async def get_async(mark):
    return os.getenv("CORPUS_REGION")


class Settings(pydantic_settings.BaseSettings):
    corpus_region: str = "none"


@task
def from_settings(mark):
    return Settings().corpus_region


Case("environment by name", "direct", subscript, fresh=True)
Case("environment by name", "direct", get, fresh=True)
Case("environment by name", "helper", helped_region, fresh=True)
Case("environment by name", "method", Config().name, fresh=True)
Case("environment by name", "async", get_async, fresh=True)
Case("environment by name", "third party", from_settings, fresh=True)


@task
def variable(mark):
    return Variable.get("corpus_threshold")


@task
def helped_variable(mark):
    return near.threshold()


class Limits:
    @task
    def upper(self, mark):
        return int(Variable.get("corpus_threshold", default="3")) * 2


@task
async def variable_async(mark):
    return await Variable.aget("corpus_threshold")


@task
def through_module(mark):
    return variables.Variable.get("corpus_threshold")


Case("variable by name", "direct", variable, fresh=True)
Case("variable by name", "helper", helped_variable, fresh=True)
Case("variable by name", "method", Limits().upper, fresh=True)
Case("variable by name", "async", variable_async, fresh=True)
Case("variable by name", "third party", through_module, fresh=True)


@task
def collect(frame):
    return frame.collect()["value"].to_list()


@task
def helped_scan(path):
    return near.scan(path)


class Lake:
    def __init__(self, path):
        self.path = path

    @task
    def scan(self, name):
        return pl.scan_parquet(f"{self.path}/{name}")


@task
async def scan_async(path):
    return pl.scan_csv(path).select(pl.col("value") * 2)


@task
def dask_sum(frame):
    return int(frame["value"].sum().compute())


@task
def dataset(path):
    return ds.dataset(path, format="csv")


def lazy(mark):
    return (pl.scan_csv("data/rows.csv"),)


Case("lazy data", "direct", collect, args=lazy, fresh=True)
Case("lazy data", "helper", helped_scan, args=path("rows.csv"), fresh=True)
Case("lazy data", "method", Lake("data").scan, args=lambda mark: ("rows.parquet",), fresh=True)
Case("lazy data", "async", scan_async, args=path("rows.csv"), fresh=True)
Case("lazy data", "third party", dask_sum, args=lambda mark: (dd.read_csv("data/rows.csv"),), fresh=True)
Case("lazy data", "third party", dataset, args=path("rows.csv"), fresh=True)
