"""A file is downloaded unless it is there."""

import os
from pathlib import Path
from urllib.request import urlretrieve

from prefect import flow, task


@task
def download(name: str) -> Path:
    target = Path("out") / name
    if not target.exists():
        urlretrieve(f"{os.environ['SHOP_API']}/files/{name}", target)
    return target


@task
def size(path: Path) -> int:
    return path.stat().st_size


@task
def forget(path: Path, really: bool) -> bool:
    if really:
        path.unlink()
    return really


@flow
def downloaded():
    kept, again = download("kept.json"), download("again.json")
    found = [size(kept), size(again)]
    forget(again, True)
    return found


def main():
    return downloaded()
