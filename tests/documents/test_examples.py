"""What the documents show is run: commands, scripts, configuration."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from expops_prefect import Project
from expops_prefect.config import CacheSettings, RecordSettings
from expops_prefect.record.process_rows import Row
from expops_prefect.stores.kv.firestore.settings import FirestoreSettings
from expops_prefect.stores.kv.redis.settings import RedisSettings
from expops_prefect.stores.objects.cloud.settings import AzureSettings, S3Settings
from expops_prefect.stores.objects.gcs.settings import GCSSettings
from tests.config.support import settings_of
from tests.documents.pages import ROOT, blocks, commands, pages
from tests.support.processes import FlowProject, short
from tests.support.server import Server, clean_environment, free_port

pytestmark = pytest.mark.xdist_group("documents")

PAGES = pages()


def page(name: str) -> str:
    """The text of one page of the site."""
    return PAGES[f"docs/{name}.md"]


# Commands ----------------------------------------------------------------------------------------

DEMO = "make demo"
LOOK = [
    ".venv/bin/expops-prefect runs list",
    ".venv/bin/expops-prefect runs show latest",
    ".venv/bin/expops-prefect cache list",
]
SERVE = ["expops-prefect ui", "expops-prefect ui --port 0 --no-browser"]
DEPLOYMENTS = [  # run by tests/e2e/test_deployments.py
    "prefect server start",
    "prefect work-pool create expops --type process",
    "prefect --no-prompt deploy --prefect-file configs/prefect.yaml --all",
    "prefect worker start --pool expops",
    "prefect deployment run train-digits/digits --watch",
]
SIGN = ["openssl rand -hex 32 > signing.key", "chmod 600 signing.key"]
ONE_PART = ".venv/bin/python -m pytest tests/e2e"
NOT_HERE = {
    "make test": "this suite",
    "make lint": "runs before this suite",
    "make docs": "runs what tests/documents/test_pages.py runs",
    "make docs-serve": "goes on until it is stopped; tests/test_make.py shows that it is planned",
    "make prefect-suite PREFECT_CHECKOUT=…": "needs a checkout of Prefect, whose own tests it runs",
    "make bench": "compares speeds on a quiet machine; tests/test_make.py shows that it is planned",
    "make bench-report": "the same",
    "pip install expops-prefect": "needs a package index",
    "expops-prefect doctor --project ~/churn --count": "starts a server; tests/cli/test_counting.py runs it",
    "expops-prefect sync --to gcp --gcp-project churn-prod --bucket churn-cache": "needs an account of Google Cloud",
}
# What a command comes to in the demo, where it is not success.
ANOTHER_END = {
    "cache show train/0f3a": "no cached result under 'train/0f3a'",
    "cache explain latest train": "no process or step 'train'",
    "cache invalidate --process train --older-than 30d --dry-run": "no cached result matches",
    "runs diff 0f3a latest": "no run '0f3a'",
    "run": "scripts is empty",
    "run --param train.epochs=3": "scripts is empty",
    "run --param train_model.epochs=10": "scripts is empty",
}


def inspecting() -> list[str]:
    """The commands of the documents that are run in the demo, in the order of the pages."""
    shown = dict.fromkeys(command for text in PAGES.values() for command in commands(text))
    ours = [command for command in shown if command.startswith("expops-prefect ")]
    return [command.partition(" ")[2] for command in ours if command not in {*SERVE, *NOT_HERE}]


def test_every_command_of_the_documents_is_run() -> None:
    shown = {command for text in PAGES.values() for command in commands(text)}
    elsewhere = {DEMO, *LOOK, *SERVE, *DEPLOYMENTS, *SIGN, ONE_PART, *NOT_HERE}
    assert shown == {*elsewhere, *(f"expops-prefect {command}" for command in inspecting())}


@pytest.mark.usefixtures("printed")
def test_every_inspecting_command_works(demo: Demo) -> None:
    assert inspecting()
    assert set(ANOTHER_END) < set(inspecting())
    for line in inspecting():
        done = demo.run(f"expops-prefect {line}", cwd=demo.new if line == "init" else None)
        assert "Traceback" not in done.stderr
        assert done.returncode == int(line in ANOTHER_END), f"{line}: {done.stdout}{done.stderr}"
        assert ANOTHER_END.get(line, "") in done.stderr
        assert done.stdout or line in ANOTHER_END


def test_a_command_that_lacks_a_choice_says_so(demo: Demo) -> None:
    assert "`expops-prefect sync --to gcp`" in page("stores")
    done = demo.run("expops-prefect sync --to gcp")
    assert done.returncode == 2
    assert "which Google Cloud project?" in done.stderr


class Demo:
    """A copy of the example beside a link to this environment, as a clone with its ``.venv`` has it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        for name in ("flows", "configs"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        (self.root / ".venv").symlink_to(sys.prefix)
        bin_folder = str(Path(sys.executable).parent)
        self.new = folder / "a new project"
        self.new.mkdir()
        self.env = {
            **clean_environment(folder / "prefect"),
            "HOME": str(folder / "home"),
            "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]]),
        }

    def run(self, command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command],
            cwd=cwd or self.root,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    @property
    def project(self) -> Project:
        return Project.open(self.root)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, flow_processes: None) -> Demo:
    return Demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def printed(demo: Demo) -> str:
    """What ``make demo`` prints."""
    # Made once in the whole suite: tests of this file stay in one worker.
    (Path(os.environ["EXPOPS_TEST_FOLDER"]) / "demo-was-run").touch(exist_ok=False)
    (recipe,) = re.findall(r"^demo:.*\n\t\$\(BIN\)/(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    done = demo.run(f".venv/bin/{recipe}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def calls(rows: list[Row]) -> dict[str, str]:
    """Statuses without the rows that sum several calls up."""
    return {short(row.path): row.status for row in rows if sum(row.calls.values()) <= 1}


def test_the_demo_executes_everything_once_and_nothing_the_second_time(demo: Demo, printed: str) -> None:
    second, first = demo.project.runs()
    executed, cached = calls(demo.project.rows(first.run_id)), calls(demo.project.rows(second.run_id))
    processes = {"load_digits", "split", "p1/train_model", "p2/train_model", "p3/train_model"}
    processes |= {"train_sgd", "evaluate", "plot_scores"}
    assert executed == dict.fromkeys({*processes, "train_sgd/augment"}, "completed")
    missed = {row.path: row.fields["miss_reason"] for row in demo.project.rows(second.run_id) if row.fields.get("miss")}
    assert missed == {}
    assert cached == dict.fromkeys(processes, "cached")

    one, two = printed.split("run 2: ")
    assert (one.count(" executed "), one.count("from the cache")) == (9, 0)
    assert (two.count(" executed "), two.count("from the cache")) == (0, 8)
    assert printed.count("best model: ") == 2
    assert len(set(re.findall("best model: .*", printed))) == 1
    saved = re.findall(r"time saved by the cache.*?([\d.]+) │$", printed, re.MULTILINE)
    assert float(saved[0]) == 0 < float(saved[1])


def test_the_demo_says_where_to_look(demo: Demo, printed: str, tmp_path: Path) -> None:
    assert "prefect server start" in printed
    assert "expops-prefect runs show latest" in printed
    (command,) = re.findall(r"ExpOps' UI: (.*)$", printed, re.MULTILINE)
    assert command == f".venv/bin/{SERVE[0]}"
    shows_the_demo(demo, command, tmp_path / "ui.log")


@pytest.mark.usefixtures("printed")
def test_looking_at_the_demo(demo: Demo) -> None:
    listed, shown, cached = (demo.run(command) for command in LOOK)
    assert [done.returncode for done in (listed, shown, cached)] == [0, 0, 0]
    assert listed.stdout.count("train-digits  completed") == 2
    assert "augment/" in cached.stdout
    assert "(3 calls)" in shown.stdout
    assert "chart scores of plot_scores: " in shown.stdout
    second, first = demo.project.runs()
    assert first.run_id[-8:] in shown.stdout
    opened, run = demo.project, second.run_id
    assert opened.rows(run)
    assert opened.metrics(run)["//process[@name='load_digits']"] == {"rows": {"1": 1797}}
    assert [item["title"] for item in opened.charts(run)["//process[@name='plot_scores']"]] == ["scores"]


def shows_the_demo(demo: Demo, command: str, log: Path) -> None:
    """Run a command that starts ExpOps' server, on a free port, and look at the demo's newest run."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api/projects"
    started = ["bash", "-c", f"exec {command} --no-browser --port {port}"]
    server = Server(started, api, log, demo.env, cwd=demo.root)
    try:
        newest = demo.project.runs()[0].run_id
        assert newest in json.dumps(fetch(f"{api}/expops-demo/runs"))
        assert "train_sgd" in json.dumps(fetch(f"{api}/expops-demo/graph"))
        status = fetch(f"{api}/expops-demo/runs/{newest}/status")
        assert status["process_status"]["//process[@name='train_sgd']"] == "cached"
    finally:
        server.stop()
    assert server.process.returncode == 0, server.tail()


def fetch(url: str) -> dict[str, dict[str, str]]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: dict[str, dict[str, str]] = json.load(answer)
        return found


def test_one_part_of_the_suite_can_be_run() -> None:
    command = [*shlex.split(ONE_PART.replace(".venv/bin/python", sys.executable)), "--collect-only", "-q", "-n0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "tests/e2e/test_execution_counts.py::" in done.stdout


# Scripts -----------------------------------------------------------------------------------------

CONFIG = """
experiment: {pipeline: {processes: [{name: train, hyperparameters: {rate: 0.3}}]}}
prefect: {project_id: readme}
"""
PIPELINES = """
from executions import ran
from prefect import flow, task


@task
def extract(day):
    ran("extract")
    return [day, day]


@flow
def nightly(day="monday"):
    return extract(day)
"""
DRIVER = """
import runpy
import threading
from pathlib import Path

from expops_prefect import EXPOPS, Project, flow

short = runpy.run_path("README-1.py", run_name="__main__")
assert short["main"]() == {"rate": 0.1}
print("SHORT", short["main"].name)

for _ in range(2):
    first = runpy.run_path("getting-started-1.py", run_name="__main__")
print("FIRST", first["main"].name)

runpy.run_path("caching-5.py")
print("READ")

files = runpy.run_path("caching-2.py")
assert files["reporting"]() == 3
Path("report/rows.csv").unlink()
assert files["reporting"]() == 3
assert Path("report/rows.csv").read_text() == "1\\n2\\n3"
declared = runpy.run_path("caching-3.py")
declared["fitting"]()
for name in ("models/small.txt", "tables/large.csv"):
    Path(name).unlink()
declared["fitting"]()
assert Path("models/small.txt").read_text() + Path("tables/large.csv").read_text() == "310\\n20"
assets = runpy.run_path("caching-4.py")
assert assets["materializing"]() == 2
Path("orders.csv").unlink()
assert assets["materializing"]() == 2
assert Path("orders.csv").read_text() == "1\\n2"
print("FILES")

second = runpy.run_path("getting-started-2.py")
assert [second["nightly"](), second["nightly"]()] == [["monday"] * 2] * 2
print("SECOND")

third = runpy.run_path("caching-1.py")
assert third["fetch"].cache_policy == EXPOPS - "session"


@flow
def parts():
    third["fetch"]("url", threading.Lock())
    third["report"]("monday")
    third["clean"]([1])


parts()
print("THIRD")

counted = runpy.run_path("extending-1.py")
from expops_prefect.fingerprint.values import fingerprint
assert fingerprint(counted["Connection"]("a")) == fingerprint(counted["Connection"]("a"))
assert fingerprint(counted["Connection"]("a")) != fingerprint(counted["Connection"]("b"))
assert fingerprint(counted["Model"]([1])) == fingerprint(counted["Model"]([1]))
assert fingerprint(counted["Model"]([1])) != fingerprint(counted["Model"]([2]))
print("FOURTH")

runpy.run_path("tracking-1.py")
"""
EXCERPTS = {  # files that the suite runs, from which a page shows a part
    ("docs/extending.md", 0): "tests/stores/shelf/shelf_stores/__init__.py",
    ("docs/extending.md", 1): "tests/stores/test_shelf.py",
}
AS_A_FILE = {("docs/expops-projects.md", 0)}
"""Deployed in a project of ExpOps by tests/expops, in the same words."""


def scripts() -> dict[str, str]:
    """The scripts of all documents by a name; those that are parts of other files are left out."""
    found = {}
    for name, text in PAGES.items():
        own = [
            block
            for number, block in enumerate(blocks(text, "python"))
            if (name, number) not in {*EXCERPTS, *AS_A_FILE}
        ]
        found.update({f"{Path(name).stem}-{number}.py": block for number, block in enumerate(own, 1)})
    return found


@pytest.mark.usefixtures("flow_processes")
def test_every_script_runs(tmp_path: Path) -> None:
    assert set(scripts()) == set(re.findall(r"[\w-]+-\d\.py", DRIVER))
    shop = FlowProject(tmp_path, CONFIG, name="readme")
    shop.write("rows.csv", "1\n2\n")
    shop.write("pipelines.py", PIPELINES)
    for name, script in scripts().items():
        shop.write(name, script)
    shop.write("driver.py", DRIVER)
    done = shop.run("driver.py").ok()
    words = ["SHORT", "FIRST", "READ", "FILES", "SECOND", "THIRD", "FOURTH"]
    assert re.findall("^(SHORT|FIRST|READ|FILES|SECOND|THIRD|FOURTH)", done.output, re.MULTILINE) == words
    assert done.executions == {"extract": 1}
    assert "uncached" not in done.output

    project = shop.project()
    parts, nightly_again, nightly, *of_files, again, main, short_again, short_first = project.runs()
    assets, _, declared, _, files, _ = of_files
    assert calls(project.rows(assets.run_id)) == {"orders": "cached"}
    assert calls(project.rows(files.run_id)) == {"export": "cached", "lines": "cached"}
    assert set(calls(project.rows(declared.run_id)).values()) == {"cached"}
    assert f"{parts.flow} completed" in done.output, "printed by the page about tracking"
    assert "{'rows': 2, 'rate': 0.3}" in done.output, "read back by the page about caching"
    assert [run.flow for run in (main, again, nightly, nightly_again, parts)] == [
        *("main", "main", "nightly", "nightly", "parts")
    ]
    assert calls(project.rows(short_first.run_id)) == {"train": "completed"}
    assert calls(project.rows(short_again.run_id)) == {"train": "cached"}
    assert calls(project.rows(main.run_id)) == {"load": "completed", "train": "completed"}
    assert calls(project.rows(again.run_id)) == {"load": "cached", "train": "cached"}
    assert calls(project.rows(nightly.run_id)) == {"extract": "completed"}
    assert calls(project.rows(nightly_again.run_id)) == {"extract": "cached"}
    assert calls(project.rows(parts.run_id)) == dict.fromkeys(("fetch", "report", "clean"), "completed")
    for run in (main, again):
        loss = project.metrics(run.run_id)["//process[@name='train']"]["loss"]
        assert loss == {"1": 0.3, "2": 0.15, "3": pytest.approx(0.1)}, "the rate of the configuration"
    for run in (short_first, short_again):
        assert set(project.metrics(run.run_id)["//process[@name='train']"]["loss"]) == {"1", "2", "3"}


def test_excerpts_are_parts_of_files_that_are_run() -> None:
    for (name, number), file in EXCERPTS.items():
        assert blocks(PAGES[name], "python")[number] in (ROOT / file).read_text(), f"{name} differs from {file}"


@pytest.mark.usefixtures("printed")
def test_the_example_of_an_existing_flow(demo: Demo) -> None:
    assert "`flows/plain.py`" in page("getting-started")
    done = demo.run(".venv/bin/python -m flows.plain")
    assert done.stdout.splitlines()[-1] == "90"
    newest = demo.project.runs()[0]
    assert newest.flow == "nightly-report"
    assert calls(demo.project.rows(newest.run_id)) == {"extract": "completed", "total": "completed"}


# Signing -----------------------------------------------------------------------------------------


def test_the_signing_key_is_made_and_read(tmp_path: Path) -> None:
    for command in SIGN:
        subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    (config,) = blocks(page("security"), "yaml")
    settings = settings_of(tmp_path, config)
    assert settings.signing_key_file == tmp_path / "signing.key"
    assert not settings.warnings or "can be read by other users" not in " ".join(settings.warnings)


# Configuration -----------------------------------------------------------------------------------


def test_the_configuration_is_accepted_and_names_the_defaults(tmp_path: Path) -> None:
    (config,) = blocks(page("configuration"), "yaml")
    settings = settings_of(tmp_path / "elsewhere", config)
    assert (settings.project_id, settings.runtime_dir) == ("shop", tmp_path / "elsewhere" / ".shop")
    assert settings.reproducibility == {"random_seed": 7}
    assert settings.data_path == tmp_path / "elsewhere" / "data" / "train.csv"
    assert (settings.kv.kind, settings.objects.kind) == ("local", "local")
    assert settings.process_adjlist.strip() == "load train"
    assert settings.process_parameters("train") == {"rate": 0.1}
    assert settings.cache.ttl_of("train") is not None
    assert settings.cache.ttl_of("load") is None
    # Which rule holds where nothing is said depends on whose project it is.
    assert settings.cache.default == "pure"
    assert settings.cache.model_copy(update={"processes": {}, "default": None}) == CacheSettings()
    assert settings.record == RecordSettings()


@pytest.mark.parametrize("name", ["README.md", "docs/caching.md"])
def test_the_rule_of_caching(tmp_path: Path, name: str) -> None:
    cache = settings_of(tmp_path / "elsewhere", blocks(PAGES[name], "yaml")[0]).cache
    assert (cache.default_for("load"), cache.default_for("train")) == ("pure", "all")
    assert (cache.asked_for("fetch"), cache.asked_for("train")) == (True, False)


def test_single_flight(tmp_path: Path) -> None:
    _, config, _ = blocks(page("caching"), "yaml")
    assert settings_of(tmp_path / "elsewhere", config).cache.single_flight


def test_fast_hits(tmp_path: Path) -> None:
    _, _, config = blocks(page("caching"), "yaml")
    assert settings_of(tmp_path / "elsewhere", config).cache.fast_hits


def test_the_configuration_of_google_cloud(tmp_path: Path) -> None:
    config, *_ = blocks(page("stores"), "yaml")
    settings = settings_of(tmp_path / "churn", config)
    assert isinstance(settings.kv, FirestoreSettings)
    assert settings.kv.gcp_project == "my-gcp-project-id"
    assert settings.kv.credentials_json == tmp_path / "churn" / "firestore.json"
    assert isinstance(settings.objects, GCSSettings)
    assert settings.objects.bucket == "my-gcs-bucket-name"
    assert settings.objects.credentials_json == settings.kv.credentials_json


def test_the_configuration_of_redis(tmp_path: Path) -> None:
    _, config, *_ = blocks(page("stores"), "yaml")
    found = settings_of(tmp_path / "churn", config).kv
    assert isinstance(found, RedisSettings)
    assert (found.host, found.port, found.password) == ("redis.internal", 6379, None)


def test_the_configurations_of_s3_and_azure(tmp_path: Path) -> None:
    *_, of_s3, of_azure = blocks(page("stores"), "yaml")
    found = settings_of(tmp_path / "churn", of_s3).objects
    assert isinstance(found, S3Settings)
    assert (found.bucket, found.region, found.endpoint, found.prefix) == ("my-s3-bucket-name", "eu-west-1", None, "")
    lines = [line.replace("# ", "", 1) if line.lstrip().startswith("# ") else line for line in of_s3.splitlines()]
    found = settings_of(tmp_path / "other", "\n".join(lines)).objects
    assert isinstance(found, S3Settings)
    assert (found.endpoint, found.prefix) == ("http://minio.example:9000", "team/experiments")
    azure = settings_of(tmp_path / "third", of_azure).objects
    assert isinstance(azure, AzureSettings)
    assert (azure.container, azure.account) == ("my-container-name", "myaccount")


def test_no_configuration_is_shown_untested() -> None:
    counted = {name: len(blocks(text, "yaml")) for name, text in PAGES.items() if "```yaml" in text}
    assert counted == {
        "README.md": 1,
        "docs/caching.md": 3,
        "docs/configuration.md": 1,
        "docs/security.md": 1,
        "docs/stores.md": 4,
    }
