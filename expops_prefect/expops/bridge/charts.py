"""Charts: functions that draw logged metrics, each in a folder of its own whose pictures are kept."""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from expops_prefect.expops.bridge.core import expops
from expops_prefect.expops.bridge.execution import ProcessCall, process_call
from expops_prefect.expops.bridge.outputs import METRICS, Outputs
from expops_prefect.tracking.api import log_chart

_PICTURES: Final = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".svg", ".pdf"})


def chart_body(function: Callable[..., Any]) -> Callable[..., Outputs]:
    """The body of a chart's task.

    Args:
        function: the project's; takes the metrics, and optionally ExpOps' context as a second argument.
    """

    @functools.wraps(function)
    def body(metrics: dict[str, Any]) -> Outputs:
        call = process_call.get()
        call.executed = True
        return {"charts": _draw(function, metrics, call), METRICS: {}}

    metrics = inspect.Parameter("metrics", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    body.__signature__ = inspect.Signature([metrics])  # type: ignore[attr-defined]
    return body


def _draw(function: Callable[..., Any], metrics: dict[str, Any], call: ProcessCall) -> list[str]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="expops-chart-") as temporary:
        folder = Path(temporary)
        if (before / "data").is_dir():
            (folder / "data").symlink_to(before / "data", target_is_directory=True)
        arguments: list[Any] = [metrics]
        if len(inspect.signature(function).parameters) > 1:
            context = expops("expops.reporting").ChartContext
            name = call.instance.process.name
            options = {"theme": "light", "chart_name": name, "metrics": metrics, "chart_type": "static"}
            arguments.append(context(output_dir=folder, project_id=call.project_id, run_id=call.run_id, **options))
        _use_file_backend()
        os.chdir(folder)
        try:
            function(*arguments)
        finally:
            os.chdir(before)
        pictures = sorted(path for path in _files(folder) if path.suffix.lower() in _PICTURES)
        for path in pictures:
            log_chart(path.relative_to(folder).as_posix(), path)
        return [path.relative_to(folder).as_posix() for path in pictures]


def _use_file_backend() -> None:
    """Make matplotlib draw into files, unless it was imported before, perhaps with another backend."""
    if "matplotlib" not in sys.modules and importlib.util.find_spec("matplotlib") is not None:
        import matplotlib

        matplotlib.use("Agg")


def _files(folder: Path) -> list[Path]:
    return [Path(at) / name for at, _, files in os.walk(folder) for name in files]
