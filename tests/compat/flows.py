"""A flow whose results take every form in which a result is stored; its records are kept from release to release."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

import expops_prefect
from expops_prefect import log_chart, log_metric

PNG = b"\x89PNG\r\n\x1a\n a small picture"
CONFIG = "prefect: {project_id: shop, cache: {default: all, spill_bytes: 1024}}\n"
RAN: list[str] = []
"""What was executed."""


class Doubler(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """A model of some size."""

    def __init__(self, weights: Any = None) -> None:
        self.weights = weights


class Holder:
    """An object that holds a large buffer."""

    def __init__(self, values: Any) -> None:
        self.values = values


def task(name: str, **options: Any) -> Any:
    """A cached task that counts its executions."""

    def decorate(function: Any) -> Any:
        return expops_prefect.task(name=name, ignore=["ran"], **options)(function)

    return decorate


@task("plain")
def plain(n: int, ran: list[str]) -> Any:
    ran.append("plain")
    log_metric("n", n)
    log_chart("picture", PNG)
    return {"n": n, "text": "ünï", "nested": [(1, 2.5), {3}], "none": None}


@task("array")
def array(n: int, ran: list[str]) -> Any:
    ran.append("array")
    return {"array": np.arange(n * 100, dtype=float), "again": [np.ones((n * 20, 10), dtype="<i2")]}


@task("frame")
def frame(n: int, ran: list[str]) -> Any:
    ran.append("frame")
    return pd.DataFrame({"x": np.arange(n * 100), "text": ["é"] * (n * 100)})


@task("model")
def model(n: int, ran: list[str]) -> Any:
    ran.append("model")
    return Doubler(weights=list(range(n * 200)))


@task("data")
def data(n: int, ran: list[str]) -> Any:
    ran.append("data")
    return {"bytes": b"b" * n * 500, "bytearray": bytearray(n * 500), "holder": Holder(np.arange(n * 100.0))}


@task("raw", result_serializer="json")
def raw(n: int, ran: list[str]) -> Any:
    ran.append("raw")
    return {"n": n}


@task("marked")
def marked(n: int, ran: list[str]) -> Any:
    ran.append("marked")
    return {"__expops_payload_ref__": n, "array": np.arange(n * 100)}


@task("step")
def step(n: int, ran: list[str]) -> Any:
    ran.append("step")
    return n + 1


@task("process")
def process(n: int, ran: list[str]) -> Any:
    ran.append("process")
    return step(n, ran) * 10


@expops_prefect.flow(name="compat", persist_result=False)
def main() -> dict[str, Any]:
    made = {each.name: each(5, RAN) for each in (plain, array, frame, model, data, raw, marked, process)}
    made["step"] = step(5, RAN)
    return made


EXECUTED = ["plain", "array", "frame", "model", "data", "raw", "marked", "process", "step"]
"""What a first run executes."""


def differences(found: dict[str, Any]) -> list[str]:
    """Which results are not what the tasks return."""
    expected: dict[str, Any] = {each.name: each.fn(5, []) for each in (plain, array, frame, raw, marked, model, data)}
    same = {
        "plain": found["plain"] == expected["plain"],
        "array": type(found["array"]["array"]) is np.ndarray
        and bool((found["array"]["array"] == expected["array"]["array"]).all())
        and found["array"]["again"][0].dtype == np.dtype("<i2")
        and found["array"]["again"][0].shape == (100, 10),
        "frame": bool(found["frame"].equals(expected["frame"])) and list(found["frame"]) == ["x", "text"],
        "model": type(found["model"]) is Doubler and found["model"].weights == expected["model"].weights,
        "data": found["data"]["bytes"] == expected["data"]["bytes"]
        and found["data"]["bytearray"] == expected["data"]["bytearray"]
        and bool((found["data"]["holder"].values == expected["data"]["holder"].values).all()),
        "raw": found["raw"] == expected["raw"],
        "marked": found["marked"]["__expops_payload_ref__"] == 5 and len(found["marked"]["array"]) == 500,
        "process": found["process"] == 60,
        "step": found["step"] == 6,
    }
    return [name for name, equal in same.items() if not equal]
