"""A wrong configuration: one message with file, key, what was found and what is allowed; and nothing else happens."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from expops_prefect import EXPOPS, flow, task
from expops_prefect.config import load_settings
from expops_prefect.errors import ConfigurationError
from tests.config.support import make_project, settings_of

DURATION = ["a duration such as 30d, 12h, 90s", "above 0"]
FILE = "configs/project_config.yaml"


@dataclass(frozen=True)
class Wrong:
    config: str | bytes
    key: str
    """The key or place in the file."""
    says: list[str]
    """What was found and what is allowed."""
    environ: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.config!r:.60}{self.environ or ''}"


def cache(text: str) -> str:
    return f"prefect: {{cache: {{{text}}}}}"


def record(text: str) -> str:
    return f"prefect: {{record: {{{text}}}}}"


def backend(text: str, place: str = "experiment: {cache: {backend: %s}}") -> str:
    return place % text


def objects(text: str) -> str:
    return backend(text, "experiment: {cache: {object_store: %s}}")


WRONG = [
    # Backends
    Wrong(
        backend("{type: mongo}"), "experiment.cache.backend.type", ["'mongo'", "firestore, gcp, local, redis, sqlite"]
    ),
    Wrong(backend("{type: redis, hots: a}"), "experiment.cache.backend.hots", ["'a'", "host, port, db"]),
    Wrong(backend("{type: redis, port: 70000}"), "experiment.cache.backend.port", ["70000", "65535"]),
    Wrong(backend("{type: redis, db: x}"), "experiment.cache.backend.db", ["'x'", "a number"]),
    Wrong(backend("{type: redis, tls: maybe}"), "experiment.cache.backend.tls", ["'maybe'", "true, false"]),
    Wrong(backend("{type: redis, service: a}"), "experiment.cache.backend.service", ["together with sentinels"]),
    Wrong(backend("{type: redis, sentinels: [a]}"), "experiment.cache.backend.sentinels", ["a list of host:port"]),
    Wrong(backend("{type: redis}"), "MLOPS_REDIS_PORT", ["'x'", "a number"], {"MLOPS_REDIS_PORT": "x"}),
    Wrong(backend("{type: 3}"), "experiment.cache.backend.type", ["3", "text"]),
    Wrong(backend("mongo"), "experiment.cache.backend", ["'mongo'", "a mapping"]),
    Wrong(backend("{type: gcp}"), "experiment.cache.backend.gcp_project", ["empty", "Google Cloud project"]),
    Wrong(backend("{type: gcp, gcp_project: ''}"), "experiment.cache.backend.gcp_project", ["empty"]),
    Wrong(backend("{type: gcp, gcp_project: 12}"), "experiment.cache.backend.gcp_project", ["12", "text"]),
    Wrong(
        backend("{type: gcp, gcp_project: My Shop}"), "experiment.cache.backend.gcp_project", ["'My Shop'", "the id"]
    ),
    Wrong(backend("{path: [a]}"), "experiment.cache.backend.path", ["a list", "text"]),
    Wrong(backend("{path: '~nosuchuser/kv'}"), "experiment.cache.backend.path", ["~nosuchuser", "no such user"]),
    Wrong(
        backend("mongo", "experiment: {parameters: {cache: {backend: %s}}}"), "parameters.cache.backend", ["'mongo'"]
    ),
    Wrong(backend("{type: mongo}", "model: {cache: {backend: %s}}"), "model.cache.backend.type", ["'mongo'"]),
    Wrong("experiment: {cache: [1]}", "experiment.cache", ["a list", "a mapping"]),
    Wrong("experiment: digits", "experiment", ["'digits'", "a mapping"]),
    Wrong("experiment: {cache: {object_store: {type: s4}}}", "object_store.type", ["'s4'", "azure, gcs, local, s3"]),
    Wrong(objects("{type: s3}"), "object_store.bucket", ["empty", "the name of a bucket alone"]),
    Wrong(objects("{type: s3, bucket: s3://shop}"), "object_store.bucket", ["'s3://shop'"]),
    Wrong(objects("{type: s3, bucket: shop, buckets: a}"), "object_store.buckets", ["'a'", "bucket, region, profile"]),
    Wrong(objects("{type: s3, bucket: shop, region: 'Eu West'}"), "object_store.region", ["'Eu West'", "eu-west-1"]),
    Wrong(objects("{type: s3, bucket: shop, prefix: ../a}"), "object_store.prefix", ["'../a'", "folders"]),
    Wrong(objects("{type: s3, bucket: shop, endpoint: minio}"), "object_store.endpoint", ["'minio'", "a URL"]),
    Wrong(objects("{type: s3, bucket: shop}"), "AWS_REGION", ["'Eu West'"], {"AWS_REGION": "Eu West"}),
    Wrong(objects("{type: azure}"), "object_store.account", ["empty", "AZURE_STORAGE_CONNECTION_STRING"]),
    Wrong(objects("{type: azure, account: shop}"), "object_store.container", ["empty", "the name of a container"]),
    Wrong(objects("{type: azure, account: A, container: a}"), "object_store.account", ["'A'", "a storage account"]),
    Wrong(objects("{type: azure, account: shop, container: a--b}"), "object_store.container", ["'a--b'"]),
    Wrong("experiment: {cache: {object_store: {type: gcs}}}", "object_store.bucket", ["empty", "MLOPS_GCS_BUCKET"]),
    Wrong("experiment: {cache: {object_store: {type: gcs, bucket: 12}}}", "object_store.bucket", ["12", "text"]),
    Wrong("experiment: {cache: {object_store: {type: gcs, bucket: gs://b}}}", "object_store.bucket", ["alone"]),
    # The pipeline and the data
    Wrong("experiment: {pipeline: {processes: train}}", "experiment.pipeline.processes", ["'train'", "a list"]),
    Wrong("experiment: {pipeline: {processes: [train]}}", "pipeline.processes[0]", ["'train'", "a mapping"]),
    Wrong("experiment: {pipeline: {processes: [{nam: x}]}}", "pipeline.processes[0].name", ["missing"]),
    Wrong("experiment: {pipeline: {processes: [{name: ''}]}}", "pipeline.processes[0].name", ["''"]),
    Wrong("experiment: {pipeline: {processes: [{name: a, parameters: [1]}]}}", "processes[0].parameters", ["a list"]),
    Wrong("experiment: {parameters: {pipeline: {processes: [1]}}}", "parameters.pipeline.processes[0]", ["1"]),
    Wrong("experiment: {pipeline: {process_adjlist: [a]}}", "pipeline.process_adjlist", ["a list", "text"]),
    Wrong("data: {path: 3}", "data.path", ["3", "text"]),
    Wrong("data: {hash: {path: 3}}", "data.hash.path", ["3", "text"]),
    Wrong("scripts: [a.py]", "scripts", ["a list", "a mapping"]),
    Wrong("reproducibility: 7", "reproducibility", ["7", "a mapping"]),
    # Ours
    Wrong("prefect: 3", "prefect", ["3", "a mapping"]),
    Wrong("prefect: {cach: {}}", "prefect.cach", ["did you mean 'cache'?", "cache, project_id, record, runtime_dir"]),
    Wrong("prefect: {cache: {tll: 3d}}", "prefect.cache.tll", ["did you mean 'ttl'?", "spill_bytes"]),
    Wrong("prefect: {record: {flush: 3}}", "prefect.record.flush", ["not a known key", "flush_seconds"]),
    Wrong(cache("processes: {train: {tll: 3d}}"), "processes.train.tll", ["did you mean 'ttl'?", "enabled, ttl"]),
    Wrong(cache("processes: {int: {enabled: 3}}"), "processes.int.enabled", ["3", "true or false"]),
    Wrong(cache("processes: [train]"), "prefect.cache.processes", ["a list", "a mapping"]),
    Wrong(cache("processes: {train: off}"), "prefect.cache.processes.train", ["false", "a mapping"]),
    Wrong(cache("processes: {1: {}}"), "prefect.cache.processes", ["the key 1", "text"]),
    Wrong(cache("enabled: 1"), "prefect.cache.enabled", ["1", "true or false"]),
    Wrong(cache("enabled: 'yes'"), "prefect.cache.enabled", ["'yes'", "true or false"]),
    Wrong(cache("enabled: "), "prefect.cache.enabled", ["empty", "true or false"]),
    Wrong(cache("spill_bytes: true"), "prefect.cache.spill_bytes", ["true", "a whole number"]),
    Wrong(cache("spill_bytes: 1.5"), "prefect.cache.spill_bytes", ["1.5", "a whole number"]),
    Wrong(cache("spill_bytes: 1k"), "prefect.cache.spill_bytes", ["'1k'", "a whole number"]),
    Wrong(cache("spill_bytes: 0"), "prefect.cache.spill_bytes", ["0", "1"]),
    Wrong(cache("mmap: 1"), "prefect.cache.mmap", ["1", "true, readonly or false"]),
    Wrong(cache("mmap: maybe"), "prefect.cache.mmap", ["'maybe'", "true, readonly or false"]),
    Wrong(cache("verify: never"), "prefect.cache.verify", ["'never'", "'auto' or 'always'"]),
    Wrong(cache("lease_seconds: true"), "prefect.cache.lease_seconds", ["true", "a number"]),
    Wrong(record("flush_seconds: fast"), "prefect.record.flush_seconds", ["'fast'", "a number"]),
    Wrong(record("flush_seconds: -1"), "prefect.record.flush_seconds", ["-1", "greater than 0"]),
    Wrong(record("flush_seconds: .inf"), "prefect.record.flush_seconds", ["inf", "a number"]),
    Wrong(record("flush_seconds: .nan"), "prefect.record.flush_seconds", ["nan", "a number"]),
    Wrong(record("flush_seconds: 1" + "0" * 30), "prefect.record.flush_seconds", ["less than or equal to"]),
    *(
        Wrong(cache(f"ttl: {ttl}"), "prefect.cache.ttl", [found, *DURATION])
        for ttl, found in (
            ("-3d", "'-3d'"),
            ("-3", "-3"),
            ("0", "0"),
            ("0d", "'0d'"),
            ("0.0000001", "1e-07"),
            ("3 fortnights", "'3 fortnights'"),
            ("3d4h", "'3d4h'"),
            ("d", "'d'"),
            ("true", "true"),
            ("[3d]", "a list"),
            (".inf", "inf"),
            (".nan", "nan"),
            ("99999999999d", "'99999999999d'"),
            ("9" * 400, "99"),
            ("2024-01-01", "date"),
            ("'٣d'", "'٣d'"),
        )
    ),
    Wrong("prefect: {project_id: 12}", "prefect.project_id", ["12", "text"]),
    Wrong("prefect: {runtime_dir: 12}", "prefect.runtime_dir", ["12", "text"]),
    Wrong('prefect: {runtime_dir: "a\\0b"}', "prefect.runtime_dir", ["a path"]),
    Wrong("prefect: {1: 2}", "prefect", ["the key 1"]),
    # The file itself
    Wrong("a: [", "line 1, column 5", ["not YAML"]),
    Wrong("a: b: c", "line 1, column 5", ["not YAML"]),
    Wrong("a:\n\t- 1", "line 2, column 1", ["not YAML"]),
    Wrong("a: *nowhere", "line 1, column 4", ["not YAML", "nowhere"]),
    Wrong("a: !!python/object/apply:os.getcwd []", "line 1, column 4", ["not YAML"]),
    Wrong("a: 2024-13-45", "not YAML", ["month"]),
    Wrong("a: !!bool maybe", "not YAML", ["maybe"]),
    Wrong("a: \x01", "not YAML", ["#x0001"]),
    Wrong("a: 1\n---\nb: 2", "not YAML", ["expected a single document"]),
    Wrong("a: " + "[" * 1200, "nested too deeply", []),
    Wrong("- 1", "the file holds a list", ["'prefect:'"]),
    Wrong("just text", "the file holds a value of type str", ["'prefect:'"]),
    Wrong("1: 2", "the file has the key 1", ["text"]),
    Wrong("a: 1\nb: 2\na: 3", "line 3, column 1", ["'a' occurs twice"]),
    Wrong("prefect:\n  cache: {ttl: 1d,\n    ttl: 2d}", "line 3, column 5", ["'ttl' occurs twice"]),
    Wrong(b"a: caf\xe9", "not UTF-8", ["byte 6 is 0xe9"]),
    Wrong("a: x".encode("utf-16"), "not UTF-8", ["save the file as UTF-8"]),
    # The environment
    Wrong("", "MLOPS_KV_BACKEND", ["'mongo'", "firestore, gcp, local, redis, sqlite"], {"MLOPS_KV_BACKEND": "mongo"}),
    Wrong("", "experiment.cache.backend.gcp_project", ["GOOGLE_CLOUD_PROJECT"], {"MLOPS_KV_BACKEND": "gcp"}),
    Wrong("", "EXPOPS_RUNTIME_DIR", ["no such user"], {"EXPOPS_RUNTIME_DIR": "~nosuchuser/x"}),
    Wrong("", "MLOPS_KV_PATH", ["no such user"], {"MLOPS_KV_PATH": "~nosuchuser/x"}),
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_one_clear_message(tmp_path: Path, wrong: Wrong) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(tmp_path / "shop", wrong.config, wrong.environ)
    message = str(caught.value)
    place = "the environment: " if wrong.key.isupper() else f"{tmp_path / 'shop' / FILE}: "
    assert message.startswith(place)
    assert wrong.key in message
    assert all(part in message for part in wrong.says), message
    assert message.isprintable(), "one line"
    assert len(message) < 600
    assert "Input should be" not in message


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(tmp_path / "shop", "{prefect: {cache: {ttl: x, enabld: 1}}, data: {path: 3}}")
    assert all(key in str(caught.value) for key in ("prefect.cache.ttl", "prefect.cache.enabld", "data.path"))


def test_what_stands_in_the_files_place_must_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder" / FILE).mkdir(parents=True)
    (tmp_path / "link" / "configs").mkdir(parents=True)
    (tmp_path / "link" / FILE).symlink_to(tmp_path / "nowhere.yaml")
    for name in ("folder", "link"):
        with pytest.raises(ConfigurationError, match=rf"{name}/configs/project_config\.yaml: cannot be read: .*a file"):
            load_settings(tmp_path / name, environ={})


def test_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    make_project(tmp_path / "real", "prefect: {project_id: linked}")
    (tmp_path / "shop" / "configs").mkdir(parents=True)
    (tmp_path / "shop" / FILE).symlink_to(tmp_path / "real" / FILE)
    assert load_settings(tmp_path / "shop", environ={}).project_id == "linked"


SECRET = "hunter2-is-the-secret"


@pytest.mark.parametrize(
    "config",
    [
        f'firebase_api_key: "{SECRET}',
        f"experiment: {{cache: {{backend: {{credentials_json: {{private_key: {SECRET}}}}}}}}}",
        f"experiment: {{cache: {{backend: {{firebase_api_key: [{SECRET}]}}}}}}",
        f"experiment: {{cache: {{backend: [firebase_api_key: {SECRET}]}}}}",
        f"experiment: {{cache: {{backend: {{type: gcp, firebase_api_key: {SECRET}}}}}}}",
        f"prefect: {{cache: {{signing_key_file: {{{SECRET}: x}}}}}}",
        f"a: 1\nfirebase_api_key: {SECRET}\na: 2",
    ],
)
def test_no_message_shows_a_secret(tmp_path: Path, config: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(tmp_path / "shop", config)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert SECRET not in str(chain)
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


# In a flow ---------------------------------------------------------------------------------------


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    "wrong",
    [
        Wrong(backend("{type: mongo}"), "experiment.cache.backend.type", []),
        Wrong(backend("{type: gcp}"), "gcp_project", []),
        Wrong("experiment: {cache: {object_store: {type: gcs, bucket: 12}}}", "object_store.bucket", []),
        Wrong("prefect: {cach: {}}", "prefect.cach", []),
        Wrong("a: [", "not YAML", []),
        Wrong("- 1", "a list", []),
        Wrong("", "EXPOPS_PROJECT_ROOT", [], {"EXPOPS_PROJECT_ROOT": "/does/not/exist"}),
        Wrong("", "MLOPS_KV_BACKEND", [], {"MLOPS_KV_BACKEND": "mongo"}),
    ],
    ids=str,
)
def test_a_flow_fails_before_its_first_task_and_nothing_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Wrong
) -> None:
    executed = []
    root = make_project(tmp_path / "shop", wrong.config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(root))
    for name, value in wrong.environ.items():
        monkeypatch.setenv(name, value)
    before = files(tmp_path)

    @task
    def work(number: int) -> int:
        executed.append(number)
        return number

    @flow
    def main() -> int:
        executed.append(0)
        return work(1)

    with pytest.raises(ConfigurationError, match=wrong.key):
        main()
    assert executed == []
    assert files(tmp_path) == before


@pytest.mark.usefixtures("prefect_server")
def test_a_bare_policy_says_it_once_runs_uncached_and_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from prefect import flow as plain_flow
    from prefect import task as plain_task

    executed = []
    root = make_project(tmp_path / "shop", backend("{type: mongo}"))
    monkeypatch.setenv("EXPOPS_PROJECT_ROOT", str(root))
    before = files(tmp_path)

    @plain_task(cache_policy=EXPOPS)
    def work(number: int) -> int:
        executed.append(number)
        return number

    @plain_flow
    def main() -> int:
        return work(1) + work(1)

    with caplog.at_level(logging.INFO, "prefect.expops"):
        assert main() == 2
    assert executed == [1, 1]
    errors = [record.getMessage() for record in caplog.records if record.name == "prefect.expops"]
    assert len(errors) == 1
    assert "'mongo'" in errors[0]
    assert "uncached" in errors[0]
    assert files(tmp_path) == before
