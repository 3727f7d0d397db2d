"""``init`` and ``doctor``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from expops_prefect.config import load_settings
from tests.cli.conftest import Command
from tests.config.support import make_project

CONFIG = Path("configs") / "project_config.yaml"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "churn").mkdir()
    monkeypatch.chdir(tmp_path / "churn")


# init --------------------------------------------------------------------------------------------


def test_init_writes_a_configuration_that_is_accepted(cli: Command, tmp_path: Path) -> None:
    done = cli("init")
    assert (done.code, done.err) == (0, "")
    assert done.lines[0] == f"wrote {tmp_path / 'churn' / CONFIG}"
    assert "expops-prefect doctor" in done.lines[1]
    settings = load_settings(tmp_path / "churn", environ={})
    assert (settings.project_id, settings.kv.kind, settings.objects.kind) == ("churn", "local", "local")
    assert settings.runtime_dir == tmp_path / "churn" / ".churn"


def test_every_line_that_is_commented_out_is_accepted_too(cli: Command, tmp_path: Path) -> None:
    cli("init")
    lines = CONFIG.read_text().splitlines()
    chosen = [line for line in lines if not line.lstrip().startswith(("# type: gcp", "# type: redis", "# host"))]
    sections = [line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in chosen]
    prose = ("ExpOps' project", "Part of every", "A data file", "The graph that", "key of its own")
    made = [line for line in sections if not line.lstrip().startswith(prose)]
    CONFIG.write_text("\n".join(made))
    settings = load_settings(tmp_path / "churn", environ={})
    assert settings.reproducibility == {"random_seed": 42}
    assert settings.data_path == tmp_path / "churn" / "data" / "train.csv"
    assert settings.objects.kind == "gcs"
    assert settings.process_parameters("train") == {"learning_rate": 0.1}
    assert settings.runtime_dir == Path("/srv/expops/churn")
    assert settings.cache.ttl is not None
    assert not settings.cache.enabled_for("train")


@pytest.mark.parametrize("kv", ["local", "gcp", "redis"])
@pytest.mark.parametrize("objects", ["local", "gcs", "s3", "azure"])
def test_init_with_stores(cli: Command, tmp_path: Path, kv: str, objects: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("expops_prefect.cli.init.find_spec", lambda name: None)
    done = cli("init", "--kv", kv, "--objects", objects)
    assert (done.code, done.err) == (0, "")
    settings = load_settings(tmp_path / "churn", environ={})
    assert (settings.kv.kind, settings.objects.kind) == (kv, objects)
    extras = ",".join(each for each in (kv, objects) if each in ("redis", "s3", "azure"))
    assert (f"next: pip install 'expops-prefect[{extras}]'" in done.lines) == bool(extras)


def test_init_never_overwrites(cli: Command) -> None:
    CONFIG.parent.mkdir()
    CONFIG.write_text("mine: true\n")
    done = cli("init")
    assert (done.code, done.out) == (1, "")
    assert done.err.endswith("already exists and was not changed; edit it, or remove it first\n")
    assert CONFIG.read_text() == "mine: true\n"
    CONFIG.unlink()
    CONFIG.symlink_to("nowhere.yaml")
    assert cli("init").code == 1
    assert CONFIG.is_symlink()


@pytest.mark.parametrize("name", ["2024", "true", "1e5", "2024-01-01", "my flows", "проект", "null", "0x1f", "a: b"])
def test_init_in_a_folder_of_any_name(cli: Command, tmp_path: Path, name: str) -> None:
    assert cli("init", "--project", tmp_path / name).code == 0
    assert load_settings(tmp_path / name, environ={}).project_id


def test_init_elsewhere(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli("init", "--project", "~/new/shop", "--json").json() == {
        "written": str(tmp_path / "new" / "shop" / CONFIG),
        "project_id": "shop",
    }
    (tmp_path / "file").touch()
    done = cli("init", "--project", tmp_path / "file")
    assert (done.code, done.out) == (1, "")
    assert (
        done.err == f"{tmp_path / 'file' / CONFIG} cannot be written: Not a directory; choose a folder with --project\n"
    )


# doctor ------------------------------------------------------------------------------------------

CHECKS = ["prefect", "fastapi", "expops", "configuration", "caching", "KV store", "object store"]


def verdicts(cli: Command, *arguments: object, code: int = 0) -> list[tuple[str, str, str]]:
    printed = cli("doctor", *arguments, "--json")
    assert printed.code == code, printed
    checks = printed.json()
    assert all(set(check) == {"name", "verdict", "found", "advice"} for check in checks)
    return [(check["name"], check["verdict"], check["found"]) for check in checks]


def test_doctor_finds_nothing_wrong(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPOPS_RUNTIME_DIR", str(tmp_path / "lasting"))
    cli("init")
    printed = cli("doctor")
    assert (printed.code, printed.err) == (0, "")
    assert [line.split()[0] for line in printed.lines] == ["check", *(name.split()[0] for name in CHECKS)]
    assert all("  ok  " in line for line in printed.lines[1:])
    found = verdicts(cli)
    assert [name for name, _, _ in found] == [
        "prefect",
        "fastapi",
        "expops",
        "configuration",
        "caching",
        "KV store",
        "object store",
    ]
    assert {verdict for _, verdict, _ in found} == {"ok"}
    assert found[0][2] == f"prefect {version('prefect')}"
    assert str(tmp_path / "churn" / CONFIG) in found[3][2]
    assert str(tmp_path / "lasting" / "churn" / "metrics.sqlite") in found[5][2]
    assert "'churn'" in found[3][2]
    lasting = [path.name for path in (tmp_path / "lasting" / "churn").iterdir()]
    assert [name for name in lasting if not name.startswith("metrics.sqlite")] == [".gitignore"], "no test entry"


def test_doctor_without_a_configuration(cli: Command) -> None:
    printed = cli("doctor")
    assert printed.code == 0
    assert any("to do: run: expops-prefect init" in line for line in printed.lines)


def test_doctor_names_what_is_wrong_in_the_configuration(cli: Command, tmp_path: Path) -> None:
    root = make_project(tmp_path / "shop", "prefect: {cach: {}}")
    (wrong,) = [found for name, verdict, found in verdicts(cli, "--project", root, code=1) if verdict == "failed"]
    assert wrong.startswith(f"{root / CONFIG}: prefect.cach is not a known key; did you mean 'cache'?")
    printed = cli("doctor", "--project", root)
    assert printed.code == 1
    assert wrong in printed.out, "whole, in one line"
    assert "correct it" in printed.out
    missing = verdicts(cli, "--project", tmp_path / "nowhere", code=1)
    assert f"{tmp_path / 'nowhere'}, which is not a folder" in missing[-1][2]


def test_doctor_misses_the_data(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPOPS_RUNTIME_DIR", str(tmp_path / "lasting"))
    root = make_project(tmp_path / "shop", "data: {path: data/trian.csv}")
    (warning,) = [found for name, verdict, found in verdicts(cli, "--project", root) if verdict == "warning"]
    assert warning == f"{root / 'data' / 'trian.csv'} (data.path) does not exist"
    (root / "data").mkdir()
    (root / "data" / "trian.csv").touch()
    assert {verdict for _, verdict, _ in verdicts(cli, "--project", root)} == {"ok"}


def test_doctor_finds_backends_that_cannot_be_written(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    (root / ".shop").write_text("a file in the runtime folder's place")
    found = {name: (verdict, found) for name, verdict, found in verdicts(cli, "--project", root, code=1)}
    assert found["KV store"][0] == found["object store"][0] == "failed"
    assert str(root / ".shop") in found["KV store"][1]
    assert "EXPOPS_RUNTIME_DIR" in found["KV store"][1]
    assert ".shop" in found["object store"][1]

    monkeypatch.setenv("EXPOPS_RUNTIME_DIR", str(tmp_path / "lasting"))
    assert cli("doctor", "--project", root).code == 0
    monkeypatch.setenv("MLOPS_KV_PATH", "/dev/null/kv.sqlite")
    found = {name: (verdict, found) for name, verdict, found in verdicts(cli, "--project", root, code=1)}
    assert (found["KV store"][0], found["object store"][0]) == ("failed", "ok")
    assert "MLOPS_KV_PATH" in found["KV store"][1]


def test_doctor_warns_when_expops_server_would_look_elsewhere(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPOPS_RUNTIME_DIR", str(tmp_path / "lasting"))
    gcp = "experiment: {cache: {backend: {type: gcp, gcp_project: g}}}"
    root = make_project(tmp_path / "shop", gcp)
    monkeypatch.setenv("MLOPS_KV_BACKEND", "sqlite")
    (warning,) = [found for name, verdict, found in verdicts(cli, "--project", root) if verdict == "warning"]
    assert warning == "MLOPS_KV_BACKEND chooses local, the configuration says gcp"
    make_project(root, "experiment: {cache: {backend: {type: local}}}")
    assert {verdict for _, verdict, _ in verdicts(cli, "--project", root)} == {"ok"}, "another name for the same"


def test_doctor_shows_no_secret(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hunter2-is-the-secret"
    keys = tmp_path / "keys.json"
    keys.write_text(f'{{"private_key": "{secret}"}}')
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(keys))
    monkeypatch.setenv("FIREBASE_API_KEY", secret)
    for backend in (
        f"{{type: local, firebase_api_key: {secret}}}",
        f"{{type: mongo, firebase_api_key: {secret}}}",
        f"{{type: redis, port: 1, password: {secret}}}",
        f"{{type: redis, port: x, password: {secret}}}",
        f"{{type: redis, password: [{secret}]}}",
        f"{{type: local, credentials_json: {{private_key: {secret}}}}}",
        f"{{firebase_api_key: {secret}, firebase_api_key: {secret}}}",
    ):
        root = make_project(tmp_path / "shop", f"experiment: {{cache: {{backend: {backend}}}}}")
        for arguments in (["doctor"], ["doctor", "--json"], ["runs", "list"]):
            printed = cli(*arguments, "--project", root)
            assert secret not in printed.out + printed.err


@pytest.mark.parametrize(
    ("name", "found", "verdict"),
    [
        ("prefect", "3.7.9", "failed"),
        ("prefect", "3.8.0", "ok"),
        ("prefect", "3.12.1rc1", "ok"),
        ("prefect", "4.0.0", "failed"),
        ("prefect", None, "failed"),
        ("fastapi", "0.150.9", "ok"),
        ("fastapi", "0.151.0", "failed"),
        ("fastapi", "1.0", "failed"),
        ("expops", None, "ok"),
    ],
)
def test_doctor_judges_versions(
    cli: Command, monkeypatch: pytest.MonkeyPatch, name: str, found: str | None, verdict: str
) -> None:
    def installed(asked: str) -> str:
        if asked != name:
            return version(asked)
        if found is None:
            raise PackageNotFoundError(asked)
        return found

    monkeypatch.setattr("expops_prefect.cli.doctor.version", installed)
    (check,) = [item for item in cli("doctor", "--json").json() if item["name"] == name]
    assert check["verdict"] == verdict
    assert check["found"] == (f"{name} {found}" if found and name != "expops" else "not installed")
    assert ("pip install" in check["advice"]) == (verdict == "failed" or name == "expops")
