"""A transformation that adds its column to the frame that it was given."""

import pandas as pd
from prefect import flow, task


@task
def extract_data():
    return pd.DataFrame({"column1": [1, 2, 3], "column2": ["a", "b", "c"]})


@task
def transform_data(data):
    data["column3"] = data["column1"] * 2
    return data


@task
def drop_small(data):
    data.drop(data[data["column1"] < 2].index, inplace=True)
    return len(data)


@task
def load_data(data):
    data.to_csv("out/in_place.csv", index=False)
    return list(data.columns)


@flow
def in_place():
    data = extract_data()
    transform_data(data)
    kept = drop_small(data)
    return [kept, load_data(data), data["column3"].tolist()]


def main():
    return in_place()
