"""Files of a folder, each read by a task; their reports joined."""

from pathlib import Path

import pandas as pd
from prefect import flow, task


@task
def list_files(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("region-*.csv"))


@task
def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path).assign(source=path.stem)


@task
def combine(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat(frames, ignore_index=True)


@task
def summary(frame: pd.DataFrame) -> dict:
    return frame.groupby("source")["value"].sum().astype(int).to_dict()


@flow
def fan_in(folder: str = "data"):
    return summary(combine(read.map(list_files(folder)).result()))


def main():
    return fan_in()
