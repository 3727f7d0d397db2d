"""Library functions that open files in C or Rust, without audit events.

Most of them are internal functions that a library's public ones call, so that names imported earlier are covered too.
Other reads of compiled libraries are found only by the analysis of code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Use = Literal["read", "write", "mode", "sql", "database", "by caller", "plan", "known files"]
"""``mode``: an argument tells; ``by caller``: the name of the library's calling function tells; ``known files``: the
module has a list of the files."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A function that receives the path of a file or folder.

    Attributes:
        module: the module that contains it.
        name: its name in the module, ``Class.method`` for a method.
        use: how it uses the path.
        parameter: the name of the argument with the path, or with the text for SQL.
        place: the position of that argument, without ``self``.
        shown: the call, for people.
    """

    module: str
    name: str
    use: Use
    parameter: str
    place: int = 0
    shown: str = ""

    @property
    def call(self) -> str:
        """The call, for people."""
        return self.shown or f"{self.module.partition('.')[0]}.{self.name.removesuffix('.__init__')}"


READERS: Final = (
    *(
        Reader("mimetypes", f"MimeTypes.{name}", "known files", "", shown="mimetypes.guess_type")
        for name in ("guess_type", "guess_all_extensions")
    ),
    Reader("polars._utils.various", "normalize_filepath", "by caller", "path"),
    Reader("polars.lazyframe.frame", "LazyFrame.collect", "plan", "", shown="LazyFrame.collect"),
    Reader("polars.lazyframe.frame", "LazyFrame.collect_async", "plan", "", shown="LazyFrame.collect_async"),
    Reader("pyarrow.parquet.core", "ParquetFile.__init__", "read", "source", shown="pyarrow.parquet.ParquetFile"),
    Reader(
        "pyarrow.parquet.core", "ParquetDataset.__init__", "read", "path_or_paths", shown="pyarrow.parquet.read_table"
    ),
    Reader("pyarrow.parquet.core", "ParquetWriter.__init__", "write", "where", shown="pyarrow.parquet.write_table"),
    Reader("pyarrow.parquet.core", "read_schema", "read", "where", shown="pyarrow.parquet.read_schema"),
    Reader("pyarrow.parquet.core", "read_metadata", "read", "where", shown="pyarrow.parquet.read_metadata"),
    Reader("pandas.io.parquet", "_get_path_or_handle", "mode", "path", shown="DataFrame.to_parquet"),
    Reader("pyarrow.dataset", "_filesystem_dataset", "read", "source", shown="pyarrow.dataset.dataset"),
    Reader("pyarrow.dataset", "parquet_dataset", "read", "metadata_path"),
    Reader("pyarrow.dataset", "_filesystemdataset_write", "write", "base_dir", 1, "pyarrow.dataset.write_dataset"),
    Reader("pyarrow._csv", "read_csv", "read", "input_file", shown="pyarrow.csv.read_csv"),
    Reader("pyarrow._csv", "open_csv", "read", "input_file", shown="pyarrow.csv.open_csv"),
    Reader("pyarrow._csv", "write_csv", "write", "output_file", 1, "pyarrow.csv.write_csv"),
    Reader("pyarrow._json", "read_json", "read", "input_file", shown="pyarrow.json.read_json"),
    Reader("pyarrow._json", "open_json", "read", "input_file", shown="pyarrow.json.open_json"),
    Reader("pyarrow.lib", "memory_map", "mode", "path", shown="pyarrow.memory_map"),
    Reader("pyarrow.lib", "create_memory_map", "write", "path", shown="pyarrow.create_memory_map"),
    Reader("pyarrow.lib", "input_stream", "read", "source", shown="pyarrow.input_stream"),
    Reader("pyarrow.lib", "output_stream", "write", "source", shown="pyarrow.output_stream"),
    Reader("pyarrow.feather", "read_table", "read", "source", shown="pyarrow.feather.read_table"),
    Reader("pyarrow.feather", "write_feather", "write", "dest", 1, "pyarrow.feather.write_feather"),
    Reader("pyarrow.orc", "ORCFile.__init__", "read", "source", shown="pyarrow.orc.ORCFile"),
    Reader("pyarrow.orc", "ORCWriter.__init__", "write", "where", shown="pyarrow.orc.ORCWriter"),
    Reader("h5py._hl.files", "File.__init__", "mode", "name", shown="h5py.File"),
    Reader("tables.file", "open_file", "mode", "filename"),
    Reader("xarray.backends.api", "open_dataset", "read", "filename_or_obj"),
    Reader("xarray.backends.api", "open_mfdataset", "read", "paths"),
    Reader("cv2", "imread", "read", "filename"),
    Reader("cv2", "imwrite", "write", "filename"),
    Reader("soundfile", "SoundFile.__init__", "mode", "file"),
    Reader("rasterio", "open", "mode", "fp"),
    Reader("fiona", "open", "mode", "fp"),
    Reader("pyogrio.raw", "read", "read", "path_or_buffer"),
    Reader("pyogrio.raw", "write", "write", "path"),
    Reader("lxml.etree", "parse", "read", "source", shown="lxml.etree.parse"),
    Reader("torch.serialization", "save", "write", "f", 1, "torch.save"),
    Reader("torch.jit._serialization", "load", "read", "f", shown="torch.jit.load"),
    Reader("torch.jit._serialization", "save", "write", "f", 1, "torch.jit.save"),
    Reader("safetensors.torch", "load_file", "read", "filename"),
    Reader("safetensors.torch", "save_file", "write", "filename", 1),
    Reader("safetensors.numpy", "load_file", "read", "filename"),
    Reader("safetensors.numpy", "save_file", "write", "filename", 1),
    Reader("xgboost.core", "Booster.load_model", "read", "fname"),
    Reader("xgboost.core", "Booster.save_model", "write", "fname"),
    Reader("lightgbm.basic", "Booster.save_model", "write", "filename"),
    Reader("deltalake.table", "DeltaTable.__init__", "read", "table_uri"),
    Reader("duckdb", "connect", "database", "database"),
    *(Reader("duckdb", name, "sql", "query") for name in ("sql", "query", "execute", "from_query")),
    *(Reader("duckdb", name, "read", "path_or_buffer") for name in ("read_csv", "read_json", "from_csv_auto")),
    *(Reader("duckdb", name, "read", "file_glob") for name in ("read_parquet", "from_parquet")),
    *(Reader("duckdb", f"DuckDBPyConnection.{name}", "sql", "query") for name in ("sql", "query", "execute")),
    *(Reader("duckdb", f"DuckDBPyConnection.{name}", "read", "path_or_buffer") for name in ("read_csv", "read_json")),
    Reader("duckdb", "DuckDBPyConnection.read_parquet", "read", "file_glob"),
)
