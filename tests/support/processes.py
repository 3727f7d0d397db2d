"""Flows in real processes, with their executions counted."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from expops_prefect.config import load_settings
from expops_prefect.project import Project
from expops_prefect.record.process_rows import Row
from expops_prefect.record.run_records import RunRecord
from tests.support import forked
from tests.support.server import clean_environment
from tests.support.shared_servers import LEVEL

_RAN = '''
"""Counts executions: task bodies call ran(), which logs a line to a file. Logging is no effect of a task."""
import logging
import os

log = logging.getLogger("executions")
log.propagate = False
log.setLevel(logging.INFO)
log.addHandler(logging.FileHandler(os.environ["EXECUTION_LOG"]))


def ran(name):
    log.info(name)
'''


CONFIG = "prefect: {project_id: shop, cache: {default: all}}\n"
"""Most flows of the suite show the machinery, with tasks that fail, wait and count; which tasks are cached unasked is
shown by tests of its own."""


@dataclass(frozen=True)
class Outcome:
    """What a flow process did."""

    returncode: int
    output: str
    executions: Counter[str]

    def ok(self) -> Outcome:
        """Itself, if the process ended well."""
        assert self.returncode == 0, f"exit code {self.returncode}\n{self.output}"
        return self

    @property
    def total(self) -> int:
        """How many task bodies ran."""
        return self.executions.total()


class FlowProject:
    """A project folder whose flows run in processes of their own.

    Args:
        folder: an empty folder for the project and what belongs to it.
        config: the text of ``project_config.yaml``; ``None`` for none.
        name: the name of the project's root folder.
        environ: what the environment of its processes has besides.
        complete: makes the text that is written out of the text of a configuration.
    """

    def __init__(
        self,
        folder: Path,
        config: str | None = CONFIG,
        name: str = "shop",
        environ: Mapping[str, str] | None = None,
        complete: Callable[[str], str] = str,
    ) -> None:
        self.folder = folder
        self._complete = complete
        self.environ = dict(environ or {})
        self.root = folder / name
        self.root.mkdir(parents=True)
        self._runs = 0
        # Beside the project, so that it never counts as changed code.
        (folder / "support").mkdir(exist_ok=True)
        (folder / "support" / "executions.py").write_text(_RAN)
        if config is not None:
            self.configure(config)

    def configure(self, config: str) -> None:
        """Write ``project_config.yaml``."""
        self.write("configs/project_config.yaml", self._complete(config))

    def write(self, path: str, text: str) -> Path:
        """Write a file below the project's root."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(textwrap.dedent(text))
        return target

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that must stand in a file exactly once."""
        target = self.root / path
        text = target.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        target.write_text(text.replace(old, new))

    def start(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        hashseed: int = 0,
        stdin: int = subprocess.DEVNULL,
        stderr: int = subprocess.STDOUT,
    ) -> subprocess.Popen[str]:
        """Start a process: ``python *arguments`` in the project's root."""
        level = os.environ.get(LEVEL, "e2e")
        assert level == "e2e", f"only end-to-end tests run flow processes, this is {level}: ask for flow_processes"
        self._runs += 1
        self._log = self.folder / f"executions-{self._runs}.log"
        self._log.touch()
        environment = {
            **clean_environment(self.folder / "prefect-home"),
            "PYTHONPATH": os.pathsep.join([str(self.folder / "support"), str(self.root)]),
            "PYTHONHASHSEED": str(hashseed),
            "PYTHONDONTWRITEBYTECODE": "1",
            "EXECUTION_LOG": str(self._log),
            **self.environ,
            **(env or {}),
        }
        streams = {"stdin": stdin, "stdout": subprocess.PIPE, "stderr": stderr}
        return forked.start(list(arguments), self.root, environment, **streams)

    def finish(self, process: subprocess.Popen[str], timeout: float = 120) -> Outcome:
        """Wait for a process and count what it executed."""
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            output, _ = process.communicate()
            raise AssertionError(f"not done within {timeout} s\n{output}") from None
        return Outcome(process.returncode, output, self.executions())

    def executions(self) -> Counter[str]:
        """What the newest process executed so far."""
        return Counter(self.executed())

    def executed(self) -> list[str]:
        """The same, in order."""
        return self._log.read_text().split()

    def run(self, *arguments: str, env: Mapping[str, str] | None = None, hashseed: int = 0) -> Outcome:
        """Run a process to its end."""
        return self.finish(self.start(*arguments, env=env, hashseed=hashseed))

    # What was recorded -------------------------------------------------------------------------

    def project(self) -> Project:
        """The project, read in this process."""
        return Project(load_settings(self.root, environ=self.environ))

    def last_run(self) -> RunRecord:
        """The newest run."""
        runs = self.project().runs()
        assert runs, "no run was recorded"
        return runs[0]

    def rows(self) -> dict[str, Row]:
        """The rows of the newest run by probe path."""
        return {row.path: row for row in self.project().rows(self.last_run().run_id)}

    def statuses(self) -> dict[str, str]:
        """The status of each row of the newest run, by a short form of its path."""
        return {short(path): row.status for path, row in self.rows().items()}

    def metrics(self) -> dict[str, dict[str, dict[str, object]]]:
        """Metrics of the newest run by a short form of the probe path."""
        return {short(path): value for path, value in self.project().metrics(self.last_run().run_id).items()}


def short(path: str) -> str:
    """``train``, ``p2/train``, ``train/load`` for a probe path."""
    text = path.replace("//*[@partition='", "").replace("//process[@name='", "").replace("']/process[@name='", "/")
    text = text.replace("/*[@partition='", "/").replace("']/step[@name='", "/")
    return text.removesuffix("']")
