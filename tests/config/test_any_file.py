"""Whatever a file or the environment holds: settings, or one ConfigurationError."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from expops_prefect.errors import ConfigurationError
from tests.config.support import settings_of

FULL: dict[str, Any] = {
    "metadata": {"name": "x"},
    "scripts": {"train": "train.py"},
    "environment": {"venv": {}},
    "reproducibility": {"random_seed": 1},
    "data": {"path": "a.csv", "hash": {"path": "b.csv"}},
    "model": {"cache": {"backend": {"type": "local"}, "object_store": {"type": "local"}}},
    "experiment": {
        "cache": {
            "backend": {
                "type": "gcp",
                "path": "kv.sqlite",
                "db_path": "kv.sqlite",
                "gcp_project": "g",
                "credentials_json": "k.json",
                "emulator_host": "127.0.0.1:1",
                "firebase_api_key": "web",
                "firebase_api_key_file": "web.txt",
            },
            "object_store": {"type": "gcs", "bucket": "b"},
        },
        "pipeline": {"process_adjlist": "a b", "processes": [{"name": "a", "parameters": {"x": 1}}, {"name": "b"}]},
        "parameters": {
            "cache": {"backend": {"type": "sqlite"}, "object_store": {"type": "gcs", "bucket": "c"}},
            "pipeline": {"process_adjlist": "a b", "processes": [{"name": "c", "hyperparameters": {"y": 1}}]},
        },
    },
    "prefect": {
        "project_id": "p",
        "runtime_dir": "r",
        "cache": {
            "enabled": True,
            "ttl": "3d",
            "mmap": "readonly",
            "verify": "auto",
            "spill_bytes": 10,
            "lease_seconds": 1.5,
            "signing_key_file": None,
            "effects": {"acme.fetch": "network"},
            "processes": {"a": {"enabled": True, "ttl": 3}},
        },
        "record": {"enabled": True, "flush_seconds": 1, "final_flush_seconds": 2, "artifacts": False},
    },
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a tree."""
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = enumerate(value)
    return [path, *(found for key, item in inside for found in places(item, (*path, key)))]


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=4)
    | st.dates()
    | st.datetimes()
    | st.sampled_from(["local", "gcp", "gcs", "~x/y", "a\0b", "3d", "99999999999w", "on", 10**400, "a b", "", "."])
)
keys = st.sampled_from(["type", "cache", "ttl", "name", "processes", "backend", "a"]) | scalars
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=6
)


@st.composite
def configurations(draw: st.DrawFn) -> Any:
    """A full configuration with one to three places replaced, removed or grown by anything."""
    tree: Any = copy.deepcopy(FULL)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(tree)))
        if not path:
            return draw(trees)
        holder = tree
        for step in path[:-1]:
            holder = holder[step]
        action = draw(st.sampled_from(["replace", "remove", "grow"]))
        if action == "replace":
            holder[path[-1]] = draw(trees)
        elif action == "remove":
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(keys)] = draw(trees)
    return tree


environments = st.dictionaries(
    st.sampled_from(
        [
            *("EXPOPS_PROJECT_ID", "EXPOPS_RUNTIME_DIR", "MLOPS_KV_BACKEND", "MLOPS_KV_PATH", "MLOPS_GCS_BUCKET"),
            *("GOOGLE_CLOUD_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS", "FIRESTORE_EMULATOR_HOST", "FIREBASE_API_KEY"),
        ]
    ),
    st.sampled_from(["local", "gcp", "", "~", "~x/y", "shop"]) | st.text(max_size=8),
    max_size=3,
)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(root: Path, config: bytes, environ: dict[str, str]) -> bool:
    """Read it; whether it was accepted."""
    try:
        found = settings_of(root, config, environ)
    except ConfigurationError as error:
        message = str(error)
    else:
        assert all(path.is_absolute() for path in (found.root, found.runtime_dir))
        return True
    assert message.startswith((str(root / "configs" / "project_config.yaml"), "the environment: "))
    assert len(message) < 4000
    return False


@many
@given(configurations(), environments)
def test_any_tree(tmp_path: Path, tree: Any, environ: dict[str, str]) -> None:
    check(tmp_path / "shop", yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"), environ)


@many
@given(st.text(st.sampled_from("ab:-?[]{},&*!|>'\"%@`#\n\t 0123456789.~<=e\x00é"), max_size=40).map(str.encode))
@example(b"a: !!int ''")
@example(b"a: !!timestamp x")
@example(b"a: !!float x")
@example(b"a: =")
@example(b"a: 0b_")
@example(b"a: " + b"9" * 5000)
@example(b"? {a: b}\n: c")
@example(b"<<: 3")
@example(b"a: &a {<<: *a}")
@example(b"prefect: &a {cache: *a}")
@example(b"experiment: &a {cache: *a, pipeline: *a, parameters: *a}")
@example(b"{? [], ? []}")
def test_any_text(tmp_path: Path, text: bytes) -> None:
    check(tmp_path / "shop", text, {})


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40))
def test_any_bytes(tmp_path: Path, content: bytes) -> None:
    check(tmp_path / "shop", content, {})


def test_the_configuration_that_is_changed_is_accepted(tmp_path: Path) -> None:
    assert check(tmp_path / "shop", yaml.safe_dump(FULL).encode(), {})


def not_read(place: tuple[Any, ...], value: Any) -> bool:
    """Whether anything may stand in a place of the full configuration."""
    section, key = place[0], place[-1]
    if section in ("metadata", "environment") or (section in ("scripts", "reproducibility") and len(place) > 1):
        return True
    if key in ("parameters", "hyperparameters") and "processes" in place:
        return isinstance(value, dict)
    return key in ("x", "y") or (place == ("model",) and not isinstance(value, dict))


@pytest.mark.parametrize("value", [["a list"], {1: {"a": []}}], ids=["list", "mapping"])
def test_a_list_or_a_mapping_where_something_else_is_read(tmp_path: Path, value: Any) -> None:
    for place in places(FULL):
        if not place or isinstance(place[-1], int):
            continue
        tree = copy.deepcopy(FULL)
        holder = tree
        for step in place[:-1]:
            holder = holder[step]
        holder[place[-1]] = value
        assert check(tmp_path / "shop", yaml.safe_dump(tree).encode(), {}) == not_read(place, value), place
