"""Write a result to a file, in the format that the file's ending names."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final

from expops_prefect.cli.output import ProblemError, UsageError
from expops_prefect.serialization import pickling


@dataclass(frozen=True, slots=True)
class _Format:
    """How a kind of values is written.

    Attributes:
        fits: whether a value can be written this way.
        write: writes it to an open file.
    """

    fits: Callable[[Any], bool]
    write: Callable[[Any, BinaryIO], object]


def write_result(value: Any, path: Path) -> None:
    """Write a value to a file, which is complete or not there; an existing one is replaced.

    Raises:
        UsageError: the file's ending does not fit the value, or its folder does not exist.
        ProblemError: it cannot be written.
    """
    ending = path.suffix.lower()
    chosen = _FORMATS.get(ending)
    if chosen is None or not chosen.fits(value):
        what = f"a {type(value).__name__} cannot be written as {ending}" if ending else f"{path.name} has no ending"
        raise UsageError(f"{what}; these endings fit it: {', '.join(endings_for(value))}")
    if not path.parent.is_dir() or path.is_dir():
        raise UsageError(f"{path.parent} is not a folder" if not path.is_dir() else f"{path} is a folder; name a file")
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            chosen.write(value, file)
        os.replace(temporary, path)  # noqa: PTH105 - the same
    except ImportError as error:
        package = error.name or "pyarrow"
        raise UsageError(f"{ending} needs {package}: pip install {package}") from error
    except OSError as error:
        raise ProblemError(f"{path} cannot be written: {error.strerror or error}") from error
    except Exception as error:  # a library refuses the value
        others = ", ".join(other for other in endings_for(value) if other != ending)
        raise ProblemError(
            f"this {type(value).__name__} cannot be written as {ending}: {error}; try {others}"
        ) from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def endings_for(value: Any) -> list[str]:
    """The endings of files that a value can be written to."""
    return [ending for ending, form in _FORMATS.items() if form.fits(value)]


def as_json(value: Any) -> str | None:
    """A value as JSON; ``None`` if it is more than JSON can say."""
    try:
        return json.dumps(value, allow_nan=False, indent=2)
    except (TypeError, ValueError, RecursionError):
        return None


def is_shortened(value: Any) -> bool:
    """Whether the text of a value is short, however large the value is."""
    return _is_frame(value) or _is(value, "numpy", "ndarray")


def _is(value: Any, module: str, *classes: str) -> bool:
    """Whether a value is of one of these classes; a library that was not imported cannot have made it."""
    known = sys.modules.get(module)
    return known is not None and isinstance(value, tuple(getattr(known, name) for name in classes))


def _is_frame(value: Any) -> bool:
    return (
        _is(value, "pandas", "DataFrame", "Series")
        or _is(value, "polars", "DataFrame")
        or _is(value, "pyarrow", "Table")
    )


def _is_plain_array(value: Any) -> bool:
    import numpy as np

    # A subclass, such as a masked array, would lose what it adds.
    return (type(value) is np.ndarray or isinstance(value, np.generic)) and not value.dtype.hasobject


def _pandas(value: Any) -> Any:
    return value.to_frame("value" if value.name is None else value.name) if _is(value, "pandas", "Series") else value


def _write_parquet(value: Any, file: BinaryIO) -> None:
    if _is(value, "polars", "DataFrame"):
        value.write_parquet(file)
    elif _is(value, "pyarrow", "Table"):
        from pyarrow import parquet

        parquet.write_table(value, file)
    else:
        _pandas(value).to_parquet(file)


def _write_csv(value: Any, file: BinaryIO) -> None:
    if _is(value, "polars", "DataFrame"):
        value.write_csv(file)
    elif _is(value, "pyarrow", "Table"):
        from pyarrow import csv

        csv.write_csv(value, file)
    else:
        import pandas as pd

        frame = _pandas(value)
        numbered = type(frame.index) is pd.RangeIndex and frame.index.equals(pd.RangeIndex(len(frame)))
        frame.to_csv(file, index=not numbered)


def _write_npy(value: Any, file: BinaryIO) -> None:
    import numpy as np

    np.save(file, value, allow_pickle=False)


def _write_joblib(value: Any, file: BinaryIO) -> None:
    import joblib

    joblib.dump(value, file)


def _any(_: Any) -> bool:
    return True


_PICKLE: Final = _Format(_any, lambda value, file: file.write(pickling.dumps(value)))
_FORMATS: Final = {
    ".parquet": _Format(_is_frame, _write_parquet),
    ".csv": _Format(_is_frame, _write_csv),
    ".npy": _Format(_is_plain_array, _write_npy),
    ".json": _Format(
        lambda value: as_json(value) is not None, lambda value, file: file.write((as_json(value) or "").encode())
    ),
    ".joblib": _Format(lambda _: find_spec("joblib") is not None, _write_joblib),
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
}
