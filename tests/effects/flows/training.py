"""A model is trained, rated, and saved by joblib."""

import json
from datetime import datetime
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from prefect import flow, task
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import train_test_split

STARTED = datetime.now()
MODELS = Path("out/models")


@task
def load_data(path: str) -> pd.DataFrame:
    return pd.read_csv(path)


@task
def prepare(df: pd.DataFrame):
    df = df.dropna()
    return train_test_split(df[["x1", "x2"]], df["y"], test_size=0.25, random_state=42)


@task
def train(x: pd.DataFrame, y: pd.Series) -> LinearRegression:
    model = LinearRegression()
    model.fit(x, y)
    return model


@task
def evaluate(model, x, y) -> dict:
    return {"mae": round(float(mean_absolute_error(y, model.predict(x))), 6), "rows": len(x)}


@task
def save_model(model, metrics: dict) -> str:
    MODELS.mkdir(parents=True, exist_ok=True)
    joblib.dump(np.round(model.coef_, 6), MODELS / "model.joblib")
    MODELS.joinpath("metrics.json").write_text(json.dumps(metrics))
    return str(MODELS / "model.joblib")


@task
def trained_at() -> str:
    return datetime.now().isoformat()


@flow(name="train-model")
def training(path: str = "data/train.csv"):
    x_train, x_test, y_train, y_test = prepare(load_data(path))
    model = train(x_train, y_train)
    metrics = evaluate(model, x_test, y_test)
    saved = save_model(model, metrics)
    fresh = datetime.fromisoformat(trained_at()) > STARTED
    return [metrics, saved, fresh]


def main():
    return training()
