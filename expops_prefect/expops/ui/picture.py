"""What ExpOps' UI draws of a project. It has one graph for all runs, a click for one chart, and hides what has no edge.

So the graph is that of the newest runs of each flow together. Each flow has a node of its own, which leads to the
processes that take no data, and each further chart has one, below its process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from expops_prefect.models import names
from expops_prefect.record.process_rows import Row
from expops_prefect.stores.kv.base import JSON
from expops_prefect.views.graph import Edge, Graph, graph_of, without_cycles

Charts = Mapping[str, Sequence[Mapping[str, JSON]]]
MOST_CHARTS: Final = 12
"""Nodes for the charts of one process: further ones, as of many mapped calls, are named in Prefect's artifact."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What is drawn of a run: its flow's name, its rows, and its charts by probe path."""

    flow: str
    rows: Sequence[Row]
    charts: Charts


@dataclass(frozen=True, slots=True)
class ChartNode:
    """A node for a chart.

    Attributes:
        process: the node that it is below.
        item: the chart, as it is recorded.
    """

    process: str
    item: Mapping[str, JSON]


def flow_node(flow: str) -> str:
    """The node of a flow; no process has its name by chance."""
    return names.normalise(f"{flow}.flow")


def chart_nodes(shown: Shown) -> dict[str, ChartNode]:
    """A node for each chart of a run, named by its title first: what is drawn of a name is its beginning."""
    found: dict[str, ChartNode] = {}
    for process, charts in _by_process(shown).items():
        for name, item in charts[:MOST_CHARTS]:
            found[name] = ChartNode(process, item)
    return found


def first_charts(shown: Shown) -> dict[str, Mapping[str, JSON]]:
    """The chart that a click on a process or a flow opens."""
    return {process: charts[0][1] for process, charts in _by_process(shown).items()}


def picture(runs: Iterable[Shown]) -> Graph:
    """The graph of runs together, flows and charts among its nodes."""
    nodes: dict[str, None] = {}
    edges: dict[Edge, None] = {}
    drawn: set[str] = set()
    for shown in runs:
        graph = graph_of(shown.rows, shown.charts)
        flow = flow_node(shown.flow)
        nodes.update(dict.fromkeys((flow, *graph.processes)))
        edges.update(dict.fromkeys((flow, process) for process in graph.processes if not graph.sources(process)))
        edges.update(dict.fromkeys(graph.edges))
        first = first_charts(shown)
        drawn |= set(first)
        for name, chart in chart_nodes(shown).items():
            if chart.item is not first[chart.process]:
                nodes[name] = None
                edges[chart.process, name] = None
                drawn.add(name)
    kept, left_out = without_cycles(tuple(nodes), list(edges))
    return Graph(tuple(nodes), kept, frozenset(drawn), left_out)


def _by_process(shown: Shown) -> dict[str, list[tuple[str, Mapping[str, JSON]]]]:
    processes = {parsed.process for row in shown.rows if (parsed := names.parse_path(row.path)) is not None}
    found: dict[str, list[tuple[str, Mapping[str, JSON]]]] = {}
    # That of the process itself before those of its calls and steps.
    for path in sorted(shown.charts, key=lambda path: (len(path), path)):
        parsed = names.parse_path(path)
        if parsed is None:
            continue
        # What the flow's own body draws stands under its name, and has no row.
        process = parsed.process if parsed.process in processes else flow_node(shown.flow)
        for item in shown.charts[path]:
            name = names.normalise(".".join(_parts(str(item.get("title")), parsed)))
            found.setdefault(process, []).append((name, item))
    return found


def _parts(title: str, place: names.CanonicalName) -> Iterator[str]:
    yield title
    yield place.process
    yield from (layer.lower() for layer in place.layers)
    if place.step is not None:
        yield place.step
        if place.step_call:
            yield f"p{place.step_call}"
