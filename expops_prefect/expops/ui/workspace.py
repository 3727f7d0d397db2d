"""The folder for ExpOps' server: one project under its id, and nothing that must not be served."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from expops_prefect.config import CONFIG_FILE, served_config, served_scripts
from expops_prefect.expops.ui.picture import Shown, picture
from expops_prefect.project import Project
from expops_prefect.record import run_records
from expops_prefect.record.run_records import RunRecord
from expops_prefect.views.graph import Graph

_RUNS: Final = 10
"""How many runs of each flow to draw."""
_COSTLY_RUNS: Final = 3
"""The same for a store that bills each document."""


class Workspace:
    """A folder that is kept up to date with the project's newest runs.

    Args:
        project: the project.
        folder: an empty folder that only its owner may read.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self.folder = folder
        self._project = project
        self._root = folder / project.project_id
        self._last: str | None = None
        self._runs: dict[str, list[RunRecord]] = {}
        self._shown: dict[str, Shown] = {}
        self._written: str | None = None
        (self._root / CONFIG_FILE).parent.mkdir(parents=True)
        for script in served_scripts(project.settings):
            target = self._root / script
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project.settings.root / script, target)
        self._write(Graph())

    def follow(self) -> bool:
        """Draw the newest runs of each flow in their current state; return whether a file was written.

        Raises:
            BackendError: the KV store does not answer.
        """
        kv = self._project.kv
        changed = False
        # Run ids sort by their start, so read only later ones.
        for run_id, record in run_records.scan_runs(kv, after=self._last):
            self._last = run_id
            if record is not None:
                self._add(record)
        for runs in self._runs.values():
            for record in runs:
                if record.run_id not in self._shown or record.ended_at is None:
                    changed |= self._read(record)
        kept = {run.run_id for runs in self._runs.values() for run in runs}
        self._shown = {run: shown for run, shown in self._shown.items() if run in kept}
        return changed and self._write(picture(self._shown[run] for run in sorted(kept, reverse=True)))

    def _add(self, record: RunRecord) -> None:
        most = _COSTLY_RUNS if self._project.settings.kv.is_billed else _RUNS
        runs = self._runs.setdefault(record.flow, [])
        runs.append(record)
        del runs[:-most]

    def _read(self, record: RunRecord) -> bool:
        """Read a run's progress; return whether there is anything new. Reads an open run's latest state."""
        runs = self._runs[record.flow]
        if record.run_id in self._shown and record is not runs[-1]:
            return False
        # Read its end before its rows, so that no row is missed.
        runs[runs.index(record)] = run_records.read_run(self._project.kv, record.run_id) or record
        shown = Shown(record.flow, self._project.rows(record.run_id), self._project.charts(record.run_id))
        known = self._shown.get(record.run_id)
        self._shown[record.run_id] = shown
        return known != shown

    def _write(self, graph: Graph) -> bool:
        text = served_config(self._project.settings, graph.edges, graph.processes, graph.charts)
        if text == self._written:
            return False
        file = self._root / CONFIG_FILE
        new = file.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(file)
        self._written = text
        return True
