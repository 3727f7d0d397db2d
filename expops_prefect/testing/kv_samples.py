"""Keys and values for the tests of KV stores, and a way to compare them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Protocol

import numpy as np
import orjson

from expops_prefect.models import names
from expops_prefect.stores.kv.base import JSON, KVStore

RUN = "project-shop-20261124120000-0123abcd"
PATH = names.process_path("train", 2)
STEP = names.step_path(PATH, "load", 3)
DIGESTS = ("a" * 64, "0f" * 32, "9" * 64)
RECORD = {"status": "completed", "cache_path": "/abs/x.pkl", "run_id": RUN, "started_at": 1763985600.25, "size": 7}
ROW = {"status": "cached", "process_name": PATH, "step_name": "__process__", "ended_at": None, "calls": {"cached": 2}}
CHARTS = {"type": "static", "items": [{"title": "loss", "object_path": "gs://b/k.png", "size_bytes": 12}]}
SERIES = {"loss": {"1": 0.5, "2": 0.25, "10": "NaN"}, "f1 (macro)/ø": {"3": 7}}

KNOWN: dict[str, JSON] = {
    names.run_status_key(RUN): "running",
    names.run_timestamps_key(RUN): {"start": 1763985600.125, "end": None},
    names.stat_key(RUN, "cache_hit_count"): 3,
    names.row_key(RUN, PATH): ROW,
    names.row_key(RUN, STEP): ROW,
    names.charts_key(RUN, PATH): CHARTS,
    names.metrics_key(RUN, PATH): SERIES,
    names.metrics_key(RUN, STEP): SERIES,
    names.CacheKey("train", *DIGESTS).record_key: RECORD,
    names.CacheKey("train", *DIGESTS).step_record_key(PATH, "load"): RECORD,
    names.run_record_key(RUN): {"run_id": RUN, "degraded": {"x": 1}, "format": 1},
    names.flow_run_key("d8b2"): {"run_id": RUN},
    names.counter_key(RUN, PATH): 12,
}
"""A value under every form of key that this package makes."""

ODD_KEYS = [
    "",
    "/",
    "a/b//c/",
    ".",
    "..",
    "../..",
    "__x__",
    "_____",
    "a.b.c",
    "with space\ttab\nline",
    "'quoted' \"twice\" `thrice` \\",
    "%_*?[x]#&=+~",
    "nul\0inside",
    "ünï/ćødé/日本/🎉",
    "x" * 1400,
    "日" * 1400,
    "y" * 6000,
    "y" * 6000 + "z",
    "y" * 5999 + "x",
    "y" * 1399 + "é",
    "y" * 1400,
    "h_" + "0" * 64,
    "p_",
    "runs",
    "runs:",
    "runs::status",
    "runs:..:status",
    "runs:__x__:timestamps",
    "runs:a/b:status",
    "runs:r:other",
    "runs:r:status:more",
    "runs:r:stats:",
    "runs:r:stats:__x__",
    "runs:r:stats:a.b`c",
    "runs:r:stats:" + "s" * 1500,
    "runs:r:stats:~p_YQ",
    "runs:r:steps:",
    "runs:r:steps:no second part",
    "runs:r:steps:a:b:c",
    "runs:r:steps:/x/:" + "y" * 2000,
    "runs:r:charts:",
    "runs:r:charts:__x__",
    "runs:r:charts:" + "c" * 2000,
    "metric:r:probe_path:",
    "metric:r",
    "metric:a/b:probe_path:p_YQ",
    "metric:r:other:p_YQ",
    "steps:",
    "steps:a:b:c",
    "steps:a:b:c:d/e:__f__",
    "steps:a:" + "b" * 1500 + ":c:d:e",
    "process:",
    "process:a:b/:c:d",
    "expops_prefect",
]

VALUES: dict[str, JSON] = {
    "empty text": "",
    "text": "ünï 日本 🎉 \0 \n \ue000 \U0010ffff",
    "true": True,
    "false": False,
    "integers": [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1],
    "greatest": 2**63 - 1,
    "floats": [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 1.0, 1e16, 123456789.12345679, 1e22],
    "float": 1.0,
    "empty list": [],
    "empty dict": {},
    "empties": {"a": [], "b": {}, "c": "", "d": None, "e": [None, [], {}]},
    "nested lists": [[], [[1, [2.5]], "x"], {"a": [[3], [{"b": [[4]]}]]}],
    "odd names": {
        "": 1,
        "__x__": 2,
        "a.b": 3,
        "a/b": 4,
        "`'\"\\": 5,
        "x" * 2000: 6,
        "日\0": 7,
        "..": {"": {"__y__": []}},
    },
    "names of the stores": {"key": "k", "value": "v", "last_updated": "l", "type": "t", "expops_prefect_json": "[1]"},
    "looks encoded": [{"expops_prefect_json": "[1]"}, {"expops_prefect_json": 1}, {"map_value": {"fields": {}}}],
    "deep": {"d": [1]},
    "large text": "é" * 150_000,
    "many small ones": {"n": {str(number): [number, number / 7] for number in range(12_000)}},
}
for _ in range(30):
    VALUES["deep"] = {"d": VALUES["deep"], "list": [VALUES["deep"]] if _ < 3 else []}

REFUSED: dict[str, Any] = {
    "nan": float("nan"),
    "infinity deep": {"a": [1, {"b": (float("-inf"),)}]},
    "set": {1, 2},
    "bytes": b"x",
    "object": object(),
    "numpy": np.float32(1),
    "date": datetime(2026, 1, 1),
    "key that is no text": {1: "x"},
    "large integer": 2**64,
    "half a character": "\ud800",
    "half a character in a name": {"\udfff": 1},
}


class RawKV(Protocol):
    """Access to a backend's keys that bypasses the store."""

    def read(self, key: str) -> JSON | None: ...

    def write(self, key: str, value: JSON) -> None: ...


def exactly(value: JSON) -> bytes:
    """A comparable form that tells ``1``, ``1.0`` and ``True`` apart."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def content(store: KVStore, prefix: str = "", **page: Any) -> dict[str, JSON]:
    """The result of a scan; asserts that it is in order and without duplicates."""
    found = list(store.scan(prefix, **page))
    keys = [key for key, _ in found]
    assert keys == sorted(set(keys))
    return dict(found)
