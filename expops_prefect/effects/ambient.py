"""Settings that computing depends on implicitly: decimal precision, print options, the locale, library options.

Only changed settings are reported, so that the keys of all other processes stay the same. They are
read with every key and around every body, which takes a few microseconds and imports nothing.
"""

from __future__ import annotations

import _locale
import decimal
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from expops_prefect._internal.diagnostics import degrade
from expops_prefect._internal.process import is_being_imported

State: TypeAlias = "dict[str, dict[str, Any]]"
"""Changed settings by group and name, see :func:`changed`."""

_CONTEXT: Final = decimal.Context(
    28,
    "ROUND_HALF_EVEN",
    -999999,
    999999,
    1,
    0,
    [],
    [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
_OF_CONTEXT: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
_TRAPS: Final = dict(_CONTEXT.traps)
_PRINTING: Final[Mapping[str, Any]] = {
    "edgeitems": 3,
    "threshold": 1000,
    "floatmode": "maxprec",
    "precision": 8,
    "suppress": False,
    "linewidth": 75,
    "nanstr": "nan",
    "infstr": "inf",
    "sign": "-",
    "formatter": None,
    "legacy": False,
    "override_repr": None,
}
_ERRORS: Final[Mapping[str, Any]] = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
_SKLEARN: Final[Mapping[str, Any]] = {
    "assume_finite": False,
    "working_memory": 1024,
    "print_changed_only": True,
    "display": "diagram",
    "array_api_dispatch": False,
    "transform_output": "default",
    "enable_metadata_routing": False,
    "skip_parameter_validation": False,
    "sparse_interface": "spmatrix",
}
_CATEGORIES: Final = [
    (name, getattr(_locale, name))
    for name in ("LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY")
    if hasattr(_locale, name)
]
"""The other category, ``LC_CTYPE`` for the encoding of text, is set by the machine from the start."""
_DIGITS: Final = 4300
_DIALECTS: Final = ["excel", "excel-tab", "unix"]
_OF_DIALECTS: Final = ("delimiter", "quotechar", "doublequote", "escapechar", "lineterminator", "quoting",
                       "skipinitialspace", "strict")  # fmt: skip
_NOT_DRAWN: Final = frozenset({"backend", "backend_fallback", "interactive", "toolbar", "datapath", "webagg.port"})
"""Matplotlib settings for where figures are shown, which do not affect their content."""


def _zone() -> tuple[Any, ...]:
    return time.timezone, time.altzone, time.tzname


_ZONE: Final = _zone()


def changed(parts: Collection[str] | None = None) -> State:
    """The settings that differ from the defaults of Python and the loaded libraries, by group and name.

    Args:
        parts: the parts of the code that is going to run, see
            :class:`~expops_prefect.fingerprint.code.CodeFingerprint`; ``None`` if unknown.
    """
    found: State = {}
    for name, module_name, read in _READERS:
        module = sys.modules.get(module_name)
        if module is None or (parts is not None and module_name in _NAMED and not _is_named(module_name, parts)):
            continue
        try:
            held = read(module)
        except Exception as error:  # noqa: BLE001 - another release of a library may lack the setting
            if not is_being_imported(module):
                said = f"{name} cannot be read ({error!r}); tasks stay hits when it is changed"
                degrade("settings not read", said, key=name)
            continue
        if held:
            found[name] = held
    return found


def _is_named(module: str, parts: Collection[str]) -> bool:
    return any(part.startswith(_NAMED[module]) for part in parts)


def loaded() -> frozenset[str]:
    """The groups of settings whose modules are loaded."""
    return frozenset(name for name, module_name, _ in _READERS if module_name in sys.modules)


def _less(now: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _kept(now[name]) for name in usual if name in now and now[name] != usual[name]}


def _kept(value: Any) -> Any:
    """A copy of a setting that later changes of the original list do not affect."""
    return tuple(value) if isinstance(value, list) else value


def _decimal(_module: Any) -> dict[str, Any]:
    context = decimal.getcontext()
    if (
        context.prec == 28
        and context.rounding == "ROUND_HALF_EVEN"
        and context.Emin == -999999
        and context.Emax == 999999
        and context.capitals
        and not context.clamp
        and context.traps == _TRAPS
    ):
        return {}
    values = {name: getattr(context, name) for name in _OF_CONTEXT[:-1]}
    values["traps"] = sorted(signal.__name__ for signal, trapped in context.traps.items() if trapped)
    return values


def _printing(numpy: Any) -> dict[str, Any]:
    return _less(numpy.get_printoptions(), _PRINTING)


def _errors(numpy: Any) -> dict[str, Any]:
    now = numpy.geterr()
    return {} if now == _ERRORS else _less(now, _ERRORS)


def _locale_of(_module: Any) -> dict[str, Any]:
    return {name: held for name, number in _CATEGORIES if (held := _locale.setlocale(number)) not in ("C", "POSIX")}


def _time(_module: Any) -> dict[str, Any]:
    now = _zone()
    return {} if now == _ZONE else {"zone": now}


def _digits(_module: Any) -> dict[str, Any]:
    get: Callable[[], int] | None = getattr(sys, "get_int_max_str_digits", None)
    return {} if get is None or get() == _DIGITS else {"digits": get()}


def _calendar(calendar: Any) -> dict[str, Any]:
    first = calendar.firstweekday()
    return {"first": first} if first else {}


def _csv(csv: Any) -> dict[str, Any]:
    names = csv.list_dialects()
    if names == _DIALECTS:
        return {}
    held = {name: csv.get_dialect(name) for name in names if name not in _DIALECTS}
    return {name: tuple(getattr(dialect, part) for part in _OF_DIALECTS) for name, dialect in held.items()}


def _mimetypes(module: Any) -> dict[str, Any]:
    """The changes against the machine's files, which are dependencies of the tasks that use them."""
    usual = _mimetypes_usual()
    found: dict[str, Any] = {}
    if module.knownfiles != usual.knownfiles:
        found["files"] = tuple(module.knownfiles)
    for name, now, before in zip(_TABLES, _tables(module), _tables(usual), strict=False):
        if now != before:
            found |= {
                f"{name} {key}": _kept(now.get(key)) for key in {**before, **now} if now.get(key) != before.get(key)
            }
    return found


_TABLES: Final = ("default", "default common", "default suffix", "default encoding",
                  "common", "strict", "suffix", "encoding")  # fmt: skip


def _tables(module: Any) -> tuple[dict[str, Any], ...]:
    """Its tables; those that it uses exist once it is initialised."""
    names = ("types_map", "common_types", "suffix_map", "encodings_map")
    defaults = tuple(getattr(module, f"_{name}_default") for name in names)
    held = module._db
    return defaults if held is None else (*defaults, *held.types_map, held.suffix_map, held.encodings_map)


@lru_cache(maxsize=1)
def _mimetypes_usual() -> Any:
    """A fresh copy of the module, without changes."""
    spec = importlib.util.find_spec("mimetypes")
    if spec is None or spec.loader is None:
        raise ImportError("mimetypes is not found")
    usual: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(usual)
    usual.init()
    return usual


def _pandas(module: Any) -> dict[str, Any]:
    usual = _pandas_usual(len(module._registered_options))
    now = module._global_config
    return {} if now == usual else dict(_differing(now, usual, ""))


@lru_cache(maxsize=1)
def _pandas_usual(_count: int) -> dict[str, Any]:
    """The default options in pandas' own layout; more may be registered later."""
    found: dict[str, Any] = {}
    for path, option in sys.modules["pandas._config.config"]._registered_options.items():
        place = found
        *folders, last = path.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[last] = option.defval
    return found


def _differing(now: Mapping[str, Any], usual: Mapping[str, Any], path: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in now.items():
        if isinstance(value, dict) and isinstance(usual.get(name), dict):
            found += _differing(value, usual[name], f"{path}{name}.")
        elif name in usual and value != usual[name]:
            found.append((f"{path}{name}", _kept(value)))
    return found


def _matplotlib(module: Any) -> dict[str, Any]:
    # As plain dictionaries, because reading the backend by name would choose one.
    now, usual = module.rcParams, module.rcParamsDefault
    if dict.__eq__(now, usual):
        return {}
    held = dict(dict.items(now))
    return {
        name: _shown(held[name])
        for name, value in dict.items(usual)
        if name not in _NOT_DRAWN and name in held and held[name] != value
    }


def _shown(value: Any) -> Any:
    """A matplotlib setting as plain data; a colour cycle as its text."""
    return _kept(value) if value is None or isinstance(value, (str, int, float, list, tuple)) else repr(value)


def _sklearn(module: Any) -> dict[str, Any]:
    return _less(module.get_config(), _SKLEARN)


def _polars(module: Any) -> dict[str, Any]:
    # Polars keeps most settings in the environment; reading its internal table is much faster than by name.
    names, data = _polars_names(), getattr(os.environ, "_data", {})
    found = {name: data[encoded] for name, encoded in names if encoded in data}
    for name, read in module._POLARS_CFG_DIRECT_VARS.items():
        value = read()
        if value != _polars_usual().get(name, value):
            found[name] = value
    return found


@lru_cache(maxsize=1)
def _polars_names() -> list[tuple[str, Any]]:
    known = sys.modules["polars.config"]._POLARS_CFG_ENV_VARS
    names = sorted(name for name in known if name.startswith(("POLARS_FMT_", "POLARS_TABLE_")))
    return [(name, os.environ.encodekey(name)) for name in names]


@lru_cache(maxsize=1)
def _polars_usual() -> dict[str, Any]:
    return {
        "set_fmt_float": "mixed",
        "set_float_precision": None,
        "set_thousands_separator": "",
        "set_decimal_separator": ".",
        "set_trim_decimal_zeros": False,
    }


def _torch(torch: Any) -> dict[str, Any]:
    found = {}
    if (dtype := str(torch.get_default_dtype())) != "torch.float32":
        found["dtype"] = dtype
    if (precision := torch.get_float32_matmul_precision()) != "highest":
        found["precision"] = precision
    return found


def _mpmath(module: Any) -> dict[str, Any]:
    return {} if module.mp.prec == 53 else {"prec": module.mp.prec}


_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "calendar": ("external:calendar",),
    "csv": ("external:csv", "dist:pandas"),
    "mimetypes": ("external:mimetypes",),
}
"""Modules whose settings are read only for code that refers to them, with the prefixes of such parts of the code."""
_READERS: Final[tuple[tuple[str, str, Callable[[Any], dict[str, Any]]], ...]] = (
    ("decimal's context", "decimal", _decimal),
    ("the locale", "locale", _locale_of),
    ("the time zone", "time", _time),
    ("sys.set_int_max_str_digits", "sys", _digits),
    ("calendar.setfirstweekday", "calendar", _calendar),
    ("csv's dialects", "csv", _csv),
    ("mimetypes' tables", "mimetypes", _mimetypes),
    ("numpy's print options", "numpy", _printing),
    ("numpy's handling of errors", "numpy", _errors),
    ("pandas' options", "pandas._config.config", _pandas),
    ("matplotlib's rcParams", "matplotlib", _matplotlib),
    ("scikit-learn's configuration", "sklearn._config", _sklearn),
    ("polars' configuration", "polars.config", _polars),
    ("torch's defaults", "torch", _torch),
    ("mpmath's precision", "mpmath", _mpmath),
)
"""The group of settings, the module that must be loaded, and the function that reads them."""
