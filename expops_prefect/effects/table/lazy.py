"""What makes a plan over files in place of a value. It counts where the plan itself is given back."""

ENTRIES = {
    "lazy data": """
        polars.scan_csv polars.scan_parquet polars.scan_ndjson polars.scan_ipc polars.scan_delta polars.scan_iceberg
        polars.scan_pyarrow_dataset polars.io.csv.functions.scan_csv polars.io.parquet.functions.scan_parquet
        polars.io.ndjson.scan_ndjson polars.io.ipc.functions.scan_ipc polars.io.delta.functions.scan_delta
        dask.dataframe.read_csv dask.dataframe.read_parquet dask.dataframe.read_json dask.dataframe.read_table
        dask.dataframe.read_orc dask.dataframe.read_hdf dask.dataframe.read_fwf dask.dataframe.io
        dask.bag.read_text dask.bag.read_avro dask.array.from_npy_stack dask.array.from_zarr dask.array.image.imread
        pyarrow.dataset.dataset pyarrow.parquet.ParquetDataset pyarrow.parquet.ParquetFile pyarrow.memory_map
        xarray.open_dataset xarray.open_mfdataset xarray.open_zarr xarray.open_dataarray
        vaex.open datasets.load_dataset deltalake.DeltaTable ibis.read_parquet ibis.read_csv
        zarr.open zarr.open_group zarr.open_array numpy.memmap
    """,
}

COLLECTS = frozenset(
    """
    collect collect_async fetch compute to_table to_pandas to_arrow to_numpy to_polars to_batches head count_rows
    load read read_all read_row_group df fetchall fetchone pl arrow toPandas persist item
    """.split()
)
"""Methods that make a value of a plan."""
