"""Old files are made and removed."""

import glob
import os
import shutil
from pathlib import Path

from prefect import flow, task


@task
def stage(number: int) -> str:
    folder = Path("out/stage")
    folder.mkdir(exist_ok=True)
    (folder / f"part-{number}.tmp").write_text(str(number))
    return str(folder)


@task
def merge(folder: str) -> str:
    parts = sorted(glob.glob(f"{folder}/*.tmp"))
    Path("out/merged.txt").write_text("".join(Path(part).read_text() for part in parts))
    return f"{len(parts)} parts"


@task
def clean(folder: str) -> int:
    count = len(os.listdir(folder))
    shutil.rmtree(folder)
    return count


@flow
def staged():
    for number in range(3):
        folder = stage(number)
    return [merge(folder), clean(folder), os.path.exists(folder)]


def main():
    return staged()
