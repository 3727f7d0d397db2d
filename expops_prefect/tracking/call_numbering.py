"""Numbers the calls of each name in a run: the first plain one has the name's own path, the others parts of it."""

from __future__ import annotations

import threading
from collections import Counter

from expops_prefect.models import names


class Numbers:
    """Counts the calls of a run that are made in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._labels: dict[tuple[str | None, str], str] = {}

    def name(self, process: str | None, name: str, label: str) -> str:
        """The name of what a user calls so: another one where a different label has it already.

        Args:
            process: the probe path of the call around it; ``None`` in the flow's body.
            name: the normalised name.
            label: the user's name for it.
        """
        if name != names.process_name(label):
            return name  # the process that the user named
        with self._lock:
            known = self._labels.setdefault((process, name), label)
        return name if known == label else names.apart(label)

    def next(self, process: str | None, name: str, *, mapped: bool) -> tuple[str, str]:
        """The probe path of the next call of a name, and that of the row that sums up all of them.

        Args:
            process: the probe path of the call around it; ``None`` in the flow's body.
            name: the normalised name.
            mapped: whether it is one of several by its nature, so that the first one has a number too.
        """
        total = names.process_path(name) if process is None else names.step_path(process, name)
        with self._lock:
            self._calls[total] += 1
            number = self._calls[total]
        if number == 1 and not mapped:
            return total, total
        if process is None:
            return names.process_path(name, number), total
        return names.step_path(process, name, number), total
