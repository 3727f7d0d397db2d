"""``instrument`` and what it cannot take."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from prefect import Flow, Task, flow, task

from expops_prefect import instrument


def function() -> None:
    """Forgotten: its decorator."""


@task
def step() -> None:
    """A task."""


@flow
def main() -> None:
    """A flow."""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (function, "instrument takes a flow made with Prefect's @flow, not the function function"),
        (step, "not the Task step; pass a task in tasks=[…], together with the flow that calls it"),
        (functools.partial(function), "not the partial functools.partial"),
        (None, "not the NoneType None"),
        (type(main), "not the type Flow"),
    ],
)
def test_what_is_no_flow(given: Any, says: str) -> None:
    with pytest.raises(TypeError) as refused:
        instrument(given)
    assert says in str(refused.value)


def test_what_is_no_task() -> None:
    wrong: Any
    for wrong, says in (([step, function], "not the function function"), (step, "tasks takes a list: tasks=[step]")):
        with pytest.raises(TypeError) as refused:
            instrument(main, tasks=wrong)
        assert says in str(refused.value)
    assert (type(step), type(main)) == (Task, Flow), "nothing was changed"
