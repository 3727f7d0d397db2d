"""Run every case once, in one flow, and write down what came of it."""

import asyncio
import importlib
import inspect
import json
import sys
from pathlib import Path

import dask.dataframe as dd
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
from cases import CASES
from prefect import flow

for file in sorted(Path("kinds").glob("[a-z]*.py")):
    importlib.import_module(f"kinds.{file.stem}")


def shown(value):
    """A value as text; of a plan over files, what it gives now."""
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    if isinstance(value, ds.Dataset):
        value = value.to_table().to_pydict()
    if isinstance(value, dd.DataFrame):
        value = value.compute()
    if isinstance(value, pd.DataFrame):
        value = value.to_csv()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, pl.DataFrame):
        value = value.to_dicts()
    return repr(value)


def told(case, args, state, result):
    after = case.after(*args) if case.after else None
    about = {name: getattr(case, name) for name in ("kind", "shape", "mark", "fresh", "world")}
    name = f"{case.task.fn.__module__.removeprefix('kinds.')}.{case.task.fn.__qualname__}"
    return {**about, "task": name, "state": state.name, "result": shown(result), "after": shown(after)}


@flow(name="corpus")
def corpus():
    found = []
    for case in CASES:
        if inspect.iscoroutinefunction(case.task.fn):
            continue
        args = case.args(case.mark)
        state = case.task(*args, return_state=True)
        found.append(told(case, args, state, state.result(raise_on_failure=False)))
    return found


@flow(name="corpus-async")
async def corpus_async():
    found = []
    for case in CASES:
        if not inspect.iscoroutinefunction(case.task.fn):
            continue
        args = case.args(case.mark)
        state = await case.task(*args, return_state=True)
        found.append(told(case, args, state, await state.aresult(raise_on_failure=False)))
    return found


if __name__ == "__main__":
    found = corpus() + asyncio.run(corpus_async())
    Path(sys.argv[1]).write_text(json.dumps(found))
