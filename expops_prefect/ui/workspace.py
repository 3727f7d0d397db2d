"""The folder that ExpOps' server is started over: one project under its id, and nothing that is not to be served."""

from __future__ import annotations

import shutil
from pathlib import Path

from expops_prefect import records
from expops_prefect.config import CONFIG_FILE, served_config, served_scripts
from expops_prefect.graph import Graph
from expops_prefect.project import Project


class Workspace:
    """Such a folder; it follows the project's newest run.

    Args:
        project: the project.
        folder: an empty folder that only its owner may read.
    """

    def __init__(self, project: Project, folder: Path) -> None:
        self.folder = folder
        self._project = project
        self._root = folder / project.project_id
        self._newest: records.RunRecord | None = None
        self._written: str | None = None
        (self._root / CONFIG_FILE).parent.mkdir(parents=True)
        for script in served_scripts(project.settings):
            target = self._root / script
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(project.settings.root / script, target)
        self._write(Graph())

    def follow(self) -> bool:
        """Take the graph of the newest run, as far as it has come; whether it had to be written.

        Raises:
            BackendError: the KV store does not answer.
        """
        kv, known = self._project.kv, self._newest
        # Run ids sort by their start: only what came after is asked for.
        newer = [run for _, run in records.scan_runs(kv, after=None if known is None else known.run_id) if run]
        ended = not newer and (known is None or known.ended_at is not None)
        if ended:
            return False
        self._newest = newer[-1] if newer else records.read_run(kv, known.run_id) if known else None
        graph = Graph() if self._newest is None else self._project.graph(self._newest.run_id)
        return bool(graph.processes) and self._write(graph)

    def _write(self, graph: Graph) -> bool:
        text = served_config(self._project.settings, graph.adjacency, graph.processes, graph.charts)
        if text == self._written:
            return False
        file = self._root / CONFIG_FILE
        new = file.with_suffix(".new")
        new.write_text(text, encoding="utf-8")
        new.replace(file)
        self._written = text
        return True
