"""What a flow imports from Prefect it can import from here, and what this package adds keeps its signatures."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prefect
import pytest

import expops_prefect
import expops_prefect.maintenance
import expops_prefect.testing

OWN = {"flow", "task", "__version__"}
KEPT = Path(__file__).with_suffix(".txt")


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


def test_signatures_are_the_kept_ones() -> None:
    """A change here is a change for users: see CONTRIBUTING.md, *What stays, and how it goes*."""
    found = "".join(f"{line}\n" for line in surface())
    if os.environ.get("KEEP_SURFACE"):
        KEPT.write_text(found)
    assert found == KEPT.read_text(), f"if it is meant, keep it: KEEP_SURFACE=1, and look at {KEPT.name}"


def surface() -> Iterator[str]:
    """One line for each public name and each public member of a class, with its signature."""
    for module in (expops_prefect, expops_prefect.maintenance, expops_prefect.testing):
        for name in sorted(module.__all__):
            value = getattr(module, name)
            yield f"{module.__name__}.{name}{signature(value)}"
            if inspect.isclass(value):
                yield from members(f"{module.__name__}.{name}", value)


def members(name: str, kind: type) -> Iterator[str]:
    """Public fields and members of a class, those of its bases in this package included."""
    owned = [base for base in kind.__mro__ if base.__module__.startswith("expops_prefect")]
    found = {field: None for base in owned for field in vars(base).get("__annotations__", {})}
    found |= {member: vars(base)[member] for base in reversed(owned) for member in vars(base)}
    for member, value in sorted(found.items()):
        if not member.startswith(("_", "model_", "test_")):
            yield f"{name}.{member}{signature(getattr(value, '__func__', value))}"


def signature(value: Any) -> str:
    """How something is called; empty for what is not, and for classes whose constructor is partly Prefect's."""
    if not callable(value):
        return ""
    if inspect.isclass(value) and any(base.__module__.startswith("prefect.") for base in value.__mro__):
        return ""
    return re.sub(r" at 0x[0-9a-f]+", "", str(inspect.signature(value)))
