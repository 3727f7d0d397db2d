"""Equal calls are one line; what differs stays visible."""

from __future__ import annotations

from pathlib import Path

import pytest

from expops_prefect.config.model import find_name
from expops_prefect.errors import ConfigurationError
from expops_prefect.models.names import (
    apart,
    is_named_by,
    normalise,
    older_name,
    process_name,
    process_path,
    readable,
    step_path,
)
from expops_prefect.record.process_rows import labels_of
from expops_prefect.tracking.call_numbering import Numbers
from expops_prefect.views.folding import fold
from tests.config.support import make_project, settings_of

FIT = process_path("fit")
TO = "\N{EN DASH}"


def folded(paths: list[str], outcomes: dict[str, str] | None = None, *, unfold: bool = False) -> list[tuple[str, int]]:
    lines = fold(paths, str, lambda path: (outcomes or {}).get(path, "cached"), unfold=unfold)
    return [(line.name, len(line.items)) for line in lines]


def test_equal_calls_are_one_line_and_others_stay() -> None:
    calls = [process_path("fit", number) for number in range(1, 51)]
    odd = {calls[6]: "executed", calls[29]: "executed"}
    assert folded([FIT, *calls]) == [("fit", 1), (f"fit #1{TO}#50", 50)]
    assert folded(calls, odd) == [
        (f"fit #1{TO}#6, #8{TO}#29, #31{TO}#50 (48 calls)", 48),
        ("fit #7, #30 (2 calls)", 2),
    ]
    assert folded(calls[:3], unfold=True) == [("fit #1", 1), ("fit #2", 1), ("fit #3", 1)]
    assert folded(calls[::2])[0][0] == "fit #1, #3, #5, #7, … (25 calls)"


def test_steps_of_calls_are_one_line() -> None:
    steps = [step_path(process_path("fit", number), "load") for number in (1, 2)]
    assert folded(steps) == [(f"fit #1{TO}#2 / load", 2)]
    looped = [step_path(FIT, "load", number) for number in (1, 2, 3)]
    assert folded(looped) == [(f"fit / load #1{TO}#3", 3)]
    both = [step_path(process_path("fit", call), "load", step) for call in (1, 2) for step in (1, 2)]
    assert folded(both) == [(f"fit #1{TO}#2 / load #1{TO}#2 (4 calls)", 4)]
    assert folded([FIT, step_path(FIT, "load"), "odd", "odd"]) == [
        ("fit", 1),
        ("fit / load", 1),
        ("odd", 1),
        ("odd", 1),
    ]


def test_steps_of_subflows_are_told_from_those_of_their_callers() -> None:
    children = [process_path("child", number) for number in (1, 2)]
    below = [step_path(step_path(child, "grandchild"), "leaf", call) for child in children for call in (1, 2)]
    beside = [step_path(child, "leaf") for child in children]
    assert folded([*below, *beside]) == [
        (f"child #1{TO}#2 / grandchild / leaf #1{TO}#2 (4 calls)", 4),
        (f"child #1{TO}#2 / leaf", 2),
    ]


def test_one_name_of_two_labels_is_shown_and_folded_by_each() -> None:
    calls = [step_path(process_path("b", number), "Extract-e") for number in (1, 2, 3)]
    labels = labels_of(zip(calls, ("Extract é", "Extract e", "Extract é"), strict=True))
    assert [readable(path, labels) for path in calls] == [
        "b #1 / Extract é",
        "b #2 / Extract e",
        "b #3 / Extract é",
    ]
    lines = fold(calls, str, lambda _: "completed", labels=labels)
    assert [line.name for line in lines] == ["b #1, #3 / Extract é (2 calls)", "b #2 / Extract e"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Extract Historical Data", "Extract-Historical-Data"),
        ("Données du jour", "Donnees-du-jour"),
        ("Große Übersicht", "Grosse-Ubersicht"),
        ("train", "train"),
        ("a/b", normalise("a/b")),
        (" a", normalise(" a")),
        ("日本", normalise("日本")),
        ("é" * 200, normalise("e" * 200)),
        ("status", normalise("status")),
    ],
)
def test_what_a_label_is_named(label: str, name: str) -> None:
    assert process_name(label) == name
    assert process_name(name) == name
    assert is_named_by(name, label)
    assert is_named_by(normalise(label), label), "the name of an earlier release"
    if normalise(label) != name:
        assert older_name(name) == normalise(label)


def test_labels_that_would_fall_together_stay_apart_in_a_run() -> None:
    numbers = Numbers()
    assert [numbers.name(None, "A-B", label) for label in ("A B", "A-B", "A B")] == ["A-B", apart("A-B"), "A-B"]
    assert numbers.name(FIT, "A-B", "A-B") == "A-B", "a step of another process"
    assert numbers.name(None, "train", "first") == "train", "the process that the user named"
    called = [(process_path("A-B"), "A B"), (process_path("train"), "first"), (process_path(apart("A-B")), "A-B")]
    assert labels_of(called) == {"A-B": "A B", apart("A-B"): "A-B"}


def test_configured_names_of_this_release_and_of_earlier_ones(tmp_path: Path) -> None:
    label = "Extract Daily Data"
    name = process_name(label)
    for configured in (label, name, normalise(label)):
        assert find_name({configured: 1, "other": 2}, name) == 1
    two = f"[{{name: {label}}}, {{name: {name}}}]"
    root = make_project(tmp_path / "shop", f"experiment: {{pipeline: {{processes: {two}}}}}")
    with pytest.raises(ConfigurationError, match="'Extract-Daily-Data'; allowed: a single name for each process"):
        settings_of(root, None)
