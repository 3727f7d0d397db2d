"""The pipeline graph of a run: which process used data from which, and which processes drew charts.

A pure function over recorded rows. ExpOps' graph has one node for each process and no cycles.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from expops_prefect.models.names import parse_path
from expops_prefect.record.process_rows import Row

Edge = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Graph:
    """The processes of a run and the data flow between them.

    Attributes:
        processes: their names, in the order of their start.
        edges: pairs of a process and one that used its data; without cycles.
        charts: the processes that drew a chart, themselves or in one of their steps.
        left_out: edges that would close a cycle, for instance because a process is called again with its results.
    """

    processes: tuple[str, ...] = ()
    edges: tuple[Edge, ...] = ()
    charts: frozenset[str] = frozenset()
    left_out: tuple[Edge, ...] = field(default=())

    @property
    def adjacency(self) -> str:
        """ExpOps' ``process_adjlist``: a line for each process with successors, ``source target [target…]``."""
        lines = []
        for process in self.processes:
            targets = [target for source, target in self.edges if source == process]
            if targets:
                lines.append(" ".join([process, *targets]))
        # Without any edges, list the lone processes: ExpOps' UI draws them only then.
        return "".join(f"{line}\n" for line in lines or self.processes)

    @property
    def alone(self) -> tuple[str, ...]:
        """Processes without an edge, which ExpOps' UI does not draw if there are any edges."""
        linked = {process for edge in self.edges for process in edge}
        return tuple(process for process in self.processes if process not in linked)

    def sources(self, process: str) -> tuple[str, ...]:
        """The processes whose data a process used."""
        return tuple(source for source, target in self.edges if target == process)


def graph_of(rows: Iterable[Row], charts: Collection[str] = ()) -> Graph:
    """The graph of a run.

    Args:
        rows: the run's rows: processes, calls and steps. Data of a step count as its process's.
        charts: the probe paths that have charts.
    """
    started: dict[str, float] = {}
    taken: dict[Edge, None] = {}
    for row in sorted(rows, key=lambda row: (row.started_at or float("inf"), row.path)):
        parsed = parse_path(row.path)
        if parsed is None:
            continue
        if parsed.step is None:
            started.setdefault(parsed.process, row.started_at or float("inf"))
        taken.update(((source, parsed.process), None) for source in row.upstream if source != parsed.process)
    processes = tuple(sorted(started, key=lambda name: (started[name], name)))
    edges, left_out = without_cycles(processes, [edge for edge in taken if set(edge) <= set(processes)])
    drawn = {parsed.process for path in charts if (parsed := parse_path(path)) is not None}
    return Graph(processes, edges, frozenset(drawn & set(processes)), left_out)


def without_cycles(processes: Sequence[str], edges: Sequence[Edge]) -> tuple[tuple[Edge, ...], tuple[Edge, ...]]:
    """Separate the edges that would close a cycle from the others; returns the others first.

    Args:
        processes: all processes, in the order of their start: edges that lead back are left out first.
        edges: the edges between them.
    """
    place = {process: number for number, process in enumerate(processes)}
    in_order = sorted(edges, key=lambda edge: (place[edge[0]] > place[edge[1]], place[edge[0]], place[edge[1]]))
    below: dict[str, set[str]] = {process: {process} for process in processes}
    kept, left_out = [], []
    for source, target in in_order:
        if source in below[target]:
            left_out.append((source, target))
            continue
        kept.append((source, target))
        for reached in below.values():
            if source in reached:
                reached |= below[target]
    kept.sort(key=lambda edge: (place[edge[0]], place[edge[1]]))
    return tuple(kept), tuple(left_out)
