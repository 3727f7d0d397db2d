"""A call that activates recording in the process to which it is sent."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from expops_prefect.run_context import Call


@dataclass(frozen=True, slots=True)
class RecordedCall(Call):
    """A :class:`Call` that imports the recorder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Watch the engine in the process that unpickles this."""
        return _arrived, tuple(getattr(self, each.name) for each in fields(self))


def _arrived(*values: Any) -> Call:
    # Also import the module that finds the run of a task.
    from expops_prefect.tracking import calls  # noqa: F401
    from expops_prefect.tracking.task_states import watch

    watch()
    return RecordedCall(*values)
