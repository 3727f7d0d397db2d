"""``expops-prefect ui``: ExpOps' real server at a project, wherever it lies, without what is not to be shown."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from expops_prefect.config import served_config
from tests.interop.expops import ExpOps, Shown, project_on
from tests.support.processes import FlowProject
from tests.support.server import clean_environment, wait_until

pytestmark = pytest.mark.xdist_group("expops-ui")

CONFIG = """
experiment:
  cache: {}
scripts:
  draw: charts/draw.js
  outside: ../outside.js
"""
FLOW = """
import os
from expops_prefect import flow, log_chart, log_metric, task

PNG = b"\\x89PNG\\r\\n\\x1a\\n a small picture"


@task
def load(n):
    return list(range(n))


@task
def report(rows):
    log_metric("rows", len(rows))
    log_chart("results", PNG)
    return {"rows": len(rows)}


@task
def publish(found):
    return True


@flow
def main():
    found = report(load(3))
    if os.environ.get("MORE"):
        publish(found)


if __name__ == "__main__":
    main()
"""


@contextmanager
def ui(shop: FlowProject, *arguments: str) -> Iterator[tuple[ExpOps, subprocess.Popen[str]]]:
    command = [sys.executable, "-m", "expops_prefect.cli.main", "ui", "--no-browser", "--port", "0", *arguments]
    temporary = shop.folder / "temporary"
    temporary.mkdir()
    env = {**clean_environment(shop.folder / "home"), **shop.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(command, cwd=shop.root, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(3)]
        found = re.search(r"ExpOps' UI: +(http://127\.0\.0\.1:\d+)  \(project shop[-\w]*\)$", said[0])
        assert found is not None, said
        assert said[1].strip() == f"Prefect's UI: {os.environ['PREFECT_API_URL'].removesuffix('/api')}"
        yield ExpOps(found[1]), process
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.mark.parametrize("combination", ["local-local", "gcp-gcs", "local-s3"])
def test_a_project_in_a_folder_of_another_name(combination: str, tmp_path: Path) -> None:
    shop = project_on(combination, tmp_path, CONFIG)
    name = shop.root.name
    shop.root = shop.root.rename(tmp_path / "checkout of a branch")
    shop.write("main.py", FLOW)
    shop.write("charts/draw.js", "export default 1")
    (tmp_path / "outside.js").write_text("secret")
    key = shop.write("firestore.json", '{"private_key": "secret"}')
    shop.run("main.py").ok()
    run = shop.last_run()
    with ui(shop) as (server, process):
        assert server.projects() == [name]
        shown = server.project(name)
        assert shown.runs() == [run.run_id]
        assert edges(shown) == {("main.flow", "load"), ("load", "report")}
        assert shown.statuses(run.run_id)["//process[@name='report']"] == "completed"
        (item,) = shown.charts(run.run_id)["report"]["items"]
        assert shown.chart(run.run_id, item).startswith(b"\x89PNG")
        assert server.json(f"/projects/{name}/chart-config")["charts"][0]["name"] == "report"

        (workspace,) = (shop.folder / "temporary").glob("expops-prefect-ui-*")
        served = [file.name for file in workspace.rglob("*") if file.is_file()]
        assert sorted(served) == ["draw.js", "project_config.yaml"]
        assert workspace.stat().st_mode & 0o777 == 0o700
        refused = {
            f"/api/projects/{name}/runs/{run.run_id}/charts/fetch?cache_path={urllib.parse.quote(str(place))}"
            for place in (key, shop.root / "configs" / "project_config.yaml", "/etc/passwd")
        }
        for path in {*refused, f"/projects/{name}/firestore.json", f"/projects/{name}/main.py"}:
            assert status(server.url + path) in (403, 404), path
        assert status(f"{server.url}/projects/{name}/charts/draw.js") == 200

        # A run that comes later brings its graph along.
        shop.run("main.py", env={"MORE": "1"}).ok()
        more = {("main.flow", "load"), ("load", "report"), ("report", "publish")}
        wait_until(lambda: edges(shown) == more, 60, "the new run's graph")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert status(f"{server.url}/api/projects") is None
    assert not workspace.exists()


def edges(shown: Shown) -> set[tuple[str, str]]:
    adjacent = shown.graph()["adj"]
    return {(base(source), base(target)) for source, targets in adjacent.items() for target in targets}


def by_name(shown: Shown, run: str) -> dict[str, str]:
    """The status of each node that is not one of several calls."""
    return {base(path): word for path, word in shown.statuses(run).items() if path.startswith("//process")}


def base(path: str) -> str:
    return path.split("'")[1]


def status(url: str, headers: Mapping[str, str] | None = None) -> int | None:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers or {})), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_the_configured_graph_comes_first_and_others_pages_are_refused(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG)
    config["experiment"]["pipeline"] = {
        "process_adjlist": "load train\ntrain report\n",
        "processes": [{"name": "train", "parameters": {"token": "secret"}, "type": "process"}, {"name": "report"}],
    }
    shop = project_on("local-local", tmp_path, yaml.safe_dump(config))
    with ui(shop) as (server, process):
        shown = server.project(shop.root.name)
        assert edges(shown) == {("load", "train"), ("train", "report")}
        config_file = f"{server.url}/projects/{shop.root.name}/configs/project_config.yaml"
        with urllib.request.urlopen(config_file, timeout=20) as answer:
            assert b"secret" not in answer.read()
        page = f"{server.url}/api/projects"
        assert status(page, {"Origin": "http://localhost:3000"}) == 200
        assert status(page, {"Origin": "https://pages.invalid"}) == 403
        assert status(page, {"Host": "rebound.invalid:8000"}) == 403
        # Whoever started it is gone: so is the server.
        process.kill()
        process.wait()
        wait_until(lambda: status(page) is None, 30, "the server has ended")


TWO_FLOWS = """
from expops_prefect import flow, log_chart, task

PNG = b"\\x89PNG\\r\\n\\x1a\\n "


@task
def load():
    return [0, 1, 2]


@task
def fit(x):
    log_chart("curve", PNG + bytes([x]))
    if x == 1:
        raise ValueError(x)
    return x


@task
def report(rows):
    for title in ("first", "second", "third"):
        log_chart(title, PNG + title.encode())
    return len(rows)


@task
def lonely():
    raise RuntimeError("no edge leads here")


@task
def publish():
    return 1


@flow
def training():
    rows = load()
    for future in fit.map(rows):
        future.wait()
    report(rows)
    log_chart("of the flow", PNG + b"flow")
    lonely()


@flow
def nightly():
    publish()


if __name__ == "__main__":
    training(return_state=True)
    nightly()
"""


def test_every_process_and_chart_of_every_flow_is_drawn(tmp_path: Path) -> None:
    shop = project_on("local-local", tmp_path, CONFIG)
    shop.write("main.py", TWO_FLOWS)
    shop.run("main.py").ok()
    newest, failed = (run.run_id for run in shop.project().runs())
    with ui(shop) as (server, _):
        shown = server.project(shop.root.name)
        charts = {"second.report", "third.report", "curve.fit.p2", "curve.fit.p3"}
        assert edges(shown) == {
            *(("training.flow", process) for process in ("load", "lonely")),
            *(("load", process) for process in ("fit", "report")),
            *(("report" if "report" in chart else "fit", chart) for chart in charts),
            ("nightly.flow", "publish"),
        }
        said = by_name(shown, failed)
        assert {name: said[name] for name in ("training.flow", "fit", "lonely")} == dict.fromkeys(
            ("training.flow", "fit", "lonely"), "failed"
        )
        assert {name: said[name] for name in ("load", "report", "second.report", "third.report")} == dict.fromkeys(
            ("load", "report", "second.report", "third.report"), "completed"
        )
        assert not {"publish", "nightly.flow"} & set(said)
        assert by_name(shown, newest) == {"publish": "completed", "nightly.flow": "completed"}

        clickable = {chart["name"] for chart in server.json(f"/projects/{shop.root.name}/chart-config")["charts"]}
        assert clickable == {"report", "fit", "training.flow", *charts}
        pictures = {
            "report": b"first",
            "second.report": b"second",
            "third.report": b"third",
            "fit": bytes([0]),
            "curve.fit.p3": bytes([2]),
            "training.flow": b"flow",
        }
        items = shown.charts(failed)
        for name, content in pictures.items():
            assert shown.chart(failed, items[name]["items"][0]).endswith(b" " + content), name


def test_a_configured_graph_is_drawn_with_what_runs_had_besides(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG)
    processes: list[dict[str, object]] = [{"name": "load"}, {"name": "fit"}]
    config["experiment"]["pipeline"] = {
        "process_adjlist": "load fit\n",
        "processes": processes,
    }
    shop = project_on("local-local", tmp_path, yaml.safe_dump(config))
    edges_of_runs = [("main.flow", "load"), ("load", "fit"), ("main.flow", "lonely"), ("fit", "curve.fit")]

    def served(config: str) -> set[str]:
        shop.configure(config)
        settings = shop.project().settings
        nodes = ["main.flow", "load", "fit", "lonely", "curve.fit"]
        content = yaml.safe_load(served_config(settings, edges_of_runs, nodes, {"curve.fit"}))
        return set(content["experiment"]["pipeline"]["process_adjlist"].splitlines())

    assert served(yaml.safe_dump(config)) == {"load fit", "main.flow lonely", "fit curve.fit"}
    processes[0]["data_parallelism"] = {"size": 2}
    assert served(yaml.safe_dump(config)) == {"load fit"}, "the server multiplies what follows"
