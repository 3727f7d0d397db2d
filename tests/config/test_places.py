"""Where a project is, what it is called, and where it keeps what it stores."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from expops_prefect import Project, flow
from expops_prefect.config import find_root, load_settings
from expops_prefect.errors import ConfigurationError
from expops_prefect.models import names
from expops_prefect.stores.kv.sqlite.settings import SQLiteSettings
from expops_prefect.stores.kv.sqlite.store import SQLiteKV
from expops_prefect.stores.objects.local.settings import LocalObjectSettings
from tests.config.support import make_project, settings_of
from tests.support.server import clean_environment


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


# The root ----------------------------------------------------------------------------------------


def test_the_order_in_which_the_root_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, from_environment, of_source, current = (
        make_project(tmp_path / name) for name in ("named", "from_environment", "of_source", "current")
    )
    source = of_source / "pipelines" / "deep" / "flow.py"
    source.parent.mkdir(parents=True)
    (current / "notebooks").mkdir()
    monkeypatch.chdir(current / "notebooks")
    environ = {"EXPOPS_PROJECT_ROOT": str(from_environment)}
    assert find_root(named, source_file=source, environ=environ) == named
    assert find_root(source_file=source, environ=environ) == from_environment
    assert find_root(source_file=source, environ={"EXPOPS_PROJECT_ROOT": ""}) == of_source
    assert find_root(source_file=tmp_path / "elsewhere" / "flow.py", environ={}) == current
    assert find_root(environ={}) == current


def test_the_nearest_project_above_wins(tmp_path: Path) -> None:
    make_project(tmp_path / "outer")
    inner = make_project(tmp_path / "outer" / "libs" / "inner")
    assert find_root(source_file=inner / "src" / "flow.py", environ={}) == inner
    assert find_root(source_file=tmp_path / "outer" / "libs" / "flow.py", environ={}) == tmp_path / "outer"


@pytest.mark.parametrize("mark", [".git", "pyproject.toml"])
def test_without_any_configuration_it_is_the_flows_repository_or_folder(
    tmp_path: Path, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_project(tmp_path / "repo" / "flows" / "deep", None) / "flow.py"
    assert find_root(source_file=source, environ={}) == tmp_path / "empty", "there is no such file"
    source.touch()
    assert find_root(source_file=source, environ={}) == source.parent
    assert find_root(environ={}) == tmp_path / "empty"
    (tmp_path / "repo" / mark).touch()
    assert find_root(source_file=source, environ={}) == tmp_path / "repo"
    for place in ("/", source.parent, source.parent.parent):
        monkeypatch.chdir(place)
        assert find_root(source_file=source, environ={}) == tmp_path / "repo"
    assert find_root(environ={}) == tmp_path / "repo", "in a notebook"
    monkeypatch.chdir(tmp_path / "empty")
    installed = make_project(tmp_path / "repo" / "site-packages", None) / "flow.py"
    installed.touch()
    assert find_root(source_file=installed, environ={}) == tmp_path / "empty"


@pytest.mark.parametrize("init", ["__init__.py", None])
@pytest.mark.parametrize(
    "started", [("-m", "shop.flows.daily"), ("-m", "shop"), ("main.py",), ("-m", "main"), ("shop/flows/daily.py",)]
)
def test_a_package_belongs_to_the_folder_that_it_is_imported_from(
    tmp_path: Path, started: tuple[str, ...], init: str | None
) -> None:
    above = tmp_path / "above"
    flows = above / "shop" / "flows"
    flows.mkdir(parents=True)
    if init is not None:
        (flows / init).touch()
        (flows.parent / init).touch()
    (flows / "daily.py").write_text(
        "from pathlib import Path\n"
        "from expops_prefect.config import find_root\n"  # without Prefect, which takes seconds to import
        "print('ROOT', find_root(source_file=Path(__file__)))\n"
    )
    for program in (above / "main.py", above / "shop" / "__main__.py"):
        program.write_text("import shop.flows.daily")

    def root() -> Path:
        command = [sys.executable, *started]
        ran = subprocess.run(
            command, cwd=above, env=clean_environment(tmp_path / "prefect"), capture_output=True, text=True, check=True
        )
        return Path(ran.stdout.split("ROOT ")[1].strip())

    by_itself = init is None and started[0].endswith("daily.py")
    assert root() == (flows if by_itself else above)
    (tmp_path / ".git").mkdir()
    assert root() == tmp_path


@pytest.mark.parametrize("home", ["home", "/", "does-not-exist"])
def test_the_home_folder_and_the_file_systems_root_are_no_project(
    tmp_path: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home" / ".git").mkdir(parents=True)
    (tmp_path / "home" / "flow.py").touch()
    monkeypatch.setenv("HOME", str(tmp_path / home))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    kept = tmp_path / "home" / ".local" / "state" / "expops-prefect"
    instead = kept if home == "home" else tmp_path / f"expops-prefect-{os.geteuid()}"
    monkeypatch.chdir("/")
    assert find_root(environ={}) == instead
    if home == "home":
        assert find_root(source_file=tmp_path / "home" / "flow.py", environ={}) == instead
        make_project(tmp_path / "home" / "work", None)
        monkeypatch.chdir(tmp_path / "home" / "work")
        assert find_root(environ={}) == tmp_path / "home" / "work", "its own, though the home folder is a repository"
    settings = load_settings(instead, environ={})
    assert str(settings.runtime_dir) in settings.notices[0]
    Project(settings).kv.ping()


def test_relative_and_home_paths_of_a_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path / "shop")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_root("~/shop", environ={}) == tmp_path / "shop"
    monkeypatch.chdir(tmp_path)
    assert find_root("shop", environ={}) == tmp_path / "shop"
    assert find_root(environ={"EXPOPS_PROJECT_ROOT": "~/shop"}) == tmp_path / "shop"


@pytest.mark.parametrize("named", ["/does/not/exist", "a-file", "~nosuchuser/shop", "nul\0"])
def test_a_named_root_must_be_a_folder(tmp_path: Path, named: str) -> None:
    Path("a-file").touch()
    with pytest.raises(
        ConfigurationError, match=r"the project is .*, which is not a folder; name the folder that holds"
    ):
        find_root(named, environ={})
    with pytest.raises(ConfigurationError, match="EXPOPS_PROJECT_ROOT is "):
        find_root(environ={"EXPOPS_PROJECT_ROOT": named})


def test_a_flows_file_decides_and_an_open_project_is_shared(tmp_path: Path) -> None:
    shop = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    opened = Project.open(source_file=shop / "flows" / "main.py")
    assert opened.settings.root == shop
    assert Project.open(shop) is opened
    make_project(shop, "prefect: {project_id: renamed}")
    assert Project.open(shop).project_id == "renamed"


def test_the_environment_reopens_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = make_project(tmp_path / "shop")
    assert Project.open(shop).project_id == "shop"
    monkeypatch.setenv("EXPOPS_PROJECT_ID", "other")
    assert Project.open(shop).project_id == "other"


# The id ------------------------------------------------------------------------------------------


def test_the_order_in_which_the_id_is_looked_for(tmp_path: Path) -> None:
    config = "prefect: {project_id: from-file}"
    assert settings_of(tmp_path / "shop", config, {"EXPOPS_PROJECT_ID": "from-env"}).project_id == "from-env"
    assert settings_of(tmp_path / "shop", config).project_id == "from-file"
    assert settings_of(tmp_path / "shop", config, {"EXPOPS_PROJECT_ID": ""}).project_id == "from-file"
    assert settings_of(tmp_path / "shop", "prefect: {project_id: null}").project_id == "shop"
    assert settings_of(tmp_path / "shop", "").project_id == "shop"


@pytest.mark.parametrize("name", ["a b", "café", ".hidden", "-x", "a/b", "x" * 101, "shop\n", "a:b", " "])
def test_an_id_that_no_store_could_take_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"prefect\.project_id is .*allowed: .*letters, digits"):
        settings_of(tmp_path / "shop", f"prefect: {{project_id: {name!r}}}".replace("'", '"'))
    with pytest.raises(ConfigurationError, match=r"the environment: EXPOPS_PROJECT_ID is "):
        settings_of(tmp_path / "shop", "", {"EXPOPS_PROJECT_ID": name})


@pytest.mark.parametrize("name", ["my flows", "проект", "2024.x", ".dot"])
def test_a_folder_of_any_name_is_a_project_without_a_file(tmp_path: Path, name: str) -> None:
    settings = settings_of(tmp_path / name, None)
    assert settings_of(tmp_path / "other", f'prefect: {{project_id: "{settings.project_id}"}}'), "a valid id"
    assert repr(settings.project_id) in settings.notices[0]


def test_a_folders_name_that_is_no_id_asks_for_one_where_there_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"the folder is 'my flows'; .*set prefect\.project_id"):
        settings_of(tmp_path / "my flows", "metadata: {}")


# The runtime folder ------------------------------------------------------------------------------


def test_the_order_in_which_the_runtime_folder_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, config = tmp_path / "shop", "prefect: {project_id: shop, runtime_dir: kept/here}"
    absolute = str(tmp_path / "lasting")
    settings = settings_of(root, config, {"EXPOPS_RUNTIME_DIR": absolute})
    assert settings.runtime_dir == tmp_path / "lasting" / "shop"
    assert isinstance(settings.kv, SQLiteSettings)
    assert settings.kv.path == tmp_path / "lasting" / "shop" / "metrics.sqlite"
    assert isinstance(settings.objects, LocalObjectSettings)
    assert settings.objects.root == tmp_path / "lasting" / "shop"
    assert settings_of(root, config, {"EXPOPS_RUNTIME_DIR": "up/../beside"}).runtime_dir == root / "beside" / "shop"
    assert settings_of(root, config).runtime_dir == root / "kept" / "here"
    assert settings_of(root, "prefect: {project_id: p}").runtime_dir == root / ".p"
    assert settings_of(root, "prefect: {project_id: p}", {"EXPOPS_PROJECT_ID": "q"}).runtime_dir == root / ".q"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert settings_of(root, "prefect: {runtime_dir: ~/mine}").runtime_dir == tmp_path / "mine"


@pytest.mark.parametrize("held", [("shop",), ("shop-2",), ("shop", "other"), ()])
def test_a_folder_for_all_projects_has_a_part_for_each(tmp_path: Path, held: tuple[str, ...]) -> None:
    environ = {"EXPOPS_RUNTIME_DIR": str(tmp_path / "lasting")}
    older = SQLiteKV(tmp_path / "lasting" / "metrics.sqlite")
    for name in held:
        older.put(names.run_record_key(names.run_id(name, 0, "abcdef12")), {})
    settings = settings_of(tmp_path / "shop", "prefect: {project_id: shop}", environ)
    alone = held == ("shop",)
    assert settings.runtime_dir == tmp_path / "lasting" / ("" if alone else "shop"), "an older release's stays"
    other = settings_of(tmp_path / "other", "prefect: {project_id: other}", environ)
    assert other.runtime_dir == tmp_path / "lasting" / "other"
    Project(settings).kv.put("k", 1)
    assert Project(other).kv.get("k") is None
    assert settings_of(tmp_path / "shop", "prefect: {project_id: shop}", environ).runtime_dir == settings.runtime_dir


def test_a_temporary_folder_is_warned_of_unless_a_lasting_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (warning,) = settings_of(tmp_path / "checkout" / "shop").warnings
    assert "EXPOPS_RUNTIME_DIR" in warning
    assert str(tmp_path / "checkout" / "shop") in warning
    assert settings_of(tmp_path / "shop", "prefect: {runtime_dir: /srv/shop}").warnings == ()
    assert settings_of(tmp_path / "shop", "", {"EXPOPS_RUNTIME_DIR": "/srv/shop"}).warnings == ()
    cloud = (
        "experiment: {cache: {backend: {type: gcp, gcp_project: g}, object_store: {type: gcs, bucket: b}}}",
        "experiment: {cache: {backend: {type: gcp, gcp_project: g}}}",
    )
    assert settings_of(tmp_path / "shop", cloud[0]).warnings == ()
    assert len(settings_of(tmp_path / "shop", cloud[1]).warnings) == 2, "local results: lost, and not shared"
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "other"))
    assert settings_of(tmp_path / "shop").warnings == ()


def test_a_link_into_a_temporary_folder_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    make_project(tmp_path / "tmp" / "shop")
    (tmp_path / "link").symlink_to(tmp_path / "tmp" / "shop")
    assert load_settings(tmp_path / "link", environ={}).warnings


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_without_a_configuration_runs_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = make_project(tmp_path / "no config here", None)

    @flow(project=root)
    def main() -> int:
        return 1

    with caplog.at_level(logging.INFO, "prefect.expops"):
        assert [main(), main()] == [1, 1]
    told = [record for record in caplog.records if "project_config.yaml found" in record.getMessage()]
    assert [record.levelname for record in told] == ["INFO"]
    assert "'no-config-here'" in told[0].getMessage()
    assert [run.status for run in Project.open(root).runs()] == ["completed"] * 2
    assert (root / ".no-config-here" / "metrics.sqlite").is_file()


def test_a_current_folder_that_was_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    (tmp_path / "shop" / "configs").mkdir(parents=True)
    (tmp_path / "shop" / "configs" / "project_config.yaml").write_text("")
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert find_root(source_file=tmp_path / "shop" / "flow.py", environ={}) == tmp_path / "shop"
    assert find_root(tmp_path / "shop", environ={}) == tmp_path / "shop"
    with pytest.raises(ConfigurationError, match="EXPOPS_PROJECT_ROOT"):
        find_root(environ={})


@pytest.mark.parametrize("variable", [None, "MLOPS_KV_PATH"])
def test_a_project_is_one_object_from_the_first_opening_of_a_process(tmp_path: Path, variable: str | None) -> None:
    """Backends, which say what variables they read, are imported by the first opening."""
    root = make_project(tmp_path / "shop", "prefect: {project_id: shop}")
    script = """
import os, sys
from expops_prefect import Project

first = Project.open(sys.argv[1])
assert Project.open(sys.argv[1]) is first
os.environ["MLOPS_KV_PATH"] = sys.argv[1] + "/other.sqlite"
assert Project.open(sys.argv[1]) is not first, "the environment beats the file, at any time"
"""
    environ = clean_environment(tmp_path) | ({} if variable is None else {variable: str(tmp_path / "place")})
    done = subprocess.run(
        [sys.executable, "-c", script, str(root)], env=environ, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
