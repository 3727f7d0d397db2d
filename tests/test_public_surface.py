"""What a flow imports from Prefect it can import from here: one changed line."""

from __future__ import annotations

import prefect
import pytest

import expops_prefect

OWN = {"flow", "task", "__version__"}


def test_prefects_names_are_passed_on() -> None:
    for name in set(prefect.__all__) - OWN:
        assert getattr(expops_prefect, name) is getattr(prefect, name)
        assert name in dir(expops_prefect)
    with pytest.raises(ImportError, match="unknown_name"):
        exec("from expops_prefect import unknown_name")


def test_the_decorators_offer_what_prefects_do() -> None:
    for ours, theirs in ((expops_prefect.flow, prefect.flow), (expops_prefect.task, prefect.task)):
        assert {name for name in dir(theirs) if not name.startswith("_")} <= set(dir(ours))
    assert expops_prefect.flow.from_source is not None
