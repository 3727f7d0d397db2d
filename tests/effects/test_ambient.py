"""Settings of a library that cannot be read: said once, unless the library is being imported."""

from __future__ import annotations

import calendar
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest

from expops_prefect.effects import ambient


@pytest.mark.parametrize(("being_imported", "said"), [(False, 1), (True, 0)])
def test_settings_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, being_imported: bool, said: int
) -> None:
    other = ModuleType("mpmath")  # of a release that keeps its precision elsewhere
    other.__spec__ = ModuleSpec("mpmath", None)
    other.__spec__._initializing = being_imported  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mpmath", other)
    for _ in range(2):
        assert "mpmath's precision" not in ambient.changed()
    warnings = [record.getMessage() for record in caplog.records if "mpmath's precision" in record.getMessage()]
    assert len(warnings) == said


@pytest.mark.parametrize(("named", "known"), [({"python"}, False), ({"external:calendar:weekday"}, True), (None, True)])
def test_the_state_of_a_module_counts_for_code_that_names_it(named: set[str] | None, known: bool) -> None:
    calendar.setfirstweekday(calendar.SUNDAY)
    try:
        assert ("calendar.setfirstweekday" in ambient.changed(named)) is known
    finally:
        calendar.setfirstweekday(calendar.MONDAY)
