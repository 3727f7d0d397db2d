"""A call that takes the recorder with it: where it arrives in another process, that process records too."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from expops_prefect.run_context import Call


@dataclass(frozen=True, slots=True)
class RecordedCall(Call):
    """See :class:`Call`."""

    def __reduce__(self) -> tuple[Any, ...]:
        """In the process to which it comes, the engine is watched from then on."""
        return _arrived, tuple(getattr(self, each.name) for each in fields(self))


def _arrived(*values: Any) -> Call:
    # What finds the run of a task has to be imported too.
    from expops_prefect.tracking import calls  # noqa: F401
    from expops_prefect.tracking.task_states import watch

    watch()
    return RecordedCall(*values)
