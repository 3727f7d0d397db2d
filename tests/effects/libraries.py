# ruff: noqa: E501
"""Randomness, clocks and files of libraries that else only compute."""

from __future__ import annotations

from typing import Final, NamedTuple


class Case(NamedTuple):
    """An expression with an effect; ``x`` is the function's parameter."""

    kind: str
    call: str
    imports: str
    expression: str


LIBRARIES: Final = [
    Case("random", "pl.Series().shuffle", "import polars as pl", "pl.Series(x).shuffle()"),
    Case("random", "pl.col().sample", "import polars as pl", "x.select(pl.col('a').sample(3))"),
    Case("random", "x.shuffle", "", "x.shuffle()"),
    Case("random", "da.random.normal", "import dask.array as da", "da.random.normal(size=x)"),
    Case("random", "db.from_sequence().random_sample", "import dask.bag as db", "db.from_sequence(x).random_sample(0.5)"),
    Case("random", "Image.effect_noise", "from PIL import Image", "Image.effect_noise((x, x), 5)"),
    Case("random", "Fernet().encrypt", "from cryptography.fernet import Fernet", "Fernet(x).encrypt(b'x')"),
    Case("random", "make_msgid", "from email.utils import make_msgid", "make_msgid()"),
    Case("random", "sqlite3.connect().execute", "import sqlite3", "sqlite3.connect(':memory:').execute('select random()')"),
    Case("clock", "sqlite3.connect().execute", "import sqlite3",
         "sqlite3.connect(':memory:').execute(f\"select datetime('now'), {x}\")"),
    Case("database", "sqlite3.connect().execute", "import sqlite3",
         "sqlite3.connect(':memory:').execute('attach ? as there', (x,))"),
]  # fmt: skip
