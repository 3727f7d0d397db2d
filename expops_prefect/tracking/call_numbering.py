"""Numbers the calls of each name in a run: the first plain call has the name's path, the others paths below it."""

from __future__ import annotations

import threading
from collections import Counter

from expops_prefect.models import names


class Numbers:
    """Counts the calls that this process makes in a run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: Counter[str] = Counter()
        self._labels: dict[tuple[str | None, str], str] = {}

    def name(self, process: str | None, name: str, label: str) -> str:
        """The name for a call; another one if a different label has it already.

        Args:
            process: the probe path of the call around it; ``None`` in the flow's body.
            name: the normalised name.
            label: your name for it.
        """
        if name != names.process_name(label):
            return name  # the process named by the user
        with self._lock:
            known = self._labels.setdefault((process, name), label)
        return name if known == label else names.apart(label)

    def next(self, process: str | None, name: str, *, mapped: bool) -> tuple[str, str]:
        """The probe path of the next call of a name, and the path of the row that sums up all its calls.

        Args:
            process: the probe path of the call around it; ``None`` in the flow's body.
            name: the normalised name.
            mapped: whether it belongs to a group, such as a mapped task, so that the first one has a number too.
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
