"""The graph for ExpOps' UI, which has one graph for all runs, opens one chart a click, and hides nodes without edges.

So the graph combines the newest runs of each flow. Each flow gets a node, which leads to the processes that use no
data, and each further chart gets one below its process.
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
"""The most chart nodes of one process: further charts, as of many mapped calls, are in Prefect's artifact."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The parts of a run to draw: its flow's name, its rows, and its charts by probe path."""

    flow: str
    rows: Sequence[Row]
    charts: Charts


@dataclass(frozen=True, slots=True)
class ChartNode:
    """A node for a chart.

    Attributes:
        process: the node above it.
        item: the chart as recorded.
    """

    process: str
    item: Mapping[str, JSON]


def flow_node(flow: str) -> str:
    """The node of a flow; its name cannot be that of a process."""
    return names.normalise(f"{flow}.flow")


def chart_nodes(shown: Shown) -> dict[str, ChartNode]:
    """A node for each chart of a run. Its name starts with the title, because the UI cuts names at their end."""
    found: dict[str, ChartNode] = {}
    for process, charts in _by_process(shown).items():
        for name, item in charts[:MOST_CHARTS]:
            found[name] = ChartNode(process, item)
    return found


def first_charts(shown: Shown) -> dict[str, Mapping[str, JSON]]:
    """The chart that a click on a process or a flow opens."""
    return {process: charts[0][1] for process, charts in _by_process(shown).items()}


def picture(runs: Iterable[Shown]) -> Graph:
    """The combined graph of runs, including flows and charts."""
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
    # Charts of the process itself come before those of its calls and steps.
    for path in sorted(shown.charts, key=lambda path: (len(path), path)):
        parsed = names.parse_path(path)
        if parsed is None:
            continue
        # Charts of the flow's own body are under its name, which has no row.
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
