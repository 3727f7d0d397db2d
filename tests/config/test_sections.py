"""What is read from ExpOps' sections and from ours, in today's places and in older ones."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from expops_prefect.config import server_environment
from expops_prefect.stores.kv.firestore.settings import FirestoreSettings
from expops_prefect.stores.kv.sqlite.settings import SQLiteSettings
from expops_prefect.stores.objects.gcs.settings import GCSSettings
from expops_prefect.stores.objects.local.settings import LocalObjectSettings
from tests.config.support import settings_of

CACHE = "{backend: {type: gcp, gcp_project: g, credentials_json: keys/k.json}, object_store: {type: gcs, bucket: b}}"
PIPELINE = "{process_adjlist: 'load train', processes: [{name: load}, {name: train, hyperparameters: {rate: 0.5}}]}"


@pytest.mark.parametrize(
    "config",
    [
        f"experiment: {{cache: {CACHE}}}",
        f"experiment: {{parameters: {{cache: {CACHE}}}}}",
        f"model: {{cache: {CACHE}}}",
        f"experiment: {{cache: {CACHE}, parameters: {{cache: {{backend: {{type: local}}}}}}}}",
        f"{{experiment: {{cache: {CACHE}}}, model: {{cache: {{backend: {{type: local}}}}}}}}",
        f"{{experiment: {{parameters: {{cache: {CACHE}}}}}, model: {{cache: {{backend: {{type: local}}}}}}}}",
    ],
)
def test_places_of_the_cache_section(tmp_path: Path, config: str) -> None:
    settings = settings_of(tmp_path / "shop", config)
    credentials = tmp_path / "shop" / "keys" / "k.json"
    assert settings.kv == FirestoreSettings(gcp_project="g", credentials_json=credentials)
    assert settings.objects == GCSSettings(bucket="b", gcp_project="g", credentials_json=credentials)
    assert settings.configured_kv_kind == "gcp"


@pytest.mark.parametrize(
    "config",
    [
        f"experiment: {{pipeline: {PIPELINE}}}",
        f"experiment: {{parameters: {{pipeline: {PIPELINE}}}}}",
        f"experiment: {{pipeline: {PIPELINE}, parameters: {{pipeline: {{processes: []}}}}}}",
    ],
)
def test_places_of_the_pipeline(tmp_path: Path, config: str) -> None:
    settings = settings_of(tmp_path / "shop", config)
    assert settings.process_adjlist == "load train"
    assert settings.processes == {
        "load": {"name": "load"},
        "train": {"name": "train", "hyperparameters": {"rate": 0.5}},
    }


def test_places_of_the_data_file(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    assert settings_of(root, "data: {path: d/train.csv}").data_path == root / "d" / "train.csv"
    assert settings_of(root, "data: {hash: {path: d/train.csv}}").data_path == root / "d" / "train.csv"
    assert settings_of(root, "data: {path: a.csv, hash: {path: b.csv}}").data_path == root / "a.csv"
    assert settings_of(root, "data: {path: /srv/a.csv}").data_path == Path("/srv/a.csv")
    assert settings_of(root, "data: {path: ''}").data_path is None
    assert settings_of(root, "data: {source: s3}").data_path is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("local", SQLiteSettings),
        ("sqlite", SQLiteSettings),
        ("gcp", FirestoreSettings),
        ("Firestore", FirestoreSettings),
    ],
)
def test_names_of_the_kv_backends(tmp_path: Path, name: str, kind: type) -> None:
    root, project = tmp_path / "shop", {"GOOGLE_CLOUD_PROJECT": "g"}
    backend = f"experiment: {{cache: {{backend: {{type: {name}}}}}}}"
    assert type(settings_of(root, backend, project).kv) is kind
    assert settings_of(root, backend, project).configured_kv_kind == settings_of(root, backend, project).kv.kind
    assert type(settings_of(root, "", {**project, "MLOPS_KV_BACKEND": name}).kv) is kind


def test_where_the_database_lies(tmp_path: Path) -> None:
    root = tmp_path / "shop"

    def path(backend: str, environ: dict[str, str] | None = None) -> Path:
        kv = settings_of(root, f"experiment: {{cache: {{backend: {backend}}}}}", environ).kv
        assert isinstance(kv, SQLiteSettings)
        return kv.path

    assert path("{}") == root / ".shop" / "metrics.sqlite"
    assert path("{path: db/kv.sqlite}") == root / "db" / "kv.sqlite"
    assert path("{db_path: db/kv.sqlite}") == root / "db" / "kv.sqlite"
    assert path("{path: a.sqlite, db_path: b.sqlite}") == root / "a.sqlite"
    assert path("{path: a.sqlite}", {"MLOPS_KV_PATH": "c.sqlite"}) == root / "c.sqlite"
    assert path("{path: a.sqlite}", {"MLOPS_KV_PATH": "/srv/c.sqlite"}) == Path("/srv/c.sqlite")


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    local = "experiment: {cache: {backend: {type: local}}}"
    cloud = f"experiment: {{cache: {CACHE}}}"
    in_cloud = {"MLOPS_KV_BACKEND": "gcp", "GOOGLE_CLOUD_PROJECT": "from-env"}
    assert settings_of(root, local, in_cloud).kv == FirestoreSettings(gcp_project="from-env")
    assert settings_of(root, local, in_cloud).configured_kv_kind == "local"
    assert settings_of(root, "", in_cloud).configured_kv_kind is None, "the file names none"
    assert settings_of(root, cloud, {"MLOPS_KV_BACKEND": "sqlite"}).kv.kind == "local"
    assert settings_of(root, cloud, {"MLOPS_KV_BACKEND": ""}).kv.kind == "gcp"
    objects = settings_of(root, cloud, {"MLOPS_GCS_BUCKET": "from-env"}).objects
    assert isinstance(objects, GCSSettings)
    assert objects.bucket == "from-env"
    assert settings_of(root, "", {"MLOPS_GCS_BUCKET": "from-env"}).objects == GCSSettings(bucket="from-env")
    chosen = "experiment: {cache: {object_store: {type: local}}}"
    assert settings_of(root, chosen, {"MLOPS_GCS_BUCKET": "b"}).objects == LocalObjectSettings(root=root / ".shop")


def test_what_the_cloud_libraries_know_from_the_environment(tmp_path: Path) -> None:
    cloud = "experiment: {cache: {backend: {type: gcp, gcp_project: g}, object_store: {type: gcs, bucket: b}}}"
    settings = settings_of(
        tmp_path / "shop",
        cloud,
        {
            "GOOGLE_CLOUD_PROJECT": "not-this",
            "GOOGLE_APPLICATION_CREDENTIALS": "/keys/k.json",
            "FIRESTORE_EMULATOR_HOST": "127.0.0.1:1",
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:2",
            "FIREBASE_API_KEY": "web",
        },
    )
    keys = Path("/keys/k.json")
    assert settings.kv == FirestoreSettings(
        gcp_project="g", credentials_json=keys, emulator_host="127.0.0.1:1", firebase_api_key="web"
    )
    assert settings.objects == GCSSettings(
        bucket="b", gcp_project="g", credentials_json=keys, emulator_host="http://127.0.0.1:2"
    )
    assert "web" not in repr(settings), "a settings object may be logged"


def test_the_key_of_the_web_app_as_expops_finds_it(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    environ = {"FIREBASE_API_KEY": "first", "NEXT_PUBLIC_FIREBASE_API_KEY": "second"}
    root.mkdir()
    (root / "key.txt").write_text("from the file\n")
    (root / "empty.txt").write_text("\n")
    found = []
    for backend in (
        {"firebase_api_key": "inline", "firebase_api_key_file": "key.txt"},
        {"firebase_api_key_file": "key.txt"},
        {"firebase_api_key_file": "empty.txt"},
        {"firebase_api_key_file": "gone.txt"},
        {},
    ):
        for given in (environ, {"NEXT_PUBLIC_FIREBASE_API_KEY": "second"}, {}):
            config = json.dumps({"experiment": {"cache": {"backend": {"type": "gcp", "gcp_project": "g", **backend}}}})
            settings = settings_of(root, config, given)
            assert isinstance(settings.kv, FirestoreSettings)
            key = settings.kv.web_api_key()
            found.append(key)
            assert server_environment(settings, tmp_path).get("FIREBASE_API_KEY") == key
    assert found == [*["inline"] * 3, *["from the file"] * 3, *["first", "second", None] * 3]


def test_what_expops_knows_and_we_do_not_is_left_alone(tmp_path: Path) -> None:
    config = """
    metadata: {name: x, 1: [a], tags: {2024-01-01: y}}
    monitoring: {anything: [1, 2, {three: 4}]}
    environment: {venv: {requirements_file: r.txt}}
    model: xgboost
    data: {sources: [{path: x}]}
    experiment:
      name: digits
      parameters: {executor: {dask_config: {n: 2}}}
      cache: {backend: {type: local, prefix: q}, object_store: {prefix: z}, ttl_hours: 3}
      pipeline:
        seeds: [1]
        processes:
          - {name: train, depends_on: [load], parameters: {0: 1.5}, environment: py, data_parallelism: {size: 2}}
    reporting: {charts: []}
    """
    settings = settings_of(tmp_path / "shop", config)
    assert settings.environment == {"venv": {"requirements_file": "r.txt"}}
    assert settings.processes["train"]["depends_on"] == ["load"]
    assert settings.config_part("train")["process"] == {
        "parameters": {0: 1.5},
        "environment": "py",
        "data_parallelism": {"size": 2},
    }, "and what does not change a result is no part of its key"


def test_parameters_of_a_process(tmp_path: Path) -> None:
    config = """
    reproducibility: {random_seed: 3}
    experiment:
      pipeline:
        processes:
          - {name: my train, parameters: {a: 1, b: 1}, hyperparameters: {b: 2, c: 2}}
          - {name: bare, parameters: , hyperparameters: }
    """
    settings = settings_of(tmp_path / "shop", config)
    assert settings.process_parameters("my train") == {"a": 1, "b": 2, "c": 2}
    from expops_prefect.models.names import normalise

    assert settings.process_parameters(normalise("my train")) == {"a": 1, "b": 2, "c": 2}
    assert settings.process_parameters("bare") == settings.process_parameters("unknown") == {}
    assert settings.config_part("unknown") == {"process": {}, "reproducibility": {"random_seed": 3}}


EMPTY = ["", "# nothing\n", "---\n", "---\n...\n", "{}", "null", "\ufeff# with a byte order mark\n"]


@pytest.mark.parametrize("config", EMPTY)
def test_an_empty_file_means_the_defaults(tmp_path: Path, config: str) -> None:
    found, none = settings_of(tmp_path / "a" / "shop", config), settings_of(tmp_path / "b" / "shop", None)
    assert (found.cache, found.record, found.notices) == (none.cache, none.record, ())
    assert found.kv.kind == found.objects.kind == "local"
    assert "project_config.yaml" in none.notices[0]


@pytest.mark.parametrize(
    "section", ["prefect:", "experiment:", "data:", "model:", "reproducibility:", "scripts:", "metadata:"]
)
def test_a_section_whose_lines_are_commented_out(tmp_path: Path, section: str) -> None:
    assert settings_of(tmp_path / "shop", f"{section}\n  # nothing yet\n").project_id == "shop"


def test_our_sections_whose_lines_are_commented_out(tmp_path: Path) -> None:
    config = "prefect:\n  cache:\n  # ttl: 3d\n  record:\n"
    assert settings_of(tmp_path / "shop", config).cache == settings_of(tmp_path / "shop", "").cache
    assert settings_of(tmp_path / "shop", "prefect: {cache: {processes: }}").cache.processes == {}
    assert settings_of(tmp_path / "shop", "prefect: {cache: {processes: {train: }}}").cache.enabled_for("train")


def test_merge_keys_are_no_duplicates(tmp_path: Path) -> None:
    config = """
    base: &base {enabled: true, ttl: 1d}
    long: &long {<<: *base, ttl: 30d}
    prefect: {cache: {processes: {train: {<<: *long, ttl: 7d}, load: *base, split: {<<: [*long, *base]}}}}
    """
    cache = settings_of(tmp_path / "shop", config).cache
    assert {name: cache.ttl_of(name) for name in ("train", "load", "split")} == {
        "train": timedelta(days=7),
        "load": timedelta(days=1),
        "split": timedelta(days=30),
    }


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("1.5d", timedelta(hours=36)),
        ("' 2 d '", timedelta(days=2)),
        ("3600", timedelta(hours=1)),
        ("0.5", timedelta(milliseconds=500)),
        ("null", None),
    ],
)
def test_durations(tmp_path: Path, written: str, length: timedelta | None) -> None:
    assert settings_of(tmp_path / "shop", f"prefect: {{cache: {{ttl: {written}}}}}").cache.ttl == length


def test_a_process_says_more_than_the_whole_cache(tmp_path: Path) -> None:
    config = "prefect: {cache: {ttl: 1d, processes: {my train: {ttl: 2d}, load: {enabled: false}}}}"
    cache = settings_of(tmp_path / "shop", config).cache
    from expops_prefect.models.names import normalise

    assert cache.ttl_of("my train") == cache.ttl_of(normalise("my train")) == timedelta(days=2)
    assert cache.ttl_of("load") == cache.ttl_of("unknown") == timedelta(days=1)
    assert not cache.enabled_for("load")
    assert cache.enabled_for("my train")
    off = "prefect: {cache: {enabled: false, processes: {my train: {enabled: true}, load: {ttl: 1d}}}}"
    some = settings_of(tmp_path / "shop", off).cache
    assert [some.enabled_for(name) for name in ("my train", normalise("my train"), "load", "x")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("key", "written", "value"),
    [
        ("mmap", "true", "copy-on-write"),
        ("mmap", "false", "off"),
        ("mmap", "readonly", "readonly"),
        ("verify", "always", "always"),
        ("none_results", "yes", True),
        ("spill_bytes", "1", 1),
        ("lease_seconds", "2", 2.0),
        ("lease_seconds", "0.25", 0.25),
    ],
)
def test_values_of_our_keys(tmp_path: Path, key: str, written: str, value: Any) -> None:
    settings = settings_of(tmp_path / "shop", f"prefect: {{cache: {{{key}: {written}}}}}")
    assert getattr(settings.cache, key) == value
