"""Libraries that compute, and the part of Python's own that does. What stands in the other tables counts first."""

ENTRIES = {
    "harmless": """
        builtins abc argparse array ast asyncio atexit base64 binascii bisect bz2 calendar cmath codecs collections
        colorsys concurrent.futures configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime
        decimal difflib dis email encodings enum errno faulthandler fractions functools gc gzip hashlib heapq hmac html
        http.HTTPStatus imghdr importlib inspect io ipaddress itertools json keyword locale logging lzma marshal math
        mimetypes mmap multiprocessing numbers operator os.path os.fspath os.fsencode os.fsdecode os.cpu_count os.sep
        os.linesep os.pathsep os.name os.PathLike os.curdir os.extsep os.strerror os.sched_getaffinity os.get_blocking
        os.devnull os.O_RDONLY os.close pathlib pickle pickletools platform posixpath pprint queue quopri random re
        reprlib sched shlex shutil signal stat statistics string stringprep struct symtable sys sysconfig tarfile
        tempfile textwrap threading time timeit token tokenize tomllib traceback tracemalloc types typing unicodedata
        unittest urllib.parse urllib.error uuid warnings weakref xml xmlrpc zipfile zipimport zlib zoneinfo _thread nt
        posix ntpath genericpath __future__ _collections _collections_abc _io _struct _operator _functools _bisect
        _heapq _random _datetime _json _csv _decimal _pydatetime _hashlib _blake2 _sha2 _sha256 _md5 _sha1 _sha3 _pickle
        _asyncio _weakref _abc _ast _codecs sre_compile concurrent graphlib cProfile profile pstats doctest
        typing_extensions exceptiongroup attr attrs cattrs pydantic pydantic_core msgspec marshmallow cerberus
        voluptuous jsonschema fastjsonschema pandera schema trafaret beartype typeguard annotated_types numpy pandas
        polars scipy sklearn pyarrow torch torchvision torchaudio matplotlib mpl_toolkits seaborn PIL networkx
        statsmodels xgboost lightgbm catboost joblib numba cupy jax jaxlib flax optax tensorflow keras transformers
        tokenizers sentence_transformers diffusers timm einops accelerate peft pytorch_lightning lightning torchmetrics
        skorch imblearn category_encoders feature_engine mlxtend shap lime eli5 yellowbrick umap hdbscan pynndescent
        annoy faiss hnswlib implicit surprise lifelines pymc arviz pystan cmdstanpy emcee prophet neuralprophet sktime
        darts tslearn pmdarima statsforecast arch tsfresh stumpy kats gluonts dask duckdb vaex modin cudf ibis fugue
        narwhals bottleneck numexpr pandas_flavor janitor pyjanitor xarray netCDF4 h5py tables zarr numcodecs
        fastparquet fastavro avro orjson ujson simplejson rapidjson msgpack cbor2 ruamel yaml toml tomli tomli_w pytoml
        xmltodict dicttoxml lxml bs4 html5lib cssselect parsel pyquery markdown markdown2 mistune commonmark docutils
        jinja2 mako chevron markupsafe bleach html2text readability nltk spacy gensim textblob langdetect fasttext
        rapidfuzz fuzzywuzzy thefuzz Levenshtein jellyfish unidecode ftfy regex parse pyparsing lark ply sqlparse
        sqlglot slugify inflect inflection pycountry phonenumbers babel emoji wordcloud rouge_score sacrebleu jieba
        textdistance spellchecker num2words titlecase dateutil pytz tzlocal pendulum arrow isodate iso8601 dateparser
        holidays workalendar croniter ciso8601 whenever sympy mpmath gmpy2 cvxpy pulp pyomo ortools scikit_opt deap
        nevergrad optuna hyperopt skopt bayes_opt pygad plotly altair bokeh holoviews hvplot pygal folium graphviz pydot
        igraph graph_tool cartopy contextily datashader geopandas shapely pyproj rasterio fiona rtree geojson h3 pygeos
        rioxarray affine s2sphere geohash haversine cv2 skimage imageio imagehash albumentations mahotas pytesseract
        easyocr kornia tifffile pydicom nibabel librosa soundfile pydub audioread mido music21 scikits Bio rdkit openmm
        MDAnalysis mdtraj pysam pybedtools scanpy anndata ase pymatgen astropy lmfit uncertainties pint openpyxl
        xlsxwriter xlrd xlwt docx pptx pypdf PyPDF2 pdfplumber fitz reportlab fpdf weasyprint tabulate prettytable rich
        colorama termcolor tqdm progressbar alive_progress click typer fire cloudpickle dill lz4 zstandard snappy brotli
        blosc xxhash blake3 mmh3 pyhash cityhash cryptography Crypto nacl bcrypt passlib jwt jose itsdangerous rsa ecdsa
        base58 hashids toolz cytoolz funcy more_itertools boltons sortedcontainers pyrsistent frozendict immutables
        bidict multidict wrapt decorator deprecated tenacity backoff retrying retry cachetools methodtools glom jmespath
        jsonpath_ng jsonpath_rw deepdiff dictdiffer jsonpatch jsonpointer addict munch box benedict flatten_dict six
        future packaging semver natsort humanize humanfriendly bitarray construct bitstring crcmod psygnal blinker
        transitions networkit pgmpy dowhy econml causalml structlog loguru coloredlogs pythonjsonlogger memory_profiler
        line_profiler codetiming google.protobuf proto attr_utils great_tables plotnine missingno ydata_profiling
        sweetviz onnx onnxruntime openvino safetensors tiktoken datasets evaluate anyio trio greenlet gevent aiostream
        asyncstdlib uvloop nest_asyncio blosc2 pyxlsb odf xlwings fuzzysearch recordlinkage dedupe splink pyjarowinkler
        hypothesis sys.stdout sys.stderr os.get_exec_path prefect_dask
    """,
}
