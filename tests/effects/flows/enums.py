"""Modes that are an enum."""

from enum import Enum
from typing import Literal

from prefect import flow, task


class Mode(str, Enum):
    FULL = "full"
    DELTA = "delta"


@task
def rows(mode: Mode) -> list[int]:
    match mode:
        case Mode.FULL:
            return list(range(10))
        case Mode.DELTA:
            return [9]


@task
def shown(rows: list[int], style: Literal["short", "long"]) -> str:
    return f"{len(rows)} rows" if style == "short" else ",".join(map(str, rows))


@flow
def moded(mode: Mode, style: Literal["short", "long"] = "short"):
    return shown(rows(mode), style)


def main():
    return [moded("full"), moded(Mode.DELTA, "long")]
