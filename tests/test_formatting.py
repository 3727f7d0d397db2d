"""Times for people read alike everywhere, and say their zone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import expops_prefect
from expops_prefect._internal.diagnostics import described
from expops_prefect._internal.formatting import UNKNOWN, age, between, duration, moment, saving
from expops_prefect.cache import reasons
from expops_prefect.tracking.run_summary import RunSummary
from expops_prefect.tracking.summary_text import Summary
from tests.tracking.test_summary import cached, record

AT = 1_764_043_881.0


@pytest.fixture
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("_zone", "said"),
    [
        ("UTC", "2025-11-25 04:11:21 UTC"),
        ("Etc/GMT-1", "2025-11-25 05:11:21 +01:00"),
        ("<-0330>3:30", "2025-11-25 00:41:21 -03:30"),
    ],
    indirect=["_zone"],
)
@pytest.mark.usefixtures("_zone")
def test_points_in_time_are_local_with_their_zone(said: str) -> None:
    assert moment(AT) == said
    assert described({"points lost": 2}, {"points lost": AT}) == f"points lost 2x since {said}"


def test_times_that_cannot_be() -> None:
    assert (moment(None), duration(None), age(None), between(None, 1.0)) == ("", "", "", "")
    assert {moment(1e300), moment(float("nan")), duration(float("nan")), age(1e300)} == {UNKNOWN}


def test_lengths_of_time() -> None:
    ages = [age(time.time() - passed) for passed in (0, 1, 59.2, 61, 3600, 3 * 86400 + 1)]
    assert ages == ["0 seconds ago", "1 second ago", "59 seconds ago", "1 minute ago", "1 hour ago", "3 days ago"]
    assert [between(10.0, later) for later in (5.0, 130.0)] == ["0 seconds", "2 minutes"]
    assert [saving(value) for value in (None, 0.0, 0.0009, 0.004, 2.0)] == ["", "", "", "4 ms", "2.00 s"]


def test_the_summary_says_how_old_a_hit_is_and_only_what_was_saved() -> None:
    overview = RunSummary()
    overview.ended("//process[@name='old']", "old", "cached", cached(2.0, cached_ended_at=1.0 - 3 * 86400))
    overview.ended("//process[@name='quick']", "quick", "cached", cached(0.1))
    said = Summary(record(), overview.lines).markdown()
    assert "- 0000abcd: 3 days before" in said
    (quick,) = [line for line in said.splitlines() if line.startswith("| cached | quick |")]
    assert quick.split("|")[4].strip() == "", "it saved nothing"


def test_they_are_made_in_one_place() -> None:
    package = Path(expops_prefect.__file__).parent
    made = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if "datetime.fromtimestamp(" in path.read_text() or ":%Y-%m-%d %H" in path.read_text()
    }
    assert made == {"_internal/formatting.py", "models/names.py"}  # names are no times for people
    assert reasons.of_value.__globals__["moment"] is moment
