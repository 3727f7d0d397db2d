"""Tasks that write, move or remove files."""

import asyncio
import csv
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import joblib
import matplotlib as mpl
import near
import numpy as np
import pandas as pd
import polars as pl
from cases import Case
from prefect import task

mpl.use("Agg")
import matplotlib.pyplot as plt

OUT = Path("out")


@task
def write(mark):
    with open(f"out/{mark}", "w") as target:
        json.dump({"mark": mark}, target)
    return mark


@task
def write_rows(rows, path):
    with open(path, "w", newline="") as target:
        csv.writer(target).writerows(rows)
    return path


@task
def remove(mark):
    os.remove(f"out/old-{mark}")
    return True


@task
def move(mark):
    return str(shutil.move(f"out/old-{mark}", f"out/{mark}"))


@task
def make_folder(mark):
    os.makedirs(OUT / mark)
    return mark


@task
def helped(mark):
    return near.write(mark, "rows")


@task
def helped_remove(mark):
    return near.remove(mark)


class Report:
    def __init__(self, title):
        self.title = title

    def save(self, path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("report.txt", self.title)
        return path.name

    @task
    def publish(self, mark):
        return self.save(OUT / mark)


@task
async def write_async(mark):
    return await asyncio.to_thread((OUT / mark).write_bytes, b"rows")


@task
def frame_to_csv(frame, path):
    frame.to_csv(path, index=False)
    return len(frame)


@task
def frame_to_parquet(frame, path):
    frame.to_parquet(path)
    return path


@task
def polars_to_parquet(mark):
    pl.DataFrame({"value": [1, 2]}).write_parquet(f"out/{mark}")
    return 2


@task
def save_array(mark):
    with open(OUT / mark, "wb") as target:
        np.save(target, np.arange(3))
    return 3


@task
def save_model(mark):
    return joblib.dump({"weights": [1, 2]}, f"out/{mark}")


@task
def save_pickle(mark):
    pickle.dump([1, 2], (OUT / mark).open("wb"))
    return "saved"


@task
def plot(mark):
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    figure.savefig(OUT / mark, format="png")
    plt.close(figure)
    return "plotted"


def frame(mark):
    return pd.DataFrame({"value": [1, 2]}), f"out/{mark}"


Case("file write", "direct", write, world=True)
Case("file write", "direct", write_rows, args=lambda mark: ([[1, 2]], f"out/{mark}"), world=True)
Case("file write", "direct", remove, world=True)
Case("file write", "direct", move, world=True)
Case("file write", "direct", make_folder, world=True)
Case("file write", "helper", helped, world=True)
Case("file write", "helper", helped_remove, world=True)
Case("file write", "method", Report("Night").publish, world=True)
Case("file write", "async", write_async, world=True)
Case("file write", "third party", frame_to_csv, args=frame, world=True)
Case("file write", "third party", frame_to_parquet, args=frame, world=True)
Case("file write", "third party", polars_to_parquet, world=True)
Case("file write", "third party", save_array, world=True)
Case("file write", "third party", save_model, world=True)
Case("file write", "third party", save_pickle, world=True)
Case("file write", "third party", plot, world=True)
