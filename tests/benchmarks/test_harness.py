"""The benchmark's arithmetic; what it measures is run by ``make bench``."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks.harness import (
    BEGIN,
    END,
    Goal,
    Measure,
    compared,
    dump,
    one_round,
    reported,
    size_text,
    table,
    time_text,
)

AT_MOST = Goal("overhead", 1.25)
AT_LEAST = Goal("speedup", 4)


@pytest.mark.parametrize(
    ("goal", "ours", "peer", "ratio", "ok"),
    [
        (AT_MOST, 1.2, 1.0, 1.2, True),
        (AT_MOST, 1.25, 1.0, 1.25, True),
        (AT_MOST, 1.3, 1.0, 1.3, False),
        (AT_LEAST, 1.0, 5.0, 5.0, True),
        (AT_LEAST, 1.0, 4.0, 4.0, True),
        (AT_LEAST, 4.0, 1.0, 0.25, False),
        (Goal("size", 1.01), 101.0, 100.0, 1.01, True),
        (Goal("size", 1.01), 137.0, 100.0, 1.37, False),
        (Goal("overhead"), 9.0, 1.0, 9.0, None),
    ],
)
def test_ratio_and_verdict(goal: Goal, ours: float, peer: float, ratio: float, ok: bool | None) -> None:
    measure = Measure("m", goal, [ours], [peer])
    assert measure.ratio == pytest.approx(ratio)
    assert measure.ok is ok


def test_the_ratio_is_the_median_of_the_pairs_ratios() -> None:
    # The machine was slow during the last two pairs, and one sample of ours is off.
    measure = Measure("m", AT_MOST, [1.1, 1.2, 9.0, 11.0, 11.0], [1.0, 1.0, 1.0, 10.0, 10.0])
    assert measure.ratio == pytest.approx(1.1)
    assert measure.ok
    assert measure.ratio_of_medians == pytest.approx(9.0)


def test_samples_come_in_pairs() -> None:
    with pytest.raises(ValueError, match="2 samples of ours for 1"):
        Measure("m", AT_MOST, [1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="0 samples"):
        Measure("m", AT_MOST, [], [])


def test_who_goes_first_changes() -> None:
    order: list[str] = []

    def contestant(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    rounds = [
        one_round({"ours": lambda: contestant("ours", 1.0), "peer": lambda: contestant("peer", 2.0)}, number)
        for number in range(3)
    ]
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    measure = compared(rounds, "m", Goal("speedup"), against="peer")
    assert (measure.ours, measure.peer, measure.against) == ([1.0] * 3, [2.0] * 3, "peer")


def test_a_report_can_be_read_back() -> None:
    measure = Measure("m", AT_LEAST, [1.0, 2.0], [3.0, 4.0], "joblib")
    report = json.loads(dump([measure], {"cores": "2"}))
    assert report["machine"] == {"cores": "2"}
    (value,) = report["measures"]
    assert Measure.load(value) == measure
    assert (value["ratio"], value["ok"]) == (2.5, False)


def test_table() -> None:
    measures = [
        Measure("stored", AT_LEAST, [0.5], [3.0]),
        Measure("hit", AT_MOST, [0.005], [0.001]),
        Measure("told", Goal("overhead"), [1.0], [1.0], "joblib"),
    ]
    lines = table(measures).splitlines()
    assert len({len(line) for line in lines}) == 1
    head, rule, stored, hit, told = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head[0] == "measure"
    assert {cell.strip("-") for cell in rule} == {"", ":"}
    assert stored == ["stored", "1", "500 ms", "3 s", "Prefect", "6.00", "6.00", ">= 4", "yes"]
    assert hit[-4:] == ["5.00", "5.00", "<= 1.25", "NO"]
    assert told[-5:] == ["joblib", "1.00", "1.00", "-", ""]


def test_a_report_stands_between_its_markers() -> None:
    document = f"before\n{BEGIN}\nan older one\n{END}\nafter\n"
    once = reported(document, [Measure("m", AT_LEAST, [1.0], [5.0])], {"cores": "2"})
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"{END}\nafter\n")
    assert "On cores 2." in once
    assert "older" not in once
    assert reported(once, [Measure("m", AT_LEAST, [1.0], [5.0])], {"cores": "2"}) == once
    with pytest.raises(ValueError, match="no lines"):
        reported("before", [], {})


def test_units() -> None:
    assert [time_text(value) for value in (12.34, 0.5, 0.00012, 0.0)] == ["12.3 s", "500 ms", "120 us", "0 us"]
    assert size_text(256 << 20) == "256.00 MiB"
