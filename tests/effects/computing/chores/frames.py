"""Frames: pandas and polars."""

import io

import numpy as np
import pandas as pd
import polars as pl
from jobs import Job
from prefect import get_run_logger, task


def orders():
    number = np.arange(60)
    return pd.DataFrame(
        {
            "order": number,
            "customer": number % 7,
            "day": pd.date_range("2026-01-01", periods=60, freq="D"),
            "amount": (number * 37 % 101).astype(float),
            "kind": np.where(number % 3 == 0, "book", "toy"),
        }
    )


def customers():
    return pd.DataFrame({"customer": range(7), "city": list("abcabca")})


@task
def revenue_by_customer(frame):
    return frame.groupby("customer", as_index=False)["amount"].sum().sort_values("amount", ascending=False)


@task
def joined(left, right):
    return left.merge(right, on="customer", how="left", validate="many_to_one")


@task
def pivoted(frame):
    return frame.pivot_table(index="customer", columns="kind", values="amount", aggfunc="mean", fill_value=0)


@task
def weekly(frame: pd.DataFrame) -> pd.DataFrame:
    logger = get_run_logger()
    found = frame.set_index("day").resample("W")["amount"].agg(["sum", "count"])
    logger.info("aggregated %d rows into %d weeks", len(frame), len(found))
    return found.reset_index()


@task
def cleaned(frame):
    df = frame.copy()
    df["kind"] = df["kind"].str.upper().str.strip()
    df["amount"] = df["amount"].clip(lower=5)
    df.loc[df["amount"] > 90, "amount"] = 90
    df = df.drop_duplicates(subset=["customer", "kind"])
    df.columns = [name.title() for name in df.columns]
    return df


@task(name="features")
def features(frame):
    return (
        frame.assign(
            month=lambda x: x["day"].dt.month,
            lagged=lambda x: x["amount"].shift(1).fillna(0),
            rolling=lambda x: x["amount"].rolling(5, min_periods=1).mean(),
        )
        .query("amount > 10")
        .reset_index(drop=True)
    )


@task
def one_hot(frame):
    return pd.get_dummies(frame, columns=["kind"], dtype=int).drop(columns=["day"])


@task
def from_csv_text(text):
    return pd.read_csv(io.StringIO(text), parse_dates=["day"])


@task
def to_csv_text(frame):
    return frame.to_csv(index=False)


@task
def to_parquet_bytes(frame):
    target = io.BytesIO()
    frame.to_parquet(target)
    return pd.read_parquet(io.BytesIO(target.getvalue()))


@task
def validated(frame, required):
    missing = [name for name in required if name not in frame]
    if missing:
        raise ValueError(f"missing columns: {missing}")
    report = {"rows": len(frame), "nulls": int(frame.isna().sum().sum())}
    for name in frame.select_dtypes("number"):
        report[name] = (float(frame[name].min()), float(frame[name].max()))
    return report


@task
def applied(frame):
    def label(row):
        return f"{row['kind']}-{row['amount']:.0f}"

    return frame.apply(label, axis=1).tolist()


@task
def concatenated(frames):
    return pd.concat(frames, ignore_index=True).sort_index(axis=1)


@task
def sampled(frame):
    return frame.sample(n=10, random_state=42)


@task
def outliers(frame, limit=1.5):
    low, high = frame["amount"].quantile([0.25, 0.75])
    spread = high - low
    return frame[(frame["amount"] < low - limit * spread) | (frame["amount"] > high + limit * spread)]


@task
def polars_report(rows):
    return (
        pl.DataFrame(rows)
        .with_columns((pl.col("amount") * 1.19).round(2).alias("gross"))
        .group_by("kind")
        .agg(pl.col("gross").sum(), pl.len())
        .sort("kind")
    )


@task
def polars_joined(left, right):
    return left.join(right, on="key", how="left").sort("key").to_dicts()


@task
def polars_lazily(rows):
    return pl.LazyFrame(rows).filter(pl.col("amount") > 2).select(pl.col("amount").mean()).collect().item()


def rows():
    return [{"kind": kind, "amount": amount} for amount, kind in enumerate("abcab")]


Job(revenue_by_customer, lambda: (orders(),))
Job(joined, lambda: (orders(), customers()))
Job(pivoted, lambda: (orders(),))
Job(weekly, lambda: (orders(),))
Job(cleaned, lambda: (orders(),))
Job(features, lambda: (orders(),))
Job(one_hot, lambda: (orders(),))
Job(from_csv_text, lambda: ("day,rows\n2026-01-01,1\n2026-01-02,5\n",))
Job(to_csv_text, lambda: (orders(),))
Job(to_parquet_bytes, lambda: (customers(),))
Job(validated, lambda: (orders(), ["order", "amount"]))
Job(applied, lambda: (orders(),))
Job(concatenated, lambda: ([orders(), orders().head(3)],))
Job(sampled, lambda: (orders(),))
Job(outliers, lambda: (orders(), 0.2))
Job(polars_report, lambda: (rows(),))
Job(
    polars_joined,
    lambda: (pl.DataFrame({"key": [1, 2, 3]}), pl.DataFrame({"key": [1, 3], "value": ["a", "c"]})),
)
Job(polars_lazily, lambda: (rows(),))
