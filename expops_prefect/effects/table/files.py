"""What writes, moves or removes files, and what reads them.

Reading is watched while the body runs, so it is no effect in the code. ``WRITES`` say which arguments, by place
and by keyword, are the path that is changed: into a private temporary folder it does no harm.
"""

ENTRIES = {
    "read": """
        builtins.open io.open io.FileIO codecs.open os.open os.fdopen gzip.open bz2.open lzma.open zipfile.ZipFile
        tarfile.open tarfile.TarFile tarfile.TarFile.open gzip.GzipFile bz2.BZ2File lzma.LZMAFile zipfile.Path
        fileinput aiofiles anyio.open_file anyio.Path linecache tokenize.open
        os.stat os.lstat os.listdir os.scandir os.walk os.access os.readlink os.path glob fnmatch filecmp
        mimetypes.guess_type mimetypes.guess_extension mimetypes.guess_all_extensions mimetypes.guess_file_type
        pandas.read_csv pandas.read_table pandas.read_fwf pandas.read_excel pandas.read_json pandas.read_parquet
        pandas.read_feather pandas.read_orc pandas.read_pickle pandas.read_hdf pandas.read_xml pandas.read_sas
        pandas.read_stata pandas.read_spss pandas.ExcelFile pandas.HDFStore pandas.io
        polars.read_csv polars.read_parquet polars.read_json polars.read_ndjson polars.read_ipc polars.read_excel
        polars.read_avro polars.read_delta polars.read_csv_batched polars.io
        pyarrow.parquet.read_table pyarrow.parquet.read_metadata pyarrow.parquet.read_schema pyarrow.parquet.read_pandas
        pyarrow.csv.read_csv pyarrow.csv.open_csv pyarrow.json.read_json pyarrow.feather pyarrow.orc pyarrow.OSFile
        pyarrow.ipc.open_file pyarrow.ipc.open_stream
        h5py.File tables.open_file netCDF4.Dataset scipy.io scipy.sparse.load_npz numpy.load numpy.loadtxt
        numpy.genfromtxt numpy.fromfile joblib.load pickle.load cloudpickle.load dill.load json.load yaml.load
        yaml.safe_load yaml.full_load toml.load tomllib.load tomli.load configparser torch.load safetensors
        duckdb.read_csv duckdb.read_parquet duckdb.read_json duckdb.sql duckdb.query duckdb.execute duckdb.from_csv_auto
        PIL.Image.open imageio.imread imageio.v2.imread imageio.v3.imread skimage.io cv2.imread cv2.VideoCapture
        matplotlib.pyplot.imread matplotlib.image.imread librosa.load soundfile.read wave.open scipy.io.wavfile.read
        openpyxl.load_workbook xlrd.open_workbook docx.Document pypdf.PdfReader PyPDF2.PdfReader pdfplumber.open fitz
        geopandas.read_file geopandas.read_parquet fiona.open rasterio.open shapefile.Reader pyreadstat pyreadr
        lxml.etree.parse xml.etree.ElementTree.parse xml.dom.minidom.parse importlib.resources pkgutil.get_data
        csv.reader csv.DictReader fastparquet.ParquetFile fastavro.reader mmap.mmap hashlib.file_digest
        xgboost.Booster.load_model lightgbm.Booster keras.models.load_model tensorflow.keras.models.load_model
        spacy.load onnx.load onnxruntime.InferenceSession tempfile.gettempdir tempfile.gettempprefix
        pathlib.Path.open pathlib.Path.read_text pathlib.Path.read_bytes
    """,
    "file write": "tempfile.mkstemp tempfile.mkdtemp",
}

OPENS = {
    "builtins.open": 1,
    "io.open": 1,
    "_io.open": 1,
    "codecs.open": 1,
    "gzip.open": 1,
    "bz2.open": 1,
    "lzma.open": 1,
    "gzip.GzipFile": 1,
    "bz2.BZ2File": 1,
    "lzma.LZMAFile": 1,
    "zipfile.ZipFile": 1,
    "tarfile.open": 1,
    "tarfile.TarFile.open": 1,
    "aiofiles.open": 1,
    "aiofiles.threadpool.open": 1,
    "anyio.open_file": 1,
    "h5py.File": 1,
    "h5py._hl.files.File": 1,
    "tables.open_file": 1,
    "netCDF4.Dataset": 1,
    "rasterio.open": 1,
    "fiona.open": 1,
    "wave.open": 1,
    "io.FileIO": 1,
    "pandas.HDFStore": 1,
    "pathlib.Path.open": 0,
    "pathlib.PosixPath.open": 0,
}
"""What opens a file, with the place of the mode."""

WRITES = {
    "os.remove": "0 path", "os.unlink": "0 path", "os.rmdir": "0 path", "os.removedirs": "0 name", "os.rename": "1 dst",
    "os.renames": "1 new", "os.replace": "1 dst", "os.mkdir": "0 path", "os.makedirs": "0 name", "os.symlink": "1 dst",
    "os.link": "1 dst", "os.chmod": "0 path", "os.chown": "0 path", "os.utime": "0 path", "os.truncate": "0 path",
    "os.mkfifo": "0 path", "os.mknod": "0 path", "os.setxattr": "0 path", "shutil.copy": "1 dst",
    "shutil.copy2": "1 dst", "shutil.copyfile": "1 dst", "shutil.copytree": "1 dst", "shutil.move": "1 dst",
    "shutil.rmtree": "0 path", "shutil.make_archive": "0 base_name", "shutil.unpack_archive": "1 extract_dir",
    "shutil.chown": "0 path", "shutil.copymode": "1 dst", "shutil.copystat": "1 dst", "numpy.save": "0 file",
    "numpy.savez": "0 file", "numpy.savez_compressed": "0 file", "numpy.savetxt": "0 fname",
    "joblib.dump": "1 filename", "torch.save": "1 f", "torch.jit.save": "1 f", "torch.onnx.export": "2 f",
    "safetensors.torch.save_file": "1 filename", "safetensors.numpy.save_file": "1 filename",
    "scipy.io.savemat": "0 file_name", "scipy.io.wavfile.write": "0 filename", "scipy.sparse.save_npz": "0 file",
    "matplotlib.pyplot.savefig": "0 fname", "matplotlib.image.imsave": "0 fname", "matplotlib.pyplot.imsave": "0 fname",
    "plotly.io.write_image": "1 file", "plotly.io.write_html": "1 file", "plotly.offline.plot": "1 filename",
    "cv2.imwrite": "0 filename", "cv2.VideoWriter": "0 filename", "imageio.imwrite": "0 uri",
    "imageio.v2.imwrite": "0 uri", "imageio.v3.imwrite": "0 uri", "skimage.io.imsave": "0 fname",
    "soundfile.write": "0 file", "onnx.save": "1 f", "onnx.save_model": "1 f", "pyarrow.parquet.write_table": "1 where",
    "pyarrow.parquet.write_to_dataset": "1 root_path", "pyarrow.parquet.ParquetWriter": "0 where",
    "pyarrow.parquet.write_metadata": "1 where", "pyarrow.csv.write_csv": "1 output_file",
    "pyarrow.feather.write_feather": "1 dest", "pyarrow.orc.write_table": "1 where",
    "pyarrow.dataset.write_dataset": "1 base_dir", "fastparquet.write": "0 filename",
    "pandas.to_pickle": "1 filepath_or_buffer", "pandas.ExcelWriter": "0 path", "xlsxwriter.Workbook": "0 filename",
    "deltalake.write_deltalake": "0 table_or_uri", "deltalake.writer.write_deltalake": "0 table_or_uri",
    "dask.dataframe.to_parquet": "1 path", "dask.dataframe.to_csv": "1 filename", "logging.FileHandler": "0 filename",
    "zarr.save": "0 store", "logging.handlers.RotatingFileHandler": "0 filename", "dotenv.set_key": "0 dotenv_path",
    "distutils.dir_util.copy_tree": "1 dst", "send2trash.send2trash": "0 paths", "patoolib.extract_archive": "1 outdir",
    "urllib.request.urlretrieve": "1 filename", "lxml.etree.xmlfile": "0 output_file",
    "lxml.etree.htmlfile": "0 output_file",
}  # fmt: skip

METHOD_WRITES = {
    "to_csv": "0 path_or_buf path filename", "to_parquet": "0 path", "to_pickle": "0 path",
    "to_excel": "0 excel_writer", "to_feather": "0 path", "to_hdf": "0 path_or_buf", "to_stata": "0 path",
    "to_orc": "0 path", "to_xml": "0 path_or_buffer", "to_json": "0 path_or_buf", "to_html": "0 buf",
    "to_latex": "0 buf", "to_markdown": "0 buf", "to_file": "0 filename", "to_netcdf": "0 path", "to_zarr": "0 store",
    "to_disk": "0 path", "write_csv": "0 file", "write_parquet": "0 file", "write_json": "0 file",
    "write_ndjson": "0 file", "write_ipc": "0 file", "write_excel": "0 workbook", "write_avro": "0 file",
    "write_delta": "0 target", "sink_csv": "0 path", "sink_parquet": "0 path", "sink_ndjson": "0 path",
    "sink_ipc": "0 path", "sink_delta": "0 target", "write_html": "0 file", "write_image": "0 file",
    "savefig": "0 fname", "save_model": "0 fname", "save_pretrained": "0 save_directory", "save_weights": "0 filepath",
    "saveAsTextFile": "0 path", "tofile": "0 fid", "extractall": "0 path", "imwrite": "0 filename",
    "write_c14n": "0 file", "write_output": "0 file", "export_file": "0 path",
    "save_to_disk": "0 dataset_path", "dump_model": "0 filename",
    "to_textfiles": "0 path", "to_avro": "0 filename",
}  # fmt: skip
"""Methods of objects of any type that write to the path that they are given, and only if they are given one."""

OF_TREES = {"write": "0 file"}
"""Methods of trees of lxml and the like that write to the path that they are given."""

HIDDEN = frozenset(
    """
    to_netcdf Dataset VideoWriter write_delta sink_delta write_deltalake xmlfile htmlfile write_c14n saveAsTextFile
    save_to_disk
    """.split()
)
"""Functions and methods that write in compiled code, which nobody observes. lxml's ``write`` is in :data:`OF_TREES`."""

ELSEWHERE = (
    *("multiprocessing.", "concurrent.futures.process.", "concurrent.futures.ProcessPoolExecutor", "joblib.Parallel"),
    *("joblib.parallel.", "loky.", "dask.", "distributed.", "ray.", "billiard.", "pathos.", "multiprocess.", "mpire."),
    *("pandarallel.", "torch.utils.data.", "torch.multiprocessing.", "pyspark.", "swifter."),
)
"""The start of what runs functions in other processes, which nobody observes."""

MOSTLY_HERE = ("dask.", "torch.utils.data.")
"""Of these, what runs functions in this process unless it is told otherwise."""

DATA_FILE = "expops_prefect.fingerprint.files.DataFile"
"""Says that a path is a file of the task, for example of its result."""

SAVES = {"save": "0 fp path filename filepath fname f file"}
"""Methods that write where they are called, with or without a path."""

OWN_PATH = frozenset(
    """
    write_text write_bytes unlink mkdir rmdir touch symlink_to hardlink_to link_to rmtree rename replace chmod
    """.split()
)
"""Methods of paths that change what lies at the path itself."""

OWN_PATH_SURE = frozenset("write_text write_bytes unlink mkdir rmdir touch symlink_to hardlink_to rmtree".split())
"""Those whose name says so, whatever the object."""

TEMPORARY = frozenset(
    """
    tempfile.TemporaryDirectory tempfile.TemporaryFile tempfile.NamedTemporaryFile tempfile.SpooledTemporaryFile
    tempfile._TemporaryFileWrapper
    """.split()
)
"""Folders and files that are private and gone at the end."""

REMOVED_LATER = frozenset({"tempfile.mkdtemp", "tempfile.mkstemp"})
"""Private if the body removes them at the end, whatever happens."""

MEMORY = frozenset({"io.BytesIO", "io.StringIO", "_io.BytesIO", "_io.StringIO"})
"""Files in memory."""

READS = frozenset("read_text read_bytes iterdir glob rglob exists is_file is_dir stat lstat read_csv".split())
"""Methods of paths that read or list them, or ask about them."""

SCHEMES = ("http://", "https://", "s3://", "gs://", "gcs://", "az://", "abfs://", "abfss://", "ftp://",
                   "sftp://", "hdfs://", "r2://", "adl://", "webhdfs://", "ssh://")  # fmt: skip

"""Of URLs, which are read through the network."""
