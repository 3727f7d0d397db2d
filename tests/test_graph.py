"""A run's rows as ExpOps' graph."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expops_prefect.models.names import process_path, step_path
from expops_prefect.record.process_rows import Row
from expops_prefect.views.graph import Graph, graph_of


def row(path: str, started: float | None, *upstream: str) -> Row:
    fields: dict[str, Any] = {"status": "completed", "started_at": started, "upstream": list(upstream)}
    return Row.load(path, fields)


LOAD, TRAIN, REPORT = (process_path(name) for name in ("load", "train", "report"))


def test_processes_stand_as_they_started_and_calls_and_steps_count_for_them() -> None:
    rows = [
        row(REPORT, 9, "train"),
        row(process_path("train", 2), 4, "split"),
        row(TRAIN, 3, "load", "split"),
        row(step_path(TRAIN, "scale"), 3.5, "train", "weights"),
        row(process_path("weights"), 2.5),
        row(process_path("split"), 2, "load"),
        row(LOAD, 1),
    ]
    graph = graph_of(rows, [step_path(TRAIN, "scale", 2), REPORT, process_path("a-flow")])
    assert graph.processes == ("load", "split", "weights", "train", "report")
    assert graph.adjacency == "load split train\nsplit train\nweights train\ntrain report\n"
    assert graph.charts == {"train", "report"}
    assert graph.sources("train") == ("load", "split", "weights")
    assert (graph.left_out, graph.alone) == ((), ())


def test_a_process_that_is_called_with_its_own_results_makes_no_cycle() -> None:
    rows = [row(LOAD, 1, "report"), row(TRAIN, 2, "train", "load"), row(REPORT, 3, "train")]
    graph = graph_of(rows)
    assert graph.edges == (("load", "train"), ("train", "report"))
    assert graph.left_out == (("report", "load"),)


def test_clocks_of_two_machines_do_not_cost_an_edge() -> None:
    assert graph_of([row(LOAD, 5), row(TRAIN, 4, "load")]).edges == (("load", "train"),)


def test_processes_without_edges() -> None:
    assert graph_of([row(LOAD, None), row(TRAIN, 1)]).adjacency == "train\nload\n"
    assert graph_of([row(LOAD, 1), row(TRAIN, 2, "load"), row(REPORT, 3)]).alone == ("report",)
    assert graph_of([row("//*[@seed='1']/process[@name='x']", 1), row(LOAD, 1, "unknown")]).edges == ()
    assert graph_of([]) == Graph()


NAMES = "abcdef"


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20))
def test_there_is_never_a_cycle_and_no_edge_is_lost_without_need(edges: list[tuple[str, str]]) -> None:
    rows = [
        row(process_path(name), number, *(source for source, target in edges if target == name))
        for number, name in enumerate(NAMES)
    ]
    graph = graph_of(rows)
    assert set(graph.edges) | set(graph.left_out) == {edge for edge in edges if edge[0] != edge[1]}

    def reaches(source: str, target: str) -> bool:
        return source == target or any(reaches(after, target) for before, after in graph.edges if before == source)

    assert not any(reaches(target, source) for source, target in graph.edges)
    assert all(reaches(target, source) for source, target in graph.left_out), "each of them would close a cycle"
