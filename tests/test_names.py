"""Names from users, whatever they hold: safe as keys, files and HTML, and never two in one place."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expops_prefect.config import usable_project_id
from expops_prefect.models import names
from expops_prefect.models.names import (
    CacheKey,
    first_call_path,
    normalise,
    parse_path,
    process_path,
    readable,
    shown,
    split_path,
    step_path,
)
from expops_prefect.stores.objects.base import check_key
from expops_prefect.stores.outbox.numbering import LoggedPoint
from expops_prefect.tracking.metrics import metric_points

ODD = [
    *("a/b", "../../etc/passwd", "..", ".", "/abs", "a\\b", "a b", "a\tb", "a\nb", "a\0b", "", " ", "-", "_", "__x__"),
    *(
        ".tmp-a",
        ".tmp:",
        "status",
        "Status",
        "STATUS",
        "<script>alert(1)</script>",
        "\"'><img src=x onerror=y>",
        "a'b",
        'a"b',
        "a&lt;b",
    ),
    *("train", "Train", "TRAIN", "🎉", "日本", "é", "e\u0301", "\u202eevil", "\u200b", "\ud800", "x" * 10_000),
    *(
        "x" * 9_999 + "y",
        "a.b",
        "a:b",
        "a]b",
        "//process[@name='x']",
        "p_abc",
        ".tmp-x",
        "%2e%2e",
        "con",
        "__process__",
    ),
]
ANY = st.one_of(st.text(), st.sampled_from(ODD), st.text("a.-_/ <>'\"", max_size=6))
SAFE = re.compile(r"[A-Za-z0-9_.-]{1,80}")


@given(ANY)
def test_a_normalised_name_is_safe_and_stays(name: str) -> None:
    made = normalise(name)
    assert SAFE.fullmatch(made)
    assert made.strip("._")
    assert made.lower() != "status"
    assert not (made.startswith("__") and made.endswith("__"))
    assert normalise(made) == made


@given(ANY, ANY)
def test_two_names_never_fall_together(one: str, other: str) -> None:
    assert (normalise(one) == normalise(other)) == (one == other)


def test_the_odd_ones_never_fall_together() -> None:
    assert len({normalise(name) for name in ODD}) == len(ODD)
    assert len({point.name for name in ODD if name for point in metric_points([(name, 1)], None)}) == len(ODD) - 1


@given(ANY, ANY, st.none() | st.integers(1, 10**6), st.none() | st.integers(1, 10**6))
def test_paths_are_read_back(process: str, step: str, call: int | None, step_call: int | None) -> None:
    outer = process_path(normalise(process), call)
    found = parse_path(step_path(outer, normalise(step), step_call))
    assert found is not None
    assert (found.process, found.call) == (normalise(process), call)
    assert (found.step, found.step_call) == (normalise(step), step_call)
    assert names.decode(names.encode(outer)) == outer


@given(ANY, ANY, st.sampled_from([".png", ".svg"]))
def test_objects_stay_in_their_folder(name: str, run: str, suffix: str) -> None:
    digest = "0" * 64
    run_id = names.run_id("shop", 1.8e9, run)
    for key in (
        names.manifest_key(run_id, normalise(name), digest),
        names.payload_key(digest, suffix),
        names.chart_key(digest, run_id, process_path(normalise(name)), normalise(name), suffix),
        str(CacheKey(normalise(name), digest, digest, digest)),
    ):
        check_key(key)
        assert ".." not in key.split("/")


@given(ANY)
def test_what_is_shown_is_no_markup(name: str) -> None:
    made = shown(name)
    assert len(made) <= 200
    assert not set("<>\"'&`") & set(made)
    assert not [part for part in made if unicodedata.category(part) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert shown(made) == made
    made.encode()


@pytest.mark.parametrize("name", ["loss", "val/loss", "naïve bayes: F1 (%)", "日本 🎉", "a.b-c_d"])
def test_common_names_are_shown_as_they_are(name: str) -> None:
    assert shown(name) == name
    assert metric_points([(name, 1)], None) == [LoggedPoint(name, 1)]


@given(ANY)
def test_a_folder_of_any_name_gives_a_project_id(name: str) -> None:
    made = usable_project_id(name)
    assert SAFE.fullmatch(made[:80])
    assert not made.startswith(("-", "."))
    assert not (made.startswith("__") and made.endswith("__"))


@pytest.mark.parametrize(
    ("partitions", "seeds", "path", "text"),
    [
        ((), (), "//process[@name='fit']", "fit"),
        ((2,), (), "//*[@partition='p2']/process[@name='fit']", "fit #2"),
        ((), (-41,), "//*[@seed='-41']/process[@name='fit']", "fit S-41"),
        ((1, 3), (41, 5), None, "fit P1 P3 S41 S5"),
    ],
)
def test_paths_inside_splits(partitions: tuple[int, ...], seeds: tuple[int, ...], path: str | None, text: str) -> None:
    made = split_path("fit", partitions, seeds)
    assert path in (None, made)
    parsed = parse_path(step_path(made, "train"))
    assert parsed is not None
    assert (parsed.process, parsed.step) == ("fit", "train")
    assert parsed.layers == (*(f"P{number}" for number in partitions), *(f"S{seed}" for seed in seeds))
    assert parsed.call == (partitions[0] if len(partitions) == 1 and not seeds else None)
    assert readable(made) == text


@pytest.mark.parametrize(
    ("path", "first"),
    [
        (process_path("fit"), "fit #1"),
        (step_path(process_path("fit"), "load"), "fit / load #1"),
        (step_path(process_path("fit", 2), "load"), "fit #2 / load #1"),
        (split_path("fit", (1,), (41,)), "fit P1 S41"),
        (step_path(process_path("fit"), "load", 3), "fit / load #3"),
        (step_path(step_path(process_path("fit", 2), "tune", 3), "load"), "fit #2 / tune #3 / load #1"),
        ("odd", "odd"),
    ],
)
def test_the_number_of_a_first_call(path: str, first: str) -> None:
    assert readable(first_call_path(path)) == first
