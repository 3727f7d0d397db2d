"""Run every job once, in one flow, and write down what came of it."""

import asyncio
import hashlib
import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
from chores import frames, numbers, texts  # noqa: F401 - each adds its jobs
from jobs import JOBS
from prefect import flow


def shown(value):
    """A value as text, whole."""
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return f"{type(value).__name__} {value.to_json(orient='split')} {value.index!r}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.tolist()}"
    if isinstance(value, pl.DataFrame):
        return f"{value.schema} {value.rows()}"
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if hasattr(value, "coef_"):
        return f"{type(value).__name__} {value.coef_.tolist()}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__} [{', '.join(map(shown, value))}]"
    return f"{type(value).__name__} {value!r}"


def told(job, state, result):
    name = f"{job.task.fn.__module__.removeprefix('chores.')}.{job.task.fn.__qualname__}"
    return {"task": name, "state": state.name, "result": shown(result)}


@flow(name="chores")
def chores():
    found = []
    for job in JOBS:
        if not inspect.iscoroutinefunction(job.task.fn):
            state = job.task(*job.args(), return_state=True)
            found.append(told(job, state, state.result(raise_on_failure=False)))
    return found


@flow(name="chores-async")
async def chores_async():
    found = []
    for job in JOBS:
        if inspect.iscoroutinefunction(job.task.fn):
            state = await job.task(*job.args(), return_state=True)
            found.append(told(job, state, await state.aresult(raise_on_failure=False)))
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(chores() + asyncio.run(chores_async())))
