"""Rows of plans over files, in the current folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.bag
import dask.dataframe
import netCDF4
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import xarray

DATA = pl.DataFrame({"a": [1, 2, 3]})
OTHER = pl.DataFrame({"a": [1, 2, 4]})


def write(data: Any = DATA) -> None:
    """All files that the rows read."""
    from pathlib import Path

    for folder in ("tables", "tables/x=1"):
        Path(folder).mkdir(exist_ok=True)
    data.write_csv("d.csv")
    data.write_parquet("d.parquet")
    data.write_ipc("d.arrow")
    data.write_ndjson("d.ndjson")
    data.write_parquet("tables/x=1/a.parquet")
    Path("d.nc").unlink(missing_ok=True)
    with netCDF4.Dataset("d.nc", "w", format="NETCDF4") as file:
        file.createDimension("x", 3)
        file.createVariable("a", "i8", ("x",))[:] = data["a"].to_numpy()


PLANS: dict[str, Callable[[], Any]] = {
    "csv": lambda: pl.scan_csv("d.csv"),
    "csv filtered": lambda: pl.scan_csv("d.csv").filter(pl.col("a") > 1).select(pl.col("a").sum()),
    "csv glob": lambda: pl.scan_csv("*.csv"),
    "csvs": lambda: pl.scan_csv(["d.csv", "d.csv"]),
    "parquet": lambda: pl.scan_parquet("d.parquet"),
    "ipc": lambda: pl.scan_ipc("d.arrow"),
    "ndjson": lambda: pl.scan_ndjson("d.ndjson"),
    "folder": lambda: pl.scan_parquet("tables", hive_partitioning=True),
    "joined": lambda: pl.scan_csv("d.csv").join(pl.scan_parquet("d.parquet"), on="a"),
    "in a list": lambda: [pl.scan_csv("d.csv"), {"a": pl.scan_csv("d.csv")}],
    "dataset": lambda: pyarrow.dataset.dataset("d.parquet"),
    "dataset of a folder": lambda: pyarrow.dataset.dataset("tables", partitioning="hive"),
    "dataset of csv": lambda: pyarrow.dataset.dataset("d.csv", format="csv"),
    "dataset filtered": lambda: pyarrow.dataset.dataset("d.parquet").filter(pyarrow.dataset.field("a") > 1),
    "union of datasets": lambda: pyarrow.dataset.dataset([pyarrow.dataset.dataset("d.parquet")] * 2),
    "dask parquet": lambda: dask.dataframe.read_parquet("d.parquet"),
    "dask computed": lambda: dask.dataframe.read_parquet("d.parquet")["a"].sum(),
    "xarray": lambda: xarray.open_dataset("d.nc"),
}
"""What changes with the files, or is refused."""

DIFFERENT: dict[str, Callable[[], list[Any]]] = {
    "plans": lambda: [PLANS[name]() for name in ("csv", "csv filtered", "parquet")],
    "in memory": lambda: [DATA.lazy(), OTHER.lazy(), DATA.lazy().select(pl.col("a") + 1)],
    "buffers": lambda: [pl.scan_csv(b"a\n1\n"), pl.scan_csv(b"a\n2\n")],
    "options": lambda: [pl.scan_csv("d.csv"), pl.scan_csv("d.csv", has_header=False)],
    "dask from pandas": lambda: [dask.dataframe.from_pandas(data.to_pandas(), npartitions=1) for data in (DATA, OTHER)],
    "filters of datasets": lambda: [
        pyarrow.dataset.dataset("d.parquet").filter(pyarrow.dataset.field("a") > n) for n in (1, 2)
    ],
}


def _twice(make: Callable[[], Any]) -> Callable[[], list[Any]]:
    return lambda: [make(), make()]


ALIKE: dict[str, Callable[[], list[Any]]] = {name: _twice(make) for name, make in PLANS.items()}

REFUSED: dict[str, Callable[[], Any]] = {
    "python function": lambda: DATA.lazy().map_batches(lambda frame: frame),
    "python function on a column": lambda: DATA.lazy().select(pl.col("a").map_elements(lambda a: a, pl.Int64)),
    "scan of a dataset": lambda: pl.scan_pyarrow_dataset(pyarrow.dataset.dataset("d.parquet")),
    "remote": lambda: pl.scan_parquet("s3://bucket/key.parquet"),
    "remote csv": lambda: pl.scan_csv("https://bucket.invalid/d.csv"),
    "dask csv": lambda: dask.dataframe.read_csv("d.csv"),
    "dask bag": lambda: dask.bag.read_text("d.csv"),
    "scanner": lambda: pyarrow.dataset.dataset("d.parquet").scanner(),
    "dataset of a reader": lambda: pyarrow.dataset.Scanner.from_batches(
        iter([pa.record_batch({"a": np.arange(1)})]), schema=pa.schema([("a", pa.int64())])
    ),
}
