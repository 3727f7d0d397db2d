"""The graph of a run as a Mermaid diagram, which Prefect's UI draws; text from users is never interpreted as markup.

The page shrinks a diagram that is wider than itself. So nodes are narrow, and the direction is the one in which the
diagram is narrower; its height does not matter. If both are too wide, the nodes stand in rows, and each names the
processes whose results it used.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from expops_prefect._internal.formatting import duration, saving
from expops_prefect.models.names import parse_path, readable
from expops_prefect.record.process_rows import Row
from expops_prefect.tracking.run_summary import ProcessSummary
from expops_prefect.views.graph import Edge, graph_of

SHOWN_NODES: Final = 60
"""The most nodes. Of more processes, those that are alike in outcome and neighbours share a node."""
SHOWN_EDGES: Final = 200
"""The most edges; Mermaid refuses more than 500."""
SHOWN_REASONS: Final = 10
"""The most failed nodes that say why; Mermaid refuses a text of more than 50,000 characters."""
_COLUMNS: Final = 3
"""How many nodes without edges to put beside each other."""
_NAME: Final = 18
_REASON: Final = 20
_MOST_REASON: Final = 100
_MOST_SOURCES: Final = 54
_NAMED: Final = 3
"""How many processes a node names that several share."""
_BESIDE: Final = 170
"""Pixels that a node needs beside others."""
_BEHIND: Final = 176
"""Pixels that a node needs before the next one where edges go to the right."""
_PASSING: Final = 0.15
"""The part of a node's width that an edge needs to pass a level."""
_ENTANGLED: Final = 0.35
"""How much wider each further edge of a node makes a level."""
_WIDEST: Final = 1100
"""Pixels; a page of usual width shows a diagram of this width at half its size."""

# Prefect's page has Mermaid 12, whose own layout needs more room for edges than dagre.
_SETTINGS: Final = (
    '%%{init: {"layout": "dagre", '
    '"flowchart": {"nodeSpacing": 20, "rankSpacing": 26, "padding": 8, "wrappingWidth": 240}}}%%'
)
_COLOURS: Final = {
    "executed": "fill:#d1fae5,stroke:#059669,color:#064e3b",
    "cached": "fill:#dbeafe,stroke:#2563eb,color:#1e3a8a",
    "failed": "fill:#fee2e2,stroke:#dc2626,color:#7f1d1d",
    "pending": "fill:#e5e7eb,stroke:#6b7280,color:#374151",
}
"""With a colour for the text too, so that nodes can be read on light and on dark pages."""
_EDGES: Final = "linkStyle default stroke:#94a3b8,fill:none"
_WORDS: Final = {"failed": "failed", "completed": "executed", "cached": "cached", "pending": "not started"}

_Group = tuple[str, ...]


@dataclass(frozen=True)
class _Drawing:
    """The nodes of a diagram and its edges.

    Attributes:
        nodes: the processes of each node.
        edges: pairs of the numbers of nodes, without cycles.
    """

    nodes: list[_Group]
    edges: list[tuple[int, int]]

    @property
    def levels(self) -> list[int]:
        """How many nodes are before each one on the longest way to it."""
        found = [0] * len(self.nodes)
        for _ in self.nodes:
            before = list(found)
            for source, target in self.edges:
                found[target] = max(found[target], found[source] + 1)
            if found == before:
                break
        return found

    @property
    def alone(self) -> list[int]:
        """The nodes without edges."""
        linked = {node for edge in self.edges for node in edge}
        return [node for node in range(len(self.nodes)) if node not in linked]


def diagram(lines: Sequence[ProcessSummary], labels: Mapping[str, str]) -> str:
    """The diagram as a block of Markdown, with notes below it; empty for fewer than two processes.

    Args:
        lines: the processes and steps of a run. A step is part of its process.
        labels: the users' names of processes.
    """
    graph = graph_of(
        Row.load(line.path, {"started_at": line.started, "upstream": sorted(line.upstream)}) for line in lines
    )
    by_name = {name: line for line in lines if (name := _process(line))}
    if len(graph.processes) < 2:
        return ""
    groups: list[_Group] = [(name,) for name in graph.processes]
    if len(groups) > SHOWN_NODES:
        groups = _folded(graph.processes, graph.edges, {name: _outcome(line) for name, line in by_name.items()})
    nodes, left = groups[:SHOWN_NODES], groups[SHOWN_NODES:]
    number = {name: place for place, group in enumerate(nodes) for name in group}
    links = ((number.get(source, -1), number.get(target, -1)) for source, target in graph.edges)
    edges = list(dict.fromkeys(link for link in links if min(link) >= 0))
    if len(edges) > SHOWN_EDGES:
        edges = _without_implied(edges)
    drawing = _Drawing(nodes, edges[:SHOWN_EDGES])
    notes = [
        *([f"{sum(map(len, left))} more processes are not drawn."] if left else []),
        *([f"{len(edges) - SHOWN_EDGES} more edges are not drawn."] if len(edges) > SHOWN_EDGES else []),
    ]
    return "\n\n".join(["\n".join(["```mermaid", *_drawn(drawing, by_name, labels), "```"]), *notes])


def _drawn(drawing: _Drawing, by_name: Mapping[str, ProcessSummary], labels: Mapping[str, str]) -> Iterator[str]:
    downward, across = _widths(drawing)
    in_rows = min(downward, across) > _WIDEST
    down = in_rows or downward <= across
    yield _SETTINGS
    yield f"flowchart {'TD' if down else 'LR'}"
    reasons, used = 0, set()
    for number, names in enumerate(drawing.nodes):
        lines = [by_name[name] for name in names]
        outcome = _outcome(lines[0])
        reasons += outcome == "failed"
        used.add(outcome)
        texts = [*_names(lines, labels), *_told(lines, why=reasons <= SHOWN_REASONS)]
        if in_rows:
            before = [drawing.nodes[source][0] for source, target in drawing.edges if target == number]
            texts += _sources([readable(by_name[name].path, labels) for name in before])
        yield f'  n{number}["{"<br/>".join(map(escaped, texts))}"]:::{outcome}'
    if not in_rows:
        yield from (f"  n{source} --> n{target}" for source, target in drawing.edges)
    apart = list(range(len(drawing.nodes))) if in_rows else drawing.alone
    for chain in _chains(apart, 1 if in_rows else max(drawing.levels) + 1, downward=down):
        yield from (f"  n{one} ~~~ n{other}" for one, other in pairwise(chain))
    for outcome in sorted(used):
        yield f"  classDef {outcome} {_COLOURS[outcome]}"
    if drawing.edges and not in_rows:
        yield f"  {_EDGES}"


def escaped(value: str) -> str:
    """A text that is nothing but text in a diagram.

    Everything that is markup in Mermaid or HTML becomes an entity. What Mermaid looks for only after it has replaced
    entities is parted by an invisible character: formulas, icons, backslash and n, and its own marks for entities.
    """
    parted = _LATE_MARKUP.sub("\N{WORD JOINER}", value)
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", parted)


_LATE_MARKUP: Final = re.compile(r"(?<=\$)(?=\$)|(?<=:)(?=fa-)|(?<=\\)(?=n)|(?<=\ufb02)(?=\xb0)|(?<=\xb6)(?=\xdf)")
_MARKUP: Final = re.compile(
    r"(?<![A-Za-z0-9])[_-]|[_-](?![A-Za-z0-9])|(?<![0-9])\.|\.(?![0-9])|[^A-Za-z0-9 ,._\-\x80-\U0010ffff]"
)
"""The ASCII characters that may be markup. A dot inside a number and a dash inside a word are not."""


# What a node says -------------------------------------------------------------------------------


def _process(line: ProcessSummary) -> str:
    """The name of a process; empty for a step."""
    parsed = parse_path(line.path)
    return "" if parsed is None or parsed.step is not None else parsed.process


def _outcome(line: ProcessSummary) -> str:
    for status, outcome in (("failed", "failed"), ("completed", "executed"), ("cached", "cached")):
        if line.calls[status]:
            return outcome
    return "pending"


def _names(lines: Sequence[ProcessSummary], labels: Mapping[str, str]) -> Iterator[str]:
    names = [readable(line.path, labels) for line in lines]
    if len(names) == 1:
        yield from _cut(names[0], _NAME, 2 * _NAME)
        return
    for name in names[:_NAMED]:
        yield from _cut(name, _NAME, _NAME)
    if len(names) > _NAMED:
        yield f"and {len(names) - _NAMED} more"


def _told(lines: Sequence[ProcessSummary], *, why: bool) -> Iterator[str]:
    calls = sum((line.calls for line in lines), Counter[str]())
    started = [line.started for line in lines if line.started is not None]
    ended = [line.ended for line in lines if line.ended is not None]
    took = f", {duration(max(ended) - min(started))}" if started and ended else ""
    if len(lines) == 1 and calls.total() <= 1:
        yield _WORDS[next(iter(calls), "pending")] + took
    else:
        yield f"{calls.total()} calls{took}"
        counts = {word: calls[status] for status, word in _WORDS.items() if calls[status]}
        yield from (f"{count} {word}" if len(counts) > 1 else word for word, count in counts.items())
    saved = saving(sum(line.saved for line in lines))
    if saved:
        yield f"saved {saved}"
    failure = next((line.failure for line in lines if line.failure), "")
    if failure and why:
        yield from _cut(failure, _REASON, _MOST_REASON)


def _sources(names: Sequence[str]) -> list[str]:
    return _cut(f"from {', '.join(names)}", _NAME, _MOST_SOURCES) if names else []


def _cut(value: str, width: int, most: int) -> list[str]:
    """A text in lines of a width, cut where it is longer than the most characters."""
    words = " ".join(value.split())
    shown = "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in words)
    return textwrap.wrap(shown if len(shown) <= most else f"{shown[: most - 1]}…", width) or [""]


# How the nodes lie ------------------------------------------------------------------------------


def _widths(drawing: _Drawing) -> tuple[float, float]:
    """The estimated width in pixels, with edges that go down and with edges that go to the right."""
    alone, levels = set(drawing.alone), drawing.levels
    beside = [0.0] * (max(levels) + 1)
    for node, level in enumerate(levels):
        beside[level] += node not in alone
    for source, target in drawing.edges:
        for level in range(levels[source] + 1, levels[target]):
            beside[level] += _PASSING
    linked = len(drawing.nodes) - len(alone)
    entangled = max(0.0, len(drawing.edges) / linked - 1) if linked else 0.0
    columns = len(_chains(drawing.alone, len(beside), downward=True))
    down = max(beside) * (1 + _ENTANGLED * entangled) + columns
    return down * _BESIDE, max(len(beside), min(len(alone), _COLUMNS)) * float(_BEHIND)


def _chains(nodes: Sequence[int], depth: int, *, downward: bool) -> list[Sequence[int]]:
    """Nodes without edges in chains of invisible ones; otherwise they would all be on the first level.

    Args:
        nodes: the nodes.
        depth: the number of levels of the other nodes.
        downward: whether the chains go down; the nodes are then in order from left to right.
    """
    if downward:
        columns = min(_COLUMNS, -(-len(nodes) // depth))
        return [nodes[column::columns] for column in range(columns)]
    length = max(depth, _COLUMNS)
    return [nodes[start : start + length] for start in range(0, len(nodes), length)]


# More than can be shown -------------------------------------------------------------------------


def _folded(processes: Iterable[str], edges: Sequence[Edge], outcomes: Mapping[str, str]) -> list[_Group]:
    """Group processes with the same outcome whose neighbours are in the same groups."""
    kinds: dict[str, Hashable] = {name: outcomes.get(name, "") for name in processes}
    while True:
        above: dict[str, set[Hashable]] = {name: set() for name in kinds}
        below: dict[str, set[Hashable]] = {name: set() for name in kinds}
        for source, target in edges:
            above[target].add(kinds[source])
            below[source].add(kinds[target])
        finer = {name: (kind, frozenset(above[name]), frozenset(below[name])) for name, kind in kinds.items()}
        numbers = {kind: number for number, kind in enumerate(dict.fromkeys(finer.values()))}
        groups = len(set(kinds.values()))
        kinds = {name: numbers[kind] for name, kind in finer.items()}
        if len(numbers) == groups:
            break
    found: dict[Hashable, list[str]] = {}
    for name, kind in kinds.items():
        found.setdefault(kind, []).append(name)
    return [tuple(group) for group in found.values()]


def _without_implied(edges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out the edges between nodes that longer ways connect too."""
    after: dict[int, set[int]] = {}
    for source, target in edges:
        after.setdefault(source, set()).add(target)

    def reached(node: int, found: set[int]) -> set[int]:
        for following in after.get(node, ()):
            if following not in found:
                found.add(following)
                reached(following, found)
        return found

    below = {node: reached(node, set()) for node in after}
    return [
        (source, target)
        for source, target in edges
        if not any(target in below.get(between, ()) for between in after[source] - {target})
    ]
