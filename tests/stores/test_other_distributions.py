"""Stores of an installed distribution, which project_config.yaml names and nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from expops_prefect.config import served_config
from expops_prefect.errors import ConfigurationError
from tests.config.support import settings_of
from tests.support.processes import FlowProject

SHELF = Path(__file__).parent / "shelf"
CONFIG = """
experiment:
  cache:
    backend: {type: shelf, folder: mount/kv}
    object_store: {type: shelf, file: mount/objects.sqlite}
prefect: {project_id: shop}
"""
FLOW = """
    import numpy as np
    from executions import ran
    from expops_prefect import flow, log_chart, log_metric, task

    @task
    def load(rows):
        ran("load")
        return np.arange(rows, dtype=float)

    @task
    def train(table):
        ran("train")
        log_metric("loss", 0.5)
        log_chart("curve", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
        return float(table.sum())

    @flow
    def main():
        return train(load(100_000))

    if __name__ == "__main__":
        assert main() == sum(range(100_000))
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the distribution was installed."""
    target = tmp_path_factory.mktemp("site-packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(SHELF)], check=True, timeout=300)
    return target


@pytest.fixture
def shop(tmp_path: Path, installed: Path, flow_processes: None, monkeypatch: pytest.MonkeyPatch) -> FlowProject:
    monkeypatch.syspath_prepend(str(installed))
    shop = FlowProject(tmp_path, CONFIG)
    shop.environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path / "support"), str(shop.root), str(installed)])
    shop.write("main.py", FLOW)
    return shop


def test_cached_and_recorded_over_processes(shop: FlowProject) -> None:
    first, second = shop.run("main.py").ok(), shop.run("main.py").ok()
    assert first.executions == {"load": 1, "train": 1}
    assert second.total == 0
    assert shop.statuses() == {"load": "cached", "train": "cached"}
    assert shop.metrics()["train"] == {"loss": {"1": 0.5}}
    charts = shop.project().charts("latest")
    assert [chart["title"] for found in charts.values() for chart in found] == ["curve"]
    kept = {path.name for path in (shop.root / "mount").rglob("*") if path.is_file()}
    assert {"kv.json", "objects.sqlite"} <= kept
    assert not list((shop.root / ".shop").rglob("metrics.sqlite")), "nothing went to the stores of this package"


def test_a_machine_that_has_no_copies_hits_too(shop: FlowProject) -> None:
    assert shop.run("main.py").ok().total == 2
    for folder in sorted((shop.root / ".shop").rglob("*"), reverse=True):
        folder.rmdir() if folder.is_dir() else folder.unlink()
    assert shop.run("main.py").ok().total == 0


def test_doctor_runs_the_checks_of_a_store(shop: FlowProject) -> None:
    shop.run("main.py").ok()
    done = shop.run("-m", "expops_prefect.cli.main", "doctor")
    done.ok()
    assert "1 projects" in done.output
    assert f"shelf {shop.root / 'mount' / 'kv' / 'shop'}" in done.output


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("{type: shelf}", ["experiment.cache.backend.folder is empty", "shelf needs one"]),
        ("{type: shelf, folder: 3}", ["experiment.cache.backend.folder is 3"]),
        ("{type: shelf, folder: kv, floor: 2}", ["experiment.cache.backend.floor", "folder"]),
        ("{type: shlef}", ["'shlef'", "firestore, gcp, local, redis, shelf, sqlite"]),
    ],
)
def test_a_wrong_section_is_one_clear_message(shop: FlowProject, section: str, said: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings_of(shop.folder / "other", f"experiment: {{cache: {{backend: {section}}}}}")
    assert all(text in str(caught.value) for text in said), str(caught.value)


def test_paths_are_those_of_any_other_setting(shop: FlowProject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(shop.folder))
    for named, meant in (
        ("~/kv", shop.folder / "kv"),
        ("kv", shop.folder / "other" / "kv"),
        ("/srv/kv", Path("/srv/kv")),
    ):
        config = f"experiment: {{cache: {{backend: {{type: shelf, folder: {named}}}}}}}"
        assert settings_of(shop.folder / "other", config).kv.model_dump() == {"folder": meant}


def test_expops_server_is_said_not_to_read_it(shop: FlowProject) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the shelf"):
        served_config(shop.project().settings, [], [], [])


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("import no_such_module", "no_such_module"),
        ("class Broken: pass", "not a subclass"),
        ("from expops_prefect.stores.settings import KVSettings\nclass Broken(KVSettings): pass", "not define open"),
    ],
)
def test_a_distribution_that_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, why: str) -> None:
    info = tmp_path / "lib" / "broken-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    name = f"broken_{len(module)}"
    (info / "entry_points.txt").write_text(f"[expops_prefect.kv_stores]\nbroken = {name}:Broken\n")
    (tmp_path / "lib" / f"{name}.py").write_text(module)
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    with pytest.raises(ConfigurationError, match=why) as caught:
        settings_of(tmp_path / "shop", "experiment: {cache: {backend: {type: broken}}}")
    assert "'broken' of broken" in str(caught.value)
