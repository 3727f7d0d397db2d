"""What somebody sees in both UIs while a flow runs, afterwards, from the cache, and when it has failed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from expops_prefect.models.names import process_path
from expops_prefect.tracking.run_summary import RunSummary
from expops_prefect.tracking.summary_diagram import diagram as diagram_of
from tests.browser.page import Page, browsing
from tests.interop.test_ui import ui
from tests.support.processes import FlowProject
from tests.support.server import wait_until
from tests.tracking.hostile import HOSTILE

pytestmark = pytest.mark.xdist_group("browser")

FLOW = """
import os
import time

from expops_prefect import flow, log_chart, log_metric, task


@task
def load(rows):
    log_metric("rows", rows)
    return list(range(rows))


@task
def clean(rows):
    return [row for row in rows if row % 7]


@task
def train(rows, rate):
    for epoch in range(1, 9):
        log_metric("loss", rate / epoch)
    gate = os.environ.get("GATE")
    while gate and not os.path.exists(gate):
        time.sleep(0.02)
    return {"rate": rate, "score": 1 - rate / len(rows)}


@task
def evaluate(models):
    log_metric("best", max(model["score"] for model in models))
    return {str(model["rate"]): model["score"] for model in models}


@task
def report(scores):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 2.2))
    axes.barh(list(scores), list(scores.values()), color="#2a6fdb")
    axes.set(xlabel="score", ylabel="rate", xlim=(0.99, 1))
    log_chart("scores", figure)
    return sorted(scores)


@task
def publish(best):
    raise RuntimeError("the shop is closed")


@flow(name="train-shop")
def main():
    rows = clean(load(1000))
    models = train.map([rows] * 3, [0.5, 1.0, 2.0]).result()
    best = report(evaluate(models))
    if os.environ.get("LONG"):
        train.with_options(name=os.environ["LONG"]).map([rows] * 3, [3.0, 4.0, 0.0]).result()
    if os.environ.get("FAIL"):
        publish(best, return_state=True)
        publish(best)


if __name__ == "__main__":
    main()
"""

FLOW_NODE = "train-shop.…"
"""What ExpOps' UI shows of the name of the flow's own node."""
LONG = "a_task_whose_name_is_longer_than_what_stands_beside_the_panel_of_an_artifact"

# The colours of ExpOps' style sheet.
COLOURS = {
    "pending": None,
    "running": "rgb(245, 158, 11)",
    "completed": "rgb(16, 185, 129)",
    "cached": "rgb(147, 197, 253)",
    "failed": "rgb(239, 68, 68)",
}
NODES = """
Object.fromEntries([...document.querySelectorAll("svg g.node")].map((node) => [
  node.querySelector("text").textContent,
  getComputedStyle(node.querySelector("circle, rect, polygon")).fill,
]))
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> FlowProject:
    made = FlowProject(tmp_path_factory.mktemp("browser"))
    made.write("main.py", FLOW)
    return made


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browsing() as opened:
        yield opened


def colours(page: Page) -> dict[str, str]:
    return dict(page.evaluate(NODES))


def show(page: Page, url: str, expected: dict[str, str], charts: int = 0) -> None:
    """Open ExpOps' UI again and again, as its graph grows with the run, until its nodes have these colours.

    The page asks for the charts and for the nodes once, one after the other, so that a node that
    came in between is no chart until the page is opened anew.
    """
    wanted = {name: COLOURS[status] for name, status in expected.items()}
    clickable = "document.querySelectorAll('g.node.clickable').length"

    def shows() -> bool:
        page.open(url)
        try:
            wait_until(lambda: colours(page) == wanted and page.evaluate(clickable) == charts, 6, "the colours")
        except AssertionError:
            return False
        return True

    wait_until(shows, 90, f"nodes {expected}", on_failure=lambda: str(colours(page)))


def test_expops_ui(shop: FlowProject, page: Page, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    done = dict.fromkeys(("load", "clean", "train", "evaluate", "report", FLOW_NODE), "completed")
    with ui(shop) as (server, _):
        process = shop.start("main.py", env={"GATE": str(gate)})
        try:
            show(
                page, server.url, {"load": "completed", "clean": "completed", "train": "running", FLOW_NODE: "running"}
            )
            page.picture("expops-running")
        finally:
            gate.touch()
            shop.finish(process).ok()
        show(page, server.url, done, charts=1)
        page.picture("expops-completed")

        page.hover("g.node:has(text:text-is('train')) circle")
        tooltip = page.evaluate("document.querySelector('.tooltip').innerText")
        assert "train" in tooltip
        assert "completed" in tooltip.lower()
        page.picture("expops-tooltip")
        page.click("g.node.clickable")
        picture = "(document.querySelector('#chartModal:not(.hidden) img') ?? {}).naturalWidth > 100"
        wait_until(lambda: bool(page.evaluate(picture)), 30, "the chart opens", on_failure=page.text)
        page.picture("expops-chart")

        failed = shop.run("main.py", env={"FAIL": "1"})
        assert failed.returncode != 0
        ended = {**dict.fromkeys(done, "cached"), "publish": "failed", FLOW_NODE: "failed"}
        show(page, server.url, ended, charts=1)
        assert "failed" in page.text()
        page.picture("expops-cached", shown_as="expops-ui")


def test_prefects_ui(shop: FlowProject, page: Page) -> None:
    if not shop.project().runs():
        shop.run("main.py").ok()
    shop.run("main.py").ok()
    project = shop.project()
    run = shop.last_run()
    ui_url = os.environ["PREFECT_API_URL"].removesuffix("/api")
    summary, metrics = (
        artifacts(key={"any_": [key]}, flow_run_id={"any_": [run.flow_run_id]})[0]
        for key in (f"expops-{project.project_id}", f"expops-{project.project_id}-metrics")
    )
    drawn = "[...document.images].some((image) => image.src.startsWith('data:') && image.naturalWidth > 100)"
    for version, base in BASES.items():
        page.open(f"{ui_url}{base}/artifacts/artifact/{summary['id']}")
        page.wait_for_text(run.run_id, "from the cache", "3\N{NO-BREAK SPACE}cached", "scores (report)")
        wait_until(lambda: bool(page.evaluate(drawn)), 30, "the chart is drawn", on_failure=page.text)
        page.picture(f"prefect-summary-{version}", shown_as="prefect-ui" if version == "v2" else None)
        if version == "v1":
            page.wait_for_text("flowchart", 'n0["load')  # only the newer one draws it
    drawn_nodes = diagram(page)
    assert [label.split("\n")[0] for label in drawn_nodes] == ["load", "clean", "train", "evaluate", "report"]
    assert drawn_nodes["train"].startswith("train\n3 calls, ")
    page.evaluate("document.querySelector('svg[id^=mermaid]').scrollIntoView()")
    page.picture("prefect-graph")
    page.open(f"{ui_url}/artifacts/artifact/{metrics['id']}")
    page.wait_for_text("lowest", "loss", "train #3")
    page.picture("prefect-metrics")

    (task_run,) = (row.fields["task_run_id"] for row in project.rows(run.run_id) if row.label == "load")
    # Task runs reach the server in events, a moment later, and the page does not ask again.
    known = f"{os.environ['PREFECT_API_URL']}/task_runs/{task_run}"
    wait_until(lambda: httpx.get(known).json().get("state_name") == "Cached", 60, "the server knows the task run")
    page.open(f"{ui_url}/runs/task-run/{task_run}?tab=Artifacts")
    page.wait_for_text("Cached", "From the cache")
    page.picture("prefect-task-run")
    (link,) = artifacts(task_run_id={"any_": [task_run]})
    page.open(f"{ui_url}/artifacts/artifact/{link['id']}")
    page.wait_for_text("computed by this task run")
    page.open(page.evaluate("[...document.links].find((link) => link.innerText.startsWith('computed by')).href"))
    page.wait_for_text("Completed", "load")
    page.picture("prefect-source")


def test_long_names_leave_the_panel_of_prefects_uis_alone(shop: FlowProject, page: Page) -> None:
    assert shop.run("main.py", env={"LONG": LONG}).returncode == 0
    run = shop.last_run()
    key = f"expops-{shop.project().project_id}"
    summary, calls = (
        artifacts(key={"any_": [name]}, flow_run_id={"any_": [run.flow_run_id]})[0] for name in (key, f"{key}-calls")
    )
    page.size(1280, 800)
    for version, base in BASES.items():
        page.open(f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}{base}/artifacts/artifact/{summary['id']}")
        page.wait_for_text("a_task_whose_…n_artifact", "Whole names", LONG, "Created")
        right, panel = page.evaluate(EDGES)
        assert right < panel, f"{version}: the table ends at {right}, and the panel begins at {panel}"
        page.picture(f"prefect-long-names-{version}")
        page.open(f"{os.environ['PREFECT_API_URL'].removesuffix('/api')}{base}/artifacts/artifact/{calls['id']}")
        page.wait_for_text("a_task_whose_…rtifact #1", "train #3", "task run")
        page.picture(f"prefect-calls-{version}")


def test_the_graph_of_a_run_in_prefects_ui(page: Page, prefect_server: str) -> None:
    overview = RunSummary()
    labels = dict(enumerate(HOSTILE))
    for number, label in labels.items():
        status = ("completed", "cached", "failed")[number % 3]
        said = {"failure": label} if status == "failed" else {}
        before = [f"p{number - 1}"] if number % 4 else []
        fields = {"started_at": 1.0 + number, "ended_at": 2.5 + number, "upstream": before, **said}
        overview.ended(process_path(f"p{number}"), label or "empty", status, fields)
    text = diagram_of(overview.lines, {f"p{number}": label or "empty" for number, label in labels.items()})
    made = {"type": "markdown", "key": "expops-graph", "data": f"### Graph\n\n{text}"}
    artifact = httpx.post(f"{prefect_server}/artifacts/", json=made, timeout=60).json()["id"]
    page.size(1280, 1400)
    for theme in ("light", "dark"):
        page.open(f"{prefect_server.removesuffix('/api')}/v2/artifacts/artifact/{artifact}")
        page.evaluate(f"localStorage.setItem('vite-ui-theme', '{theme}')")
        page.open(f"{prefect_server.removesuffix('/api')}/v2/artifacts/artifact/{artifact}")
        shown = diagram(page)
        assert len(shown) == len(HOSTILE)
        assert page.evaluate("document.documentElement.classList.contains('dark')") is (theme == "dark")
        assert page.evaluate(f"{SVG}.querySelectorAll({MARKUP!r}).length") == 0
        assert page.evaluate("window.hit ?? null") is None
        page.picture(f"prefect-graph-{theme}")
    page.evaluate("localStorage.removeItem('vite-ui-theme')")
    for label in HOSTILE:
        if label.isascii() and label.isprintable() and label and len(label) < 18:
            assert any(text.replace("\N{WORD JOINER}", "").startswith(f"{label}\n") for text in shown.values()), label


def test_sixty_processes_can_be_read_in_prefects_ui(page: Page, prefect_server: str) -> None:
    shapes: dict[str, list[tuple[int, int]]] = {
        "fan": [(0, number) for number in range(1, 59)] + [(number, 59) for number in range(1, 59)],
        "layers": [(node, node - node % 6 + 6 + (node + step) % 6) for node in range(54) for step in (0, 2)],
    }
    page.size(1280, 900)
    for shape, links in shapes.items():
        overview = RunSummary()
        for number in range(60):
            before = [f"load_table_{source}" for source, target in links if target == number]
            fields = {"started_at": 1.0 + number, "ended_at": 2.5 + number, "upstream": before}
            name = f"load_table_{number}"
            overview.ended(process_path(name), name, ("completed", "cached")[number % 2], fields)
        made = {"type": "markdown", "key": "expops-graph", "data": diagram_of(overview.lines, {})}
        artifact = httpx.post(f"{prefect_server}/artifacts/", json=made, timeout=60).json()["id"]
        page.open(f"{prefect_server.removesuffix('/api')}/v2/artifacts/artifact/{artifact}")
        assert len(diagram(page)) == 60
        scale = page.evaluate(f"{SVG}.getBoundingClientRect().width / {SVG}.viewBox.baseVal.width")
        assert scale > 0.8, f"{shape} is shown at {scale:.0%} of its size"


MARKUP = "script, img, image, a, math, i, b, em, strong, code, ul, ol, style ~ style"
SVG = "document.querySelector('svg[id^=mermaid]')"


def diagram(page: Page) -> dict[str, str]:
    """What the nodes of a diagram say, by their first lines, once it is drawn."""
    said = f"[...{SVG}.querySelectorAll('g.node foreignObject div')].map((node) => node.innerText)"
    drawn = f"({SVG} ?? document.createElement('p')).getBoundingClientRect().width > 0"
    wait_until(lambda: bool(page.evaluate(drawn)), 30, "the diagram is drawn", on_failure=page.text)
    texts = [str(text).strip() for text in page.evaluate(said)]
    return {text.split("\n")[0]: text for text in texts}


BASES = {"v1": "", "v2": "/v2"}
"""Where Prefect serves its two interfaces."""
EDGES = """
(() => {
  const right = [...document.querySelectorAll("table td, table th")].map((cell) => cell.getBoundingClientRect().right);
  const words = [...document.querySelectorAll("*")].filter((each) => !each.children.length);
  const panel = words.filter((each) => each.textContent.trim() === "Created");
  return [Math.max(...right), Math.min(...panel.map((each) => each.getBoundingClientRect().left))];
})()
"""


def artifacts(**filters: Any) -> list[dict[str, Any]]:
    url = f"{os.environ['PREFECT_API_URL']}/artifacts/filter"
    found: list[dict[str, Any]] = httpx.post(url, json={"artifacts": filters}, timeout=60).json()
    return found
