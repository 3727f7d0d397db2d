"""Annotations that are text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from prefect import flow, task

if TYPE_CHECKING:
    from collections.abc import Sequence


@task
def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def column(frame: pd.DataFrame, name: str) -> Sequence[Any]:
    return frame[name].tolist()


@flow
def columns(path: Path, names: list[str] | None = None) -> dict[str, Any]:
    frame = read(path)
    return {name: column(frame, name) for name in names or ["value"]}


def main():
    return columns("data/rows.csv", ["name", "value"])
