"""Some rows are drawn, others are drawn alike each time."""

import random
from pathlib import Path

import numpy as np
from prefect import flow, task


@task
def draw(rows: list[int]) -> list[int]:
    return random.sample(rows, 8)


@task
def draw_alike(rows: list[int]) -> list[int]:
    return np.random.default_rng(3).choice(rows, 3).tolist()


@task
def note(drawn: list[int]) -> int:
    path = Path("out/drawn-ids.bin")
    lines = {*(path.read_text().splitlines() if path.exists() else []), ",".join(map(str, drawn))}
    path.write_text("\n".join(sorted(lines)))
    return len(lines)


@flow
def sampled():
    rows = list(range(1000))
    return [note(draw(rows)), draw_alike(rows)]


def main():
    return sampled()
