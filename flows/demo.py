"""What ``make demo`` runs: the example flow twice, in two processes, and what came from the cache."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from expops_prefect import Project
from expops_prefect.models.names import readable
from flows.train import ROOT, fetch_data

console = Console()
WORDS = {"cached": "from the cache", "completed": "executed"}


def main() -> int:
    """Run the flow twice and compare."""
    fetch_data()
    project = Project.open(ROOT)
    seconds = []
    with prefect_api() as api:
        env = {**os.environ, "PREFECT_API_URL": api, "PREFECT_LOGGING_LEVEL": "WARNING", "PYTHONPATH": str(ROOT)}
        for number in (1, 2):
            if not console.is_terminal:
                print(f"run {number} of 2", flush=True)  # the flow's own lines come after it
            with console.status(f"run {number} of 2: python -m flows.train"):
                start = time.perf_counter()
                ended = subprocess.run([sys.executable, "-m", "flows.train"], cwd=ROOT, env=env, check=False)
                seconds.append(time.perf_counter() - start)
            if ended.returncode:
                console.print(f"[red]run {number} failed, see above[/red]")
                return ended.returncode
    first, second = reversed(project.runs(limit=2))
    show(project, first.run_id, f"run 1: {seconds[0]:.1f} s, start-up included")
    show(project, second.run_id, f"run 2: {seconds[1]:.1f} s, start-up included")
    console.print(
        "\nSee both runs in [bold]ExpOps' UI[/bold]: .venv/bin/expops-prefect ui"
        "\nin [bold]Prefect's UI[/bold]: .venv/bin/prefect server start, then, with the PREFECT_API_URL that it names,"
        " .venv/bin/python -m flows.train"
        "\nor here: .venv/bin/expops-prefect runs show latest",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def show(project: Project, run_id: str, title: str) -> None:
    """Print what a run executed and what it took from the cache."""
    table = Table(title=title, title_justify="left", caption=run_id, caption_justify="left")
    for heading, side in (("process or step", "left"), ("status", "left"), ("seconds", "right"), ("saved", "right")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    saved = 0.0
    for row in sorted(project.rows(run_id), key=lambda row: row.fields.get("started_at") or 0):
        if len(row.calls) and sum(row.calls.values()) > 1:
            continue  # the sum of calls that are listed each by itself
        gain = row.cached_execution_time or 0.0
        saved += gain
        colour = {"cached": "cyan", "completed": "green"}.get(row.status, "red")
        table.add_row(
            readable(row.path),
            f"[{colour}]{WORDS.get(row.status, row.status)}[/{colour}]",
            f"{row.execution_time or 0:.2f}",
            f"{gain:.2f}" if gain else "",
        )
    table.add_section()
    table.add_row("time saved by the cache", "", "", f"{saved:.2f}")
    console.print(table)


@contextmanager
def prefect_api() -> Iterator[str]:
    """The Prefect API that is set up, else a server for the time of the demo."""
    configured = os.environ.get("PREFECT_API_URL")
    if configured:
        yield configured
        return
    with tempfile.TemporaryDirectory() as home, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        listener.close()
        env = {**os.environ, "PREFECT_HOME": home, "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        server = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            with console.status("starting a Prefect server for the demo"):
                wait_for(f"http://127.0.0.1:{port}/api/health", server)
            yield f"http://127.0.0.1:{port}/api"
        finally:
            server.terminate()
            server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers.

    Raises:
        RuntimeError: it ended, or did not answer within a minute.
    """
    for _ in range(300):
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("Prefect's server did not start; try: prefect server start")


if __name__ == "__main__":
    sys.exit(main())
