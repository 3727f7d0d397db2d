"""Which process the data of a task run came out of, as the pipeline's graph sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from expops_prefect.models import names
from expops_prefect.run_context import Call

_KNOWN: Final = 20_000


class DataProducers:
    """Remembers it of the newest task runs and subflow runs: data are mostly used soon."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, run_uuid: UUID, call: Call) -> None:
        """Data of this task run or subflow run is that of a call."""
        self._names[str(run_uuid)] = _node(call)
        if len(self._names) > _KNOWN:
            self._names.pop(next(iter(self._names)), None)

    def of(self, run_uuids: Iterable[UUID]) -> set[str]:
        """The processes that these task runs and subflow runs belong to, as far as this process knows them."""
        return {name for run_uuid in run_uuids if (name := self._names.get(str(run_uuid)))}


def _node(call: Call) -> str:
    # Data that comes out of a step comes out of its process.
    if call.step_of is None:
        return call.name
    parsed = names.parse_path(call.process)
    return call.name if parsed is None else parsed.process
