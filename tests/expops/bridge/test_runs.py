"""An ExpOps project as a flow: data, seeds, splits, steps, metrics, charts, and what is executed again when."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.documents.pages import blocks, pages
from tests.expops.bridge.project import BRANCHES, ExpOpsProject, branch, plain
from tests.support.backends import Cloud

pytestmark = pytest.mark.usefixtures("prefect_server")

EVERYTHING = Counter(load=1, fit=4, train=4, score=4, collect=1, report=1)
PROCESSES = [
    *(plain(name) for name in ("load", "halves", "collect", "report")),
    *(f"//*[@partition='p{part}']/process[@name='seeds']" for part in (1, 2)),
    *(branch(name, part, seed) for name in ("fit", "score") for part, seed in BRANCHES),
]


def test_everything_is_executed_once_and_nothing_the_second_time(expops_project: ExpOpsProject) -> None:
    assert expops_project.run() == dict.fromkeys(PROCESSES, "completed")
    assert expops_project.executions() == EVERYTHING
    first, logged = expops_project.last_run(), expops_project.metrics()
    rows = expops_project.rows()
    steps = {f"{branch('fit', part, seed)}/step[@name='train']" for part, seed in BRANCHES}
    assert {path: row.status for path, row in rows.items()} == dict.fromkeys([*PROCESSES, *steps], "completed")
    assert set(rows[branch("score", 1, 42)].upstream) == {"fit"}

    assert expops_project.run() == dict.fromkeys(PROCESSES, "cached")
    assert expops_project.executions() == Counter()
    rows = expops_project.rows()
    assert {path: row.status for path, row in rows.items()} == dict.fromkeys(PROCESSES, "cached")
    assert {row.cached_run_id for row in rows.values()} == {first.run_id}
    assert expops_project.metrics() == logged


def test_data_parameters_and_seeds_arrive_by_name(expops_project: ExpOpsProject) -> None:
    expops_project.run()
    metrics = expops_project.metrics()
    assert metrics[plain("load")]["random_seed"] == {"1": 7}
    for part, seed in BRANCHES:
        fit = metrics[branch("fit", part, seed)]
        # The unit; the rate, the rows and the seed are named.
        assert (fit["others"], fit["random_seed"]) == ({"1": 1}, {"1": seed})
        # The project's rate, 2, times the rows of this part.
        assert metrics[branch("score", part, seed)]["total"] == {"1": 2.0 if part == 1 else 10.0}
    collected = metrics[plain("collect")]
    assert (collected["part1"], collected["part2"]) == ({"1": 4.0}, {"1": 20.0})


def test_metrics_of_any_shape_are_kept_as_series_and_given_to_charts_as_they_are(
    expops_project: ExpOpsProject,
) -> None:
    expops_project.run()
    load = expops_project.metrics()[plain("load")]
    # What is no number is not kept, and stops nothing.
    assert load == {"random_seed": {"1": 7}, "sizes": {"1": 4, "2": 8}, "histogram": {"1": 3, "2": 4}}
    losses = expops_project.metrics()[f"{branch('fit', 1, 41)}/step[@name='train']"]["loss"]
    assert losses == {"1": 2.0, "2": 1.0}

    charts = expops_project.project.charts(expops_project.last_run().run_id)
    assert list(charts) == [plain("report")]
    (item,) = charts[plain("report")]
    assert item["title"] == "losses.png"
    drawn: dict[str, Any] = dict(eval(Path(str(item["object_path"])).read_bytes()[28:]))
    steps = [f"{branch('fit', part, seed)}/step[@name='train']" for part, seed in BRANCHES]
    aliases = ["fit", *(f"fit__{number}" for number in range(2, 6))]
    assert sorted(drawn) == sorted(["load", "load__2", "first", *steps, *aliases])
    assert drawn["load"]["columns"] == ["a", "b"]
    assert drawn["load"]["histogram"] == {"1": 3, "2": 4}
    assert drawn["first"] == drawn["fit__5"]
    assert drawn[steps[0]] == drawn["fit"]
    assert drawn["fit"]["loss"] == {"1": 2.0, "2": 1.0}


def test_random_numbers_differ_between_branches_and_are_the_same_everywhere(
    expops_project: ExpOpsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draws(project: ExpOpsProject) -> list[tuple[Any, Any]]:
        project.run()
        assert project.executions() == EVERYTHING
        metrics = project.metrics()
        paths = [branch("fit", part, seed) for part, seed in BRANCHES]
        return [(metrics[path]["drawn"], metrics[f"{path}/step[@name='train']"]["draw"]) for path in paths]

    first = draws(expops_project)
    assert len({str(value) for pair in first for value in pair}) == 8
    assert draws(ExpOpsProject(tmp_path / "another checkout", monkeypatch)) == first


def test_a_parameter_executes_again_what_it_changes(expops_project: ExpOpsProject) -> None:
    expops_project.run()
    # Only fit has ever seen the rate; what follows it gets other data.
    expops_project.run(rate=3.0)
    assert expops_project.executions() == EVERYTHING - Counter(load=1)
    expops_project.run(rate=2.0)
    assert expops_project.executions() == Counter()
    # Of the process itself; of all others one has other data.
    expops_project.configure({"load": {"parameters": {"count": 5}}})
    expops_project.run()
    assert expops_project.executions() == EVERYTHING
    expops_project.run(**{"load.count": 4})
    assert expops_project.executions() == Counter(load=1)


def test_changed_code_executes_again_what_uses_it(expops_project: ExpOpsProject) -> None:
    expops_project.run()
    expops_project.edit("src/model.py", 'log_metric(f"part{number}", sum(', 'log_metric(f"part{number}", -sum(')
    expops_project.run()
    assert expops_project.executions() == Counter(collect=1)
    # A step of its own: the process around it as well, but nothing after it, whose data are the same.
    expops_project.edit("src/model.py", "in (1, 2):", "in (1, 2, 3):")
    expops_project.run()
    assert expops_project.executions() == Counter(fit=4, train=4, report=1)
    assert len(expops_project.metrics()[f"{branch('fit', 1, 41)}/step[@name='train']"]["loss"]) == 3


def test_a_step_survives_its_process_and_other_branches_go_on(
    expops_project: ExpOpsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKEN", "42")
    with pytest.raises(ValueError, match="on purpose"):
        expops_project.run()
    statuses = {path: row.status for path, row in expops_project.rows().items()}
    assert {statuses[branch("fit", part, 42)] for part in (1, 2)} == {"failed"}
    assert {statuses[branch("score", part, 41)] for part in (1, 2)} == {"completed"}
    assert plain("collect") not in statuses
    assert branch("score", 1, 42) not in statuses
    assert expops_project.last_run().status == "failed"

    monkeypatch.delenv("BROKEN")
    expops_project.run()
    assert expops_project.executions() == Counter(fit=2, score=2, collect=1, report=1)
    path = branch("fit", 1, 42)
    assert expops_project.rows()[f"{path}/step[@name='train']"].status == "cached"
    # What the step logged when it was executed is there for this run, and for the chart.
    assert expops_project.metrics()[f"{path}/step[@name='train']"]["loss"] == {"1": 2.0, "2": 1.0}


def test_a_process_that_does_not_fit_fails_alone_and_says_why(expops_project: ExpOpsProject) -> None:
    expops_project.edit("src/model.py", "def score(weights, offset):", "def score(weights, bias):")
    with pytest.raises(RuntimeError, match=r"score: missing a required argument: 'bias'.*: offset, weights"):
        expops_project.run()
    assert expops_project.rows()[branch("score", 1, 41)].status == "failed"
    expops_project.edit("src/model.py", "def score(weights, bias):", "def score(weights, offset):")
    expops_project.edit("src/model.py", 'return {"total": total}', "return total")
    with pytest.raises(RuntimeError, match="'score' must return a dictionary of its outputs, not float"):
        expops_project.run()


def test_a_split_with_a_function_and_sizes_of_its_own(expops_project: ExpOpsProject) -> None:
    expops_project.configure({"halves": {"data_parallelism": {"size": [1, 3], "data_name": "rows"}}})
    expops_project.edit(
        "src/model.py",
        '@process(description="fits")',
        '@process()\ndef halves(rows):\n    return [row * 10 for row in rows]\n\n\n@process(description="fits")',
    )
    expops_project.run()
    metrics = expops_project.metrics()
    totals = [metrics[branch("score", part, 41)]["total"]["1"] for part in (1, 2)]
    assert totals == [0.0, 120.0]
    # A list is all that it gives: the unit stays behind.
    assert metrics[branch("fit", 1, 41)]["others"] == {"1": 0}


def test_it_is_deployed_like_any_flow(expops_project: ExpOpsProject, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.flows import load_flow_from_entrypoint

    (shown,) = blocks(pages()["docs/expops-projects.md"], "python")
    expops_project.write("pipeline.py", shown.replace("as_flow()", "as_flow(log_prints=True)"))
    loaded: Any = load_flow_from_entrypoint(f"{expops_project.root / 'pipeline.py'}:pipeline")
    assert loaded.name == "shop"
    assert loaded.log_prints
    assert "parameters" in loaded.parameters.properties
    # What serve() starts its own process with, in the project's folder.
    monkeypatch.chdir(expops_project.root)
    deployment = expops_project.project.as_flow().to_deployment("nightly")
    served: Any = load_flow_from_entrypoint(deployment.entrypoint)  # type: ignore[union-attr, arg-type]
    assert set(served()) == set(PROCESSES)
    assert expops_project.executions() == EVERYTHING


def test_on_firestore_and_cloud_storage(
    expops_project: ExpOpsProject, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("EXPOPS_PROJECT_ID", f"shop-{uuid.uuid4().hex[:8]}")
    path = expops_project.root / "configs" / "project_config.yaml"
    content = yaml.safe_load(path.read_text())
    content["experiment"]["cache"] = cloud.section("gcp-gcs")
    # Every output becomes an object of its own.
    content["prefect"] = {"cache": {"spill_bytes": 1}}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    assert set(expops_project.run().values()) == {"completed"}
    logged = expops_project.metrics()
    assert branch("score", 2, 42) in logged
    assert set(expops_project.run().values()) == {"cached"}
    assert expops_project.executions() == Counter()
    assert expops_project.metrics() == logged
    # What was stored is loaded where it is wanted.
    expops_project.edit("src/model.py", 'log_metric("total", total)', 'log_metric("sum", total)')
    expops_project.run()
    assert expops_project.executions() == Counter(score=4)
    assert expops_project.metrics()[branch("score", 2, 42)] == {"sum": {"1": 10.0}}


def test_advice_names_no_decorator_where_there_is_none(
    expops_project: ExpOpsProject, caplog: pytest.LogCaptureFixture
) -> None:
    expops_project.edit(
        "configs/project_config.yaml",
        "prefect: {project_id: shop}",
        "prefect: {project_id: shop, cache: {default: pure, processes: {load: {enabled: true}}}}",
    )
    caplog.set_level(logging.INFO)
    expops_project.run()
    said = "\n".join(record.getMessage() for record in caplog.records if record.name == "prefect.expops")
    assert "to cache it anyway, set prefect.cache.processes.fit.ttl" in said
    assert "Give it prefect.cache.processes.load.ttl" in said
    assert not [word for word in ("EXPOPS -", "@task", "cache_policy", "cache_expiration", "NO_CACHE") if word in said]
