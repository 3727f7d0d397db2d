"""Checks that raise, and what goes on all the same."""

import pandas as pd
from prefect import flow, task


class QualityError(Exception):
    """Data are not as they should be."""


@task
def frame(path: str) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def no_nulls(frame: pd.DataFrame) -> bool:
    if frame.isna().any().any():
        raise QualityError("nulls")
    return True


@task
def in_range(frame: pd.DataFrame, column: str, least: int, most: int) -> bool:
    bad = frame[~frame[column].between(least, most)]
    if len(bad):
        with open("out/quality.log", "a") as log:
            log.write(f"{len(bad)} bad rows\n")
        raise QualityError(f"{len(bad)} rows of {column}")
    return True


@task
def verdict(failed: list[bool]) -> str:
    return "bad" if any(failed) else "good"


@flow
def checked():
    found = frame("data/rows.csv")
    checks = [no_nulls.submit(found), in_range.submit(found, "value", 0, 3)]
    return verdict([isinstance(check.result(raise_on_failure=False), QualityError) for check in checks])


def main():
    return checked()
