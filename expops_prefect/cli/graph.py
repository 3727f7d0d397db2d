"""``expops-prefect graph``."""

from __future__ import annotations

from pathlib import Path

from expops_prefect.cli.drawing import draw
from expops_prefect.cli.output import OK, ProblemError, print_json, print_line, print_note, print_tree
from expops_prefect.cli.project_lookup import find_run, open_project
from expops_prefect.config import write_pipeline
from expops_prefect.views.graph import Graph


def graph(run: str = "latest", *, write: bool = False, project: Path | None = None, json: bool = False) -> int:
    """Draw a run's pipeline graph; with --write also set it as the graph of ExpOps' UI.

    --write sets experiment.pipeline in configs/project_config.yaml: process_adjlist, and an entry in
    processes for each process. Comments, order and the entries' parameters are kept.

    Example: expops-prefect graph latest --write

    Args:
        run: its id, the start or the end of its digits, or ``latest``.
        write: write the graph into the configuration.
        project: the project's root folder; by default found from the current folder.
        json: print JSON.
    """
    opened = open_project(project)
    record = find_run(opened, run)
    found = opened.graph(record)
    if not found.processes:
        raise ProblemError(f"run {record.run_id} called no tasks that can be drawn; name another run")
    written = None
    if write:
        written = write_pipeline(opened.settings.root, found.adjacency, found.processes, found.charts)
    if json:
        changes = {} if written is None else {"written": written.file, "changed": written.changed}
        print_json({"run": record.run_id, **_as_json(found), **changes})
        return OK
    if written is None:
        print_tree(draw(found, record.run_id, {row.path: row for row in opened.rows(record)}))
        print_note("to show this graph in ExpOps' UI: expops-prefect graph --write")
    elif not written.changed:
        print_line(f"{written.file} already has this graph")
    else:
        print_line(f"wrote the graph of {len(found.processes)} processes into {written.file}")
        if written.added:
            print_line(f"new entries: {', '.join(written.added)}")
        if written.charts:
            print_line(f"drawn as charts: {', '.join(written.charts)}")
    for source, target in found.left_out:
        print_note(f"left out because it would close a cycle: {source} to {target}")
    if found.edges and found.alone:
        print_note(f"ExpOps' UI does not draw processes without edges: {', '.join(found.alone)}")
    return OK


def _as_json(graph: Graph) -> dict[str, object]:
    return {
        "processes": graph.processes,
        "edges": graph.edges,
        "charts": sorted(graph.charts),
        "process_adjlist": graph.adjacency,
    }
