"""What is recorded of every way in which tasks and flows are called and end: first executed, then from the cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from expops_prefect.models.names import readable
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from tests.e2e.recorded import SCRIPT
from tests.support.processes import FlowProject, Outcome

pytestmark = pytest.mark.xdist_group("recording")


@dataclass
class Seen:
    """One recorded run, with paths as people read them."""

    record: RunRecord
    rows: dict[str, Row]
    metrics: dict[str, Any]
    charts: dict[str, list[str]]

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each row."""
        return {path: row.status for path, row in self.rows.items()}

    def calls(self, path: str) -> dict[str, int]:
        """How many calls of a name there were, by status."""
        return dict(self.rows[path].calls)


@dataclass
class Turn:
    """One process that ran all the flows."""

    outcome: Outcome
    runs: dict[str, Seen] = field(default_factory=dict)


_turns: dict[str, list[Turn]] = {}
"""By backends: the script is run once for all tests."""


@pytest.fixture
def turns(shop: FlowProject, backends: str) -> list[Turn]:
    """The script run twice, in two processes."""
    if backends not in _turns:
        shop.write("main.py", SCRIPT)
        _turns[backends] = [read(shop, shop.run("main.py").ok(), set())]
        known = {seen.record.run_id for seen in _turns[backends][0].runs.values()}
        _turns[backends].append(read(shop, shop.run("main.py").ok(), known))
    return _turns[backends]


def read(shop: FlowProject, outcome: Outcome, known: set[str]) -> Turn:
    """What a process recorded, without the runs of earlier ones."""
    turn = Turn(outcome)
    project = shop.project()
    for record in project.runs():
        if record.run_id in known:
            continue
        assert record.flow not in turn.runs
        turn.runs[record.flow] = Seen(
            record,
            {readable(row.path): row for row in project.rows(record.run_id)},
            {readable(path): series for path, series in project.metrics(record.run_id).items()},
            {
                readable(path): [str(item["title"]) for item in items]
                for path, items in project.charts(record.run_id).items()
            },
        )
    return turn


@pytest.fixture
def cold(turns: list[Turn]) -> Callable[[str], Seen]:
    """A flow's run in the first process."""
    return lambda flow: turns[0].runs[flow]


@pytest.fixture
def warm(turns: list[Turn]) -> Callable[[str], Seen]:
    """A flow's run in the second process."""
    return lambda flow: turns[1].runs[flow]


Run = Callable[[str], Seen]


def test_executions(turns: list[Turn]) -> None:
    executed, again = (turn.outcome.executions for turn in turns)
    assert dict(executed) == {
        "flaky": 3,
        "hopeless": 3,
        "first": 6,
        "second": 2,
        "trunk": 1,
        "branch": 1,
        "leaf": 3,
        "fetch": 6,
        "too_slow": 2,
        "too_slow_sync": 2,
        "numbers": 2,
        "broken_numbers": 1,
        "async_numbers": 1,
        "fit": 1,
        "make": 1,
        "score": 1,
        "straggler": 3,
        "released": 1,
        "forks": 1,
        "holding": 1,
    }
    # What failed, was cut off or is a generator is executed again; nothing else is.
    assert dict(again) == {
        "hopeless": 3,
        "too_slow": 2,
        "too_slow_sync": 2,
        "numbers": 2,
        "broken_numbers": 1,
        "async_numbers": 1,
        "released": 1,
        "holding": 1,
    }
    # Recording took nothing amiss in any of this.
    for turn in turns:
        for seen in turn.runs.values():
            assert seen.record.degraded == {}
            assert seen.record.ended_at is not None
            assert seen.record.ended_at >= seen.record.started_at
            began = [row for row in seen.rows.values() if row.status != "pending"]
            assert all(row.started_at and row.ended_at for row in began)


def test_retries_are_one_call_that_fails_only_at_last(turns: list[Turn], cold: Run, warm: Run) -> None:
    while_running = [line for line in turns[0].outcome.output.splitlines() if line.startswith("SHOWN flaky")]
    assert while_running == ["SHOWN flaky running"] * 3
    seen = cold("retried-tasks")
    assert seen.statuses == {"flaky": "completed", "hopeless": "failed"}
    assert [seen.calls(name) for name in ("flaky", "hopeless")] == [{"completed": 1}, {"failed": 1}]
    assert seen.record.status == "failed"
    assert warm("retried-tasks").statuses == {"flaky": "cached", "hopeless": "failed"}


def test_a_flow_that_is_retried_is_one_run(cold: Run, warm: Run) -> None:
    seen = cold("retried-flow")
    assert (seen.record.attempt, seen.record.status) == (2, "completed")
    # The second round takes what the first one computed; its rows are the ones that are shown.
    assert seen.statuses == {"first": "cached", "second": "completed"}
    assert seen.calls("first") == {"cached": 1}
    assert seen.rows["first"].cached_run_id == seen.record.run_id
    assert seen.metrics["first"] == {"m": {"1": 3}}
    assert seen.metrics["retried-flow"] == {"round": {"1": 1, "2": 1}}
    # It began with its first round.
    second = seen.rows["second"]
    assert second.started_at is not None
    assert seen.record.started_at < second.started_at
    assert warm("retried-flow").record.attempt == 1
    assert set(warm("retried-flow").statuses.values()) == {"cached"}


def test_nested_tasks(cold: Run, warm: Run) -> None:
    seen = cold("deep")
    # Steps of steps are steps of the process.
    assert seen.statuses == dict.fromkeys(["trunk", "trunk / branch", "trunk / leaf", "trunk / leaf #2"], "completed")
    metrics = {
        "trunk": {"depth": {"1": 1}},
        "trunk / branch": {"depth": {"1": 2}},
        "trunk / leaf": {"depth": {"1": 3}},
        "trunk / leaf #2": {"depth": {"1": 3}},
    }
    charts = {"trunk / leaf": ["leaf"], "trunk / leaf #2": ["leaf"]}
    assert (seen.metrics, seen.charts) == (metrics, charts)

    # A hit has no steps, but shows what they logged, and whose result it is.
    again = warm("deep")
    assert again.statuses == {"trunk": "cached"}
    assert (again.metrics, again.charts) == (metrics, charts)
    row, computed = again.rows["trunk"], seen.rows["trunk"]
    assert row.cached_run_id == seen.record.run_id
    # The times of the body, which lie within those of its row.
    times = [computed.started_at, row.fields["cached_started_at"], row.fields["cached_ended_at"], computed.ended_at]
    assert times == sorted(times, key=lambda moment: moment or 0.0)
    assert row.cached_execution_time == pytest.approx(times[2] - times[1], abs=1e-6)
    assert row.cache_path is not None
    assert seen.record.run_id in row.cache_path


def test_subflows(cold: Run, warm: Run) -> None:
    seen = cold("subflows")
    assert seen.statuses == {
        "sub": "failed",
        "sub #2": "completed",
        "sub #3": "failed",
        # leaf(1) and leaf(2) were computed by an earlier run, in another place.
        **{f"{call} / {step}": "completed" for call in ("sub", "sub #2") for step in ("below", "first")},
        "sub / below / leaf": "cached",
        "sub #2 / below / leaf": "cached",
    }
    assert seen.calls("sub") == {"completed": 2, "failed": 1}
    assert seen.record.status == "completed", "the flow took the failed subflow as it was"
    assert seen.metrics["sub #2 / below"] == {"below": {"1": 2}}
    assert seen.metrics["sub / below / leaf"] == {"depth": {"1": 3}}
    assert seen.charts == {"sub / below / leaf": ["leaf"], "sub #2 / below / leaf": ["leaf"]}
    again = warm("subflows")
    assert again.statuses == {**seen.statuses, "sub / first": "cached", "sub #2 / first": "cached"}
    assert again.metrics == seen.metrics


def test_async_fan_out(cold: Run, warm: Run) -> None:
    seen = cold("fan-out")
    calls = ["fetch", *(f"fetch #{number}" for number in range(2, 7))]
    assert seen.statuses == {**dict.fromkeys(calls, "completed"), "too_slow": "failed"}
    assert seen.calls("fetch") == {"completed": 6}
    assert sorted(seen.metrics[call]["x"]["1"] for call in calls) == [0, 1, 2, 3, 4, 5]
    # Submitted ones are numbered where they are submitted.
    assert [seen.metrics[call]["x"]["1"] for call in calls[3:]] == [3, 4, 5]
    again = warm("fan-out")
    assert again.statuses == {**dict.fromkeys(calls, "cached"), "too_slow": "failed"}
    assert again.calls("fetch") == {"cached": 6}


def test_timeouts_that_are_retried_are_one_call(cold: Run) -> None:
    assert cold("fan-out").calls("too_slow") == {"failed": 1}
    assert cold("timeouts").statuses == {"too_slow_sync": "failed"}
    assert cold("timeouts").calls("too_slow_sync") == {"failed": 1}


def test_generators(cold: Run) -> None:
    seen = cold("generators")
    assert seen.statuses == {
        "numbers": "completed",
        "numbers #2": "completed",
        "broken_numbers": "failed",
        "async_numbers": "completed",
    }
    # The second one was closed after its first item.
    assert seen.metrics == {"numbers": {"n": {"1": 0, "2": 1, "3": 2}}, "numbers #2": {"n": {"1": 0}}}


def test_methods_options_and_what_comes_before(cold: Run, warm: Run) -> None:
    seen = cold("shapes")
    assert seen.statuses == {
        "fit": "completed",
        "make": "completed",
        "score": "completed",
        "named": "completed",
        "processed": "completed",
        "processed #2": "completed",
        "leaf": "completed",
        "leaf #2": "cached",
        "first": "cached",
    }
    assert seen.rows["processed #2"].label == "named"
    assert list(seen.rows["leaf #2"].upstream) == ["leaf"]
    assert list(seen.rows["first"].upstream) == ["leaf"], "wait_for counts"
    # The sum of an executed and a cached call is no hit.
    assert seen.calls("leaf") == {"completed": 1, "cached": 1}
    assert seen.rows["leaf"].cached_run_id is None
    assert set(warm("shapes").statuses.values()) == {"cached"}


def test_a_run_ends_with_its_last_call(cold: Run, warm: Run) -> None:
    seen = cold("loose")
    # They went on only after the flow's completion hooks had begun.
    assert seen.statuses == dict.fromkeys(["straggler", "straggler #2", "straggler #3"], "completed")
    assert {path: series["late"]["1"] for path, series in seen.metrics.items()} == {
        "straggler": 0,
        "straggler #2": 1,
        "straggler #3": 2,
    }
    assert seen.record.status == "completed"
    assert seen.record.ended_at is not None
    assert all(row.ended_at is not None and row.ended_at <= seen.record.ended_at for row in seen.rows.values())
    assert set(warm("loose").statuses.values()) == {"cached"}


def test_what_never_begins_is_pending(turns: list[Turn], cold: Run) -> None:
    failed, waiting = cold("upstream-failed").rows.values()
    assert (failed.label, failed.status) == ("failed upstream", "failed")
    assert (waiting.status, waiting.started_at, waiting.execution_time) == ("pending", None, None)
    (typed,) = cold("wrong-parameters").rows.values()
    assert (typed.label, typed.status) == ("typed", "failed")
    assert "valid integer" in typed.fields["failure"], "it fails before its body is reached"
    # A root flow with wrong parameters never runs.
    assert "typed" not in turns[0].runs


def test_forked_children_log_into_the_run(cold: Run) -> None:
    series = {str(step): number for step, number in enumerate(range(20), 1)}
    assert cold("forking").metrics == {"forks": {"forked": series}}


def test_an_interrupted_flow(turns: list[Turn], cold: Run) -> None:
    assert "INTERRUPTED" in turns[0].outcome.output
    seen = cold("crashing")
    assert seen.record.status == "failed"
    assert seen.statuses == {"holding": "failed", "holding / interrupted": "failed"}
