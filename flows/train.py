"""Recognise handwritten digits: load, split, train several models, evaluate, draw.

The only line that makes this flow cached and recorded is the import below; with
``from prefect import flow, task`` it is a plain Prefect flow (but for its metrics and charts).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expops_prefect import (
    DataFile,
    flow,
    log_chart,
    log_metric,
    log_metrics,
    process_parameters,
    task,
    unmapped,
)
from flows.models import make_model

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / ".expops-demo" / "data" / "digits.csv"
MODELS = ["logistic", "forest", "neighbours"]

Arrays = dict[str, np.ndarray]


@task
def load_digits(data: DataFile) -> pd.DataFrame:
    """Read 1,797 pictures of 8 by 8 pixels, a row each, the digit in the last column."""
    frame = pd.read_csv(data, header=None)
    frame.columns = [*(f"pixel{index}" for index in range(64)), "digit"]
    log_metric("rows", len(frame))
    return frame


@task
def split(frame: pd.DataFrame, seed: int) -> Arrays:
    from sklearn.model_selection import train_test_split

    features = frame.drop(columns="digit").to_numpy(dtype=np.float64) / 16
    parts = train_test_split(
        features,
        frame["digit"].to_numpy(),
        test_size=process_parameters("split").get("test_size", 0.25),
        random_state=seed,
    )
    return dict(zip(("train", "test", "train_digits", "test_digits"), parts, strict=True))


@task
def train_model(kind: str, data: Arrays) -> Any:
    """Called once for each model by ``map``: each call is a partition of the process ``train_model``."""
    model = make_model(kind, process_parameters("train_model"))
    model.fit(data["train"], data["train_digits"])
    log_metric("train_accuracy", model.score(data["train"], data["train_digits"]))
    return model


@task
def augment(pictures: np.ndarray, digits: np.ndarray) -> Arrays:
    """A step of ``train_sgd``: every picture also shifted by a pixel each way."""
    images = pictures.reshape(-1, 8, 8)
    shifted = [images, *(np.roll(images, by, axis=axis) for axis in (1, 2) for by in (-1, 1))]
    return {"pictures": np.concatenate(shifted).reshape(-1, 64), "digits": np.tile(digits, len(shifted))}


@task
def train_sgd(data: Arrays, seed: int) -> Any:
    """A process with a step inside; its loss is logged epoch by epoch, live."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    more = augment(data["train"], data["train_digits"])
    settings = process_parameters("train_sgd")
    model = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=settings.get("learning_rate", 0.01), random_state=seed
    )
    for epoch in range(1, settings.get("epochs", 10) + 1):
        model.partial_fit(more["pictures"], more["digits"], classes=np.arange(10))
        log_metrics(
            {
                "loss": log_loss(data["test_digits"], model.predict_proba(data["test"])),
                "accuracy": model.score(data["test"], data["test_digits"]),
            },
            step=epoch,
        )
    return model


@task
def evaluate(models: dict[str, Any], data: Arrays) -> dict[str, float]:
    scores = {name: float(model.score(data["test"], data["test_digits"])) for name, model in models.items()}
    log_metrics({f"accuracy_{name}": score for name, score in scores.items()})
    return scores


@task
def plot_scores(scores: dict[str, float]) -> str:
    """A chart: a cached run shows it too."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3))
    axes.barh(list(scores), list(scores.values()), color="#2a6fdb")
    axes.set(xlabel="accuracy on unseen digits", xlim=(0.8, 1))
    log_chart("scores", figure)
    plt.close(figure)
    return max(scores, key=lambda name: scores[name])


@flow(name="train-digits")
def train(seed: int = 7) -> str:
    fetch_data()
    frame = load_digits(DataFile(DATA))
    data = split(frame, seed)
    trained = train_model.map(kind=MODELS, data=unmapped(data))
    models = {**dict(zip(MODELS, trained.result(), strict=True)), "sgd": train_sgd(data, seed)}
    return plot_scores(evaluate(models, data))


def fetch_data() -> None:
    """Put scikit-learn's digits where the configuration's ``data.path`` says."""
    import gzip

    import sklearn

    if not DATA.exists():
        source = Path(sklearn.__file__).parent / "datasets" / "data" / "digits.csv.gz"
        DATA.parent.mkdir(parents=True, exist_ok=True)
        DATA.write_bytes(gzip.decompress(source.read_bytes()))


if __name__ == "__main__":
    print(f"best model: {train()}")
