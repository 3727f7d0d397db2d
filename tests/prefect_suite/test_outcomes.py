"""What the comparison of two runs of Prefect's tests tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prefect_suite.__main__ import tell
from tests.prefect_suite.outcomes import Difference, Known, differences, known_differences, read_outcomes

REPORT = """<testsuites><testsuite>
<testcase file="tests/test_a.py" classname="tests.test_a.TestB" name="test_c[x.y]"/>
<testcase file="tests/test_a.py" classname="tests.test_a" name="test_d"><failure/></testcase>
<testcase file="tests/test_a.py" classname="tests.test_a" name="test_e"><skipped/></testcase>
<testcase file="tests/test_a.py" classname="tests.test_a" name="test_f"/>
<testcase file="tests/test_a.py" classname="tests.test_a" name="test_f"><error/></testcase>
</testsuite></testsuites>"""
ONE, OTHER = "tests/test_a.py::TestB::test_c[x.y]", "tests/test_a.py::test_d"


def test_a_report_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.xml").write_text(REPORT)
    found = read_outcomes(tmp_path / "report.xml")
    assert found == {
        ONE: "passed",
        OTHER: "failure",
        "tests/test_a.py::test_e": "skipped",
        "tests/test_a.py::test_f": "error",
    }


def test_only_what_is_known_may_differ(capsys: pytest.CaptureFixture[str]) -> None:
    found = differences({ONE: "passed", OTHER: "passed"}, {ONE: "failure", OTHER: "passed"})
    assert found == [Difference(ONE, "passed", "failure")]
    assert differences({ONE: "passed"}, {}) == [Difference(ONE, "passed", "not collected")]
    assert tell(found, [], {ONE, OTHER}) == 1
    assert "NOT KNOWN" in capsys.readouterr().out
    known = [Known("tests/test_a.py::TestB::test_c[[]*]", "meant"), Known(OTHER, "not any more")]
    assert not known[0].covers(ONE)
    known[0] = Known("tests/test_a.py::TestB::test_c[*]", "meant")
    assert tell(found, known, {ONE, OTHER}) == 0
    assert f"{OTHER}: no longer differs" in capsys.readouterr().out


def test_every_known_difference_has_a_reason(tmp_path: Path) -> None:
    known_differences(Path(__file__).parent / "known.yaml")
    (tmp_path / "known.yaml").write_text("- {test: a}")
    with pytest.raises(ValueError, match="a has no reason"):
        known_differences(tmp_path / "known.yaml")
