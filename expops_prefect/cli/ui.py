"""``expops-prefect ui``."""

from __future__ import annotations

import signal
import sys
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

from cyclopts import Parameter
from cyclopts.validators import Number

from expops_prefect.cli.output import OK, print_json, print_line, print_note
from expops_prefect.cli.project_lookup import is_empty, open_project
from expops_prefect.errors import BackendError
from expops_prefect.expops.ui.server import Server, serve

_POLL_SECONDS: Final = 2.0
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]


def ui(*, port: Port = 8000, browser: bool = True, project: Path | None = None, json: bool = False) -> int:
    """Open ExpOps' UI for this project, until Ctrl-C. Needs ExpOps: pip install 'expops-prefect[expops]'.

    ExpOps' own server runs on this machine only. It shows one graph for all runs: that of experiment.pipeline,
    extended by the newest runs of each flow. Of the project's files it serves only the charts. For single calls,
    steps and their metrics, see the artifacts of a run in Prefect's UI.

    Example: expops-prefect ui --port 0 --no-browser

    Args:
        port: the port to listen on; 0 for a free one.
        browser: open the browser.
        project: the project's root folder; by default found from the current folder.
        json: print both addresses as JSON.
    """
    opened = open_project(project)
    if is_empty(opened):
        opened.kv.ping()
        print_note("no runs yet; the first one will appear by itself")
    try:
        with _ended_by_signals() as asked, serve(opened, port) as server:
            prefect = _prefect_ui()
            if json:
                print_json({"expops": server.url, "prefect": prefect})
            else:
                print_line(f"ExpOps' UI:   {server.url}  (project {opened.project_id})")
                print_line(f"Prefect's UI: {prefect or 'prefect server start, then http://127.0.0.1:4200'}")
                print_line("press Ctrl-C to stop")
            sys.stdout.flush()
            if browser:
                webbrowser.open(server.url)
            _follow(server, asked)
    except KeyboardInterrupt:
        print_note("stopped")
    return OK


def _follow(server: Server, asked: list[int]) -> NoReturn:
    """Update the graph from the newest runs, until the server ends or a signal arrives."""
    message = ""
    while not asked:
        time.sleep(_POLL_SECONDS)
        server.check()
        try:
            server.workspace.follow()
        except BackendError as error:
            if str(error) != message:
                message = str(error)
                print_note(f"the graph of the newest runs cannot be read: {message}")
    raise KeyboardInterrupt


@contextmanager
def _ended_by_signals() -> Iterator[list[int]]:
    """Handle SIGTERM like Ctrl-C, so that the server ends and its folder is removed; yields the signals received."""
    asked: list[int] = []

    def stop(number: int, frame: object) -> None:  # noqa: ARG001
        asked.append(number)  # an exception raised inside a destructor or an import callback is lost
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _prefect_ui() -> str | None:
    from prefect.settings import PREFECT_UI_URL

    found = PREFECT_UI_URL.value()
    return str(found) if found else None
