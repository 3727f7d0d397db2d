"""The graph of a run in its summary: what is drawn, and that no name breaks out of the diagram."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import unescape
from typing import Any

import pytest

from expops_prefect.models.names import process_path, step_path
from expops_prefect.record.process_rows import Row
from expops_prefect.tracking.run_summary import ProcessSummary, RunSummary
from expops_prefect.tracking.summary_diagram import SHOWN_EDGES, SHOWN_NODES, SHOWN_REASONS, diagram, escaped
from tests.tracking.hostile import HOSTILE

MOST = 50_000
"""Mermaid refuses a longer text."""
LINE = re.compile(
    r"""
    %%\{init:\ \{"layout":\ "dagre",\ "flowchart":\ \{[\w\ ,":]+\}\}\}%%
    | flowchart\ (TD|LR)
    | \ \ n\d+\["(?P<label>([^"\#<>`\[\]{}|;\n]|\#\d+;|<br/>)*)"\]:::(executed|cached|failed|pending)
    | \ \ n\d+\ (-->|~~~)\ n\d+
    | \ \ classDef\ \w+\ fill:\#\w{6},stroke:\#\w{6},color:\#\w{6}
    | \ \ linkStyle\ default\ stroke:\#94a3b8,fill:none
    """,
    re.VERBOSE,
)


def process(name: str, before: Iterable[str] = (), status: str = "completed", **more: Any) -> ProcessSummary:
    given: dict[str, Any] = {"started": 1.0, "ended": 2.5, "calls": Counter({status: 1}), **more}
    return ProcessSummary(process_path(name), upstream=set(before), **given)


def numbered(count: int, edges: Iterable[tuple[int, int]] = (), **more: Any) -> list[ProcessSummary]:
    before: dict[int, list[str]] = {}
    for source, target in edges:
        before.setdefault(target, []).append(f"p{source}")
    return [process(f"p{number}", before.get(number, ()), started=1.0 + number, **more) for number in range(count)]


def drawn(lines: Sequence[ProcessSummary], labels: dict[str, str] | None = None) -> list[str]:
    """The lines of the diagram, each of the form that this package writes; nothing is around it but notes."""
    text = diagram(lines, labels or {})
    start, body, rest = re.split(r"^```(?:mermaid)?$", text, flags=re.MULTILINE)
    assert start == ""
    assert re.fullmatch(r"(\n\n\d+ more (processes|edges) are not drawn\.)*", rest)
    found = body.strip("\n").split("\n")
    for line in found:
        assert LINE.fullmatch(line), line
    assert len(body) < MOST
    return found


def nodes(found: list[str]) -> list[str]:
    """What the nodes say, as Mermaid shows it."""
    labels = [match["label"] for line in found if (match := LINE.fullmatch(line)) and match["label"] is not None]
    return [unescape(re.sub(r"#(\d+);", r"&#\1;", label.replace("<br/>", "\n"))) for label in labels]


def edges(found: list[str], kind: str = "-->") -> list[str]:
    return [line.strip() for line in found if f" {kind} " in line]


def test_a_run_as_it_is_drawn() -> None:
    overview = RunSummary()
    taken: dict[str, Any] = {"started_at": 1.0, "ended_at": 2.0, "upstream": ["load"]}
    overview.ended(process_path("load"), "load", "cached", {**taken, "upstream": [], "cached_execution_time": 5.0})
    for call, status in ((1, "completed"), (2, "cached"), (3, "completed")):
        path = process_path("train", call)
        overview.ended(process_path("train"), "train", status, {**taken, "ended_at": 3.0 + call}, call=path)
    overview.ended(step_path(process_path("report"), "draw"), "draw", "completed", {**taken, "upstream": ["train"]})
    failed = {"failure": "RuntimeError: the shop is closed", "started_at": 7.0, "ended_at": 7.5}
    overview.ended(process_path("report"), "report", "failed", {**failed, "upstream": []})
    overview.ended(process_path("publish"), "publish", "pending", {"upstream": ["report"]})
    found = drawn(overview.lines, {"train": "train the model"})
    assert nodes(found) == [
        "load\ncached, 1.00 s\nsaved 4.00 s",
        "train the model\n3 calls, 5.00 s\n2 executed\n1 cached",
        "report\nfailed, 0.50 s\nRuntimeError: the\nshop is closed",
        "publish\nnot started",
    ]
    # What a step used, its process used.
    assert edges(found) == ["n0 --> n1", "n1 --> n2", "n2 --> n3"]
    assert [line.rpartition(":::")[2] for line in found if ":::" in line] == [
        *("cached", "executed", "failed", "pending")
    ]
    assert found[1] == "flowchart TD"


def test_rows_of_other_processes_are_drawn_alike() -> None:
    overview = RunSummary()
    rows: list[tuple[str, dict[str, Any]]] = [
        (process_path("load"), {"status": "completed", "calls": {"completed": 1}, "started_at": 0.5, "ended_at": 1.0}),
        (process_path("train"), {"status": "failed", "calls": {"failed": 2}, "upstream": ["load"], "started_at": 1.0}),
        (process_path("train", 1), {"status": "failed", "upstream": ["load"], "failure": "ValueError: no rows"}),
        (process_path("train", 2), {"status": "failed", "upstream": ["load"]}),
    ]
    overview.replace([Row.load(path, value) for path, value in rows])
    found = drawn(overview.lines)
    assert nodes(found) == ["load\nexecuted, 0.50 s", "train\n2 calls\nfailed\nValueError: no rows"]
    assert edges(found) == ["n0 --> n1"]


def test_a_run_of_one_process_is_not_drawn() -> None:
    assert diagram([process("load")], {}) == ""
    assert diagram([], {}) == ""


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_name_breaks_out_of_the_diagram(hostile: str) -> None:
    def of(name: str) -> list[str]:
        lines = [process("p0"), process("p1", ["p0"], "failed", failure=name)]
        return drawn(lines, {"p0": name, "p1": f"x{name}"})

    found = of(hostile)
    plain = [re.sub(r'".*"', "", line) for line in found]
    assert plain == [re.sub(r'".*"', "", line) for line in of("plain")], "the same lines but for what nodes say"
    for label in nodes(found):
        assert all(part.isprintable() or part in "\n\N{WORD JOINER}" for part in label)
    assert "\n" not in escaped(hostile)


def test_text_is_shown_as_it_is() -> None:
    for text in ("load_data", "1.50 s", "a-b, c", "_x_ *y* 1. z - w", "<b>&amp;</b>", "#35; $$x$$ fa:fa-car", "日本語"):
        shown = nodes([f'  n0["{escaped(text)}"]:::cached'])[0]
        assert shown.replace("\N{WORD JOINER}", "") == text
    assert escaped("load_data-2, 1.50") == "load_data-2, 1.50", "so that the source can be read too"
    assert escaped("_x.y") == "#95;x#46;y"


def test_long_names_and_reasons_are_cut() -> None:
    name, failure = "fit_one_of_the_models_" * 5, "ValueError: " + "no such column, " * 20
    said = nodes(drawn([process("p0"), process("p1", ["p0"], "failed", failure=failure)], {"p0": name}))
    assert said[0].split("\n")[:2] == ["fit_one_of_the_mod", "els_fit_one_of_th…"]
    assert max(map(len, "\n".join(said).split("\n"))) <= 20
    assert len(said[1]) < 150


@pytest.mark.parametrize(
    ("links", "direction"),
    [
        ([(number, number + 1) for number in range(59)], "TD"),
        ([(0, number) for number in range(1, 59)] + [(number, 59) for number in range(1, 59)], "LR"),
        ([(number, number + 3) for number in range(57)], "TD"),
    ],
)
def test_sixty_processes_are_all_drawn(links: list[tuple[int, int]], direction: str) -> None:
    found = drawn(numbered(60, links))
    assert (len(nodes(found)), found[1]) == (SHOWN_NODES, f"flowchart {direction}")
    assert edges(found) == [f"n{source} --> n{target}" for source, target in sorted(links)]


def test_processes_without_edges_stand_in_columns() -> None:
    found = drawn(numbered(60))
    chains = edges(found, "~~~")
    assert (len(nodes(found)), len(chains), found[1]) == (60, 57, "flowchart TD")
    assert chains[:2] == ["n0 ~~~ n3", "n3 ~~~ n6"]
    assert not any("linkStyle" in line for line in found)


def test_what_is_too_entangled_to_be_read_stands_in_rows() -> None:
    links = [
        (row * 6 + place, row * 6 + 6 + (place + step) % 6) for row in range(9) for place in range(6) for step in (0, 2)
    ]
    found = drawn(numbered(60, links))
    assert (edges(found), len(edges(found, "~~~"))) == ([], 57)
    assert nodes(found)[6].split("\n")[2:] == ["from p0, p4"]
    assert len(nodes(found)) == 60


def test_more_processes_are_folded_if_they_are_alike() -> None:
    # A hundred chains of two after one source; two of them failed.
    links = [(0, number) for number in range(1, 101)] + [(number, number + 100) for number in range(1, 101)]
    lines = numbered(201, links)
    for number in (150, 151):
        lines[number] = process(f"p{number}", [f"p{number - 100}"], "failed", failure="ValueError: no", started=1.0)
    found = drawn(lines)
    said = nodes(found)
    assert len(said) == 5
    assert sum("and 95 more\n98 calls" in label for label in said) == 2
    assert any("p150\np151\n2 calls, 1.50 s\nfailed\nValueError: no" in label for label in said)
    assert len(edges(found)) == 4


def test_what_cannot_be_folded_is_cut() -> None:
    lines = numbered(100, [(number, number + 1) for number in range(99)])
    assert len(nodes(drawn(lines))) == SHOWN_NODES
    assert diagram(lines, {}).endswith("```\n\n40 more processes are not drawn.")


def test_of_many_edges_those_are_drawn_that_say_something() -> None:
    everything = [(source, target) for target in range(60) for source in range(target)]
    assert len(edges(drawn(numbered(60, everything)))) == 59
    halves = [(source, target) for source in range(30) for target in range(30, 60)]
    text = diagram(numbered(60, halves), {})
    assert text.endswith(f"{900 - SHOWN_EDGES} more edges are not drawn.")


def test_the_longest_text_is_one_that_mermaid_takes() -> None:
    lines = []
    for number in range(SHOWN_NODES):
        before = [f"p{max(0, number - back)}" for back in range(1, 5)] if number else []
        lines.append(process(f"p{number}", before, "failed", failure="\U000e0001#" * 200, started=1.0 + number))
    labels = {f"p{number}": "\U000e0001#" * 50 + str(number) for number in range(SHOWN_NODES)}
    found = drawn(lines, labels)
    assert len(nodes(found)) == SHOWN_NODES
    reasons = [label for label in nodes(found) if label.count("\\U000e0001") > 5]
    assert len(reasons) == SHOWN_REASONS
