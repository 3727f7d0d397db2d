"""The real ``expops run`` and ours on the templates that ExpOps ships: the same metrics, shown by its real server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from expops_prefect.models.names import parse_path
from tests.expops.bridge.project import ExpOpsProject
from tests.interop.expops import Shown, serving
from tests.interop.templates import Template


@pytest.mark.nightly
def test_the_basic_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = Template(tmp_path, "sklearn-basic")
    theirs = template.run_by_expops()
    first, second = run_twice(template, theirs.run_id)
    split = ExpOpsProject(tmp_path, monkeypatch)
    statuses = split.run()

    with serving(tmp_path) as server:
        shown = server.project("sklearn-basic")
        assert {theirs.run_id, first, second} == set(shown.runs())
        for run in (first, second):
            assert_shown(shown, run, template.statuses(run))
        runs = (theirs.run_id, second)
        charts = {run: shown.charts(run)["plot_metrics"]["items"] for run in runs}
        assert {items[0]["title"] for items in charts.values()} == {"accuracy.png"}
        assert all(shown.chart(run, items[0]).startswith(b"\x89PNG") for run, items in charts.items())
        # Partitions and seeds are where the real graph has them.
        assert_shown(server.project("shop"), split.last_run().run_id, statuses)

    # A parameter of one process alone; its result stays the same, and so does what follows.
    config = template.root / "configs" / "project_config.yaml"
    text = config.read_text()
    assert text.count('- name: "train_model"\n') == 1
    config.write_text(text.replace('- name: "train_model"\n', '- name: "train_model"\n        parameters: {seed: 1}\n'))
    found = {path.split("'")[1]: status for path, status in template.statuses(template.run_by_us().run_id).items()}
    assert found == {"train_model": "completed", "evaluate_model": "cached", "plot_metrics": "cached"}


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_the_large_template(tmp_path: Path) -> None:
    template = Template(tmp_path, "premier-league", rows=1200)
    # As ExpOps' workers have it: another number of threads sums up in another order.
    template.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    _, second = run_twice(template, template.run_by_expops().run_id)
    statuses = template.statuses(second)
    with serving(tmp_path) as server:
        assert_shown(server.project("premier-league"), second, statuses)
    assert len(statuses) == 76
    layers = Counter(parsed.layers for path in statuses if (parsed := parse_path(path)) is not None)
    expected: Counter[tuple[str, ...]] = Counter({(part, seed): 17 for part in ("P1", "P2") for seed in ("S41", "S42")})
    assert layers == expected + Counter({("P1",): 1, ("P2",): 1, (): 6})

    # The network of one branch of the pipeline, and what depends on it.
    again = template.run_by_us("--param", "nn_training_a.epochs=7")
    executed = {path for path, status in template.statuses(again.run_id).items() if status == "completed"}
    names = {"nn_training_a", "nn_inference_a", "nn_best_selection", "nn_best_inference", "test_metrics_comparison"}
    names |= {"ensemble_inference"}
    found = {parsed.process for path in executed if (parsed := parse_path(path)) is not None}
    assert {"nn_training_a", "nn_inference_a"} <= found <= names


def run_twice(template: Template, theirs: str) -> tuple[str, str]:
    """Run a template by us, twice, and compare that with what ExpOps has recorded."""
    first = template.run_by_us()
    assert set(template.statuses(first.run_id).values()) == {"completed"}
    # ExpOps may write its own statuses in the wrong order, and leave a process that has ended running.
    assert template.statuses(first.run_id).keys() == template.statuses(theirs).keys()
    metrics = template.metrics(theirs)
    assert metrics
    assert template.metrics(first.run_id) == metrics

    second = template.run_by_us()
    assert set(template.statuses(second.run_id).values()) == {"cached"}
    assert template.metrics(second.run_id) == metrics
    return first.run_id, second.run_id


def assert_shown(shown: Shown, run: str, statuses: dict[str, str]) -> None:
    """The real server draws these processes and no others, each with its status."""
    nodes = set(shown.graph()["nodes"])
    found = {path: status for path, status in shown.statuses(run).items() if path in nodes}
    assert found == statuses
