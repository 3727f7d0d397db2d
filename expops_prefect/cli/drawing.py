"""A run's graph as a tree for the terminal: each process is drawn below the last process whose data it used."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from rich.tree import Tree

from expops_prefect._internal.formatting import duration, saving, span
from expops_prefect.cli.output import label
from expops_prefect.models.names import process_path
from expops_prefect.record.process_rows import Row, row_labels
from expops_prefect.views.graph import Graph


def draw(graph: Graph, title: str, rows: Mapping[str, Row]) -> Tree:
    """Draw a graph.

    Args:
        graph: the graph.
        title: the title of the tree.
        rows: the run's rows by probe path, for the status and duration of each process.
    """
    labels = row_labels(rows.values())
    place = {process: number for number, process in enumerate(graph.processes)}
    tree = Tree(label(title), hide_root=not title)
    branches: dict[str, Tree] = {}
    waiting = list(graph.processes)
    while waiting:
        for process in waiting:
            sources = sorted(graph.sources(process), key=lambda source: place[source])
            if all(source in branches for source in sources):
                above = branches[sources[-1]] if sources else tree
                branches[process] = above.add(
                    _node(graph, process, sources[:-1], rows.get(process_path(process)), labels)
                )
        waiting = [process for process in waiting if process not in branches]
    return tree


def _node(graph: Graph, process: str, others: list[str], row: Row | None, labels: Mapping[str, str]) -> Text:
    parts = [labels.get(process, process)]
    if row is not None:
        calls = sum(row.calls.values())
        parts[0] += f" ({calls} calls)" if calls > 1 else ""
        parts += [row.status, (span if calls > 1 else duration)(row.execution_time)]
        if saved := saving(row.saved):
            parts.append(f"saved {saved}")
    if process in graph.charts:
        parts.append("chart")
    if others:
        parts.append(f"also from {', '.join(labels.get(name, name) for name in others)}")
    return label(*parts)
