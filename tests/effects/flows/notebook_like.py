"""A notebook that became a script: everything is global."""

# %%
import pandas as pd
from prefect import flow, task

DATA_PATH = "data/rows.csv"
results = {}
df = None


# %%
@task
def load_data():
    global df
    df = pd.read_csv(DATA_PATH)
    return len(df)


# %%
@task
def clean_data():
    global df
    df = df[df["value"] > 1]
    results["rows"] = len(df)
    return len(df)


# %%
@task
def statistics():
    results["mean"] = float(df["value"].mean())
    return results["mean"]


# %%
@flow
def notebook():
    load_data()
    clean_data()
    statistics()
    return dict(results)


def main():
    return notebook()
