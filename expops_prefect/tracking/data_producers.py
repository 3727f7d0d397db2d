"""Which process produced the data of a task run, for the pipeline's graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from expops_prefect.models import names
from expops_prefect.run_context import Call

_KNOWN: Final = 20_000


class DataProducers:
    """Remembers the producers of the newest task runs and subflow runs: most data are used soon."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, run_uuid: UUID, call: Call) -> None:
        """Record the call that produced the data of a task run or subflow run."""
        self._names[str(run_uuid)] = _node(call)
        if len(self._names) > _KNOWN:
            self._names.pop(next(iter(self._names)), None)

    def of(self, run_uuids: Iterable[UUID]) -> set[str]:
        """The processes of these task runs and subflow runs, as far as this process knows them."""
        return {name for run_uuid in run_uuids if (name := self._names.get(str(run_uuid)))}


def _node(call: Call) -> str:
    # Data of a step count as data of its process.
    if call.step_of is None:
        return call.name
    parsed = names.parse_path(call.process)
    return call.name if parsed is None else parsed.process
