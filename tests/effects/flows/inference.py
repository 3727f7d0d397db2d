"""A model that is read by its path predicts."""

import joblib
import pandas as pd
from prefect import flow, task


@task
def make_model(seed: int):
    weights = pd.read_csv("data/train.csv")["y"].head(2).tolist()
    return joblib.dump({"seed": seed, "weights": weights}, "out/weights.joblib")[0]


@task
def predict(path: str, rows: list[list[float]]) -> list[float]:
    model = joblib.load(path)
    return [round(sum(w * v for w, v in zip(model["weights"], row)), 6) for row in rows]


@task
def save(predictions: list[float]) -> str:
    pd.DataFrame({"prediction": predictions}).to_csv("out/predictions.csv", index=False)
    return "out/predictions.csv"


@flow
def inference():
    path = make_model(1)
    predictions = predict(path, [[1, 2], [3, 4]])
    return [save(predictions), predictions]


def main():
    return inference()
