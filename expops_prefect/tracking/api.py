"""The functions that flows and tasks call: metrics, charts, parameters. None of them raises into a flow, except
``process_parameters`` for another process, whose parameters would be missing from the cache key.

Flows import this module beside the decorators, so imports that only a run needs are in the functions.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from expops_prefect import run_context
from expops_prefect._internal.diagnostics import degrade, first
from expops_prefect.errors import ConfigurationError

if TYPE_CHECKING:
    from expops_prefect.stores.outbox.numbering import LoggedPoint
    from expops_prefect.tracking.run import Run

_logger = logging.getLogger("prefect.expops")


def log_metric(name: str, value: Any, step: int | None = None) -> None:
    """Log one point of a metric of the running task, live.

    Args:
        name: the metric.
        value: any real number, including numpy's and torch's scalars; NaN and infinities are kept.
        step: the step number; by default the next one.

    Example:
        ```python
        for epoch in range(10):
            log_metric("loss", train_one_epoch(), step=epoch + 1)
        ```
    """
    log_metrics({name: value}, step)


def log_metrics(values: Mapping[str, Any], step: int | None = None) -> None:
    """Log one point of several metrics at once.

    Args:
        values: value by metric; see :func:`log_metric`.
        step: the step number for all of them; by default the next one of each metric.
    """
    from expops_prefect.tracking.metrics import MetricRefusedError, metric_points

    given: Any = values
    if not isinstance(given, Mapping):
        degrade("metrics refused", f"log_metrics takes a dictionary, not {type(given).__name__}")
        return
    points: list[LoggedPoint] = []
    for name, value in given.items():
        try:
            points += metric_points([(name, value)], step)
        except MetricRefusedError as error:
            degrade("metrics refused", str(error), key=str(name))
        except Exception as error:  # noqa: BLE001 - the edge to users' code: their numbers' own methods run here
            degrade("metrics refused", f"metric {name!r}: {error!r}", key=str(name))
    try:
        run, path = _here("log_metric") if points else (None, "")
        if run is not None:
            run.add_metrics(path, points)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("metrics not recorded", repr(error))


def log_chart(name: str, chart: Any) -> None:
    """Show a chart beside the running task, also in ExpOps' UI.

    Args:
        name: its title; a chart of the same name replaces the earlier one.
        chart: a matplotlib figure, the path of a picture, or a picture's bytes.
    """
    from expops_prefect.tracking.charts import ChartRefusedError, chart_bytes

    try:
        data, suffix = chart_bytes(chart)
    except Exception as error:  # noqa: BLE001 - the edge to users' code: a figure's own methods run here
        message = str(error) if isinstance(error, ChartRefusedError) else repr(error)
        degrade("charts refused", f"chart {name!r}: {message}", key=str(name))
        return
    try:
        run, path = _here("log_chart")
        if run is not None:
            run.add_chart(path, str(name), data, suffix)
    except Exception as error:  # noqa: BLE001 - the edge to Prefect: recording never breaks a flow
        degrade("charts not recorded", repr(error))


def process_parameters(name: str) -> dict[str, Any]:
    """The ``parameters`` and ``hyperparameters`` of a process in ``project_config.yaml``.

    They are part of the cache key of that process's task and of the tasks and flows that call it by name. Inside a
    task you can only read its own parameters, because those of another process would be missing from the key. In
    the body of a cached subflow you can read those of the tasks that it calls; others make it run every time.

    Args:
        name: the process.

    Returns:
        Both in one dictionary; empty if the configuration does not mention the process.

    Raises:
        ConfigurationError: you asked for another process inside a task, or the configuration is wrong.
    """
    from expops_prefect.cache.context import uses_configuration
    from expops_prefect.cache.keys import key_name, project_of_task
    from expops_prefect.models.names import process_name
    from expops_prefect.project import Project

    context = run_context.task_here()
    if context is not None and process_name(name) != key_name(context.task):
        raise ConfigurationError(
            f"process_parameters({name!r}) inside the task {context.task.name!r}: these parameters are not part of "
            f"this task's cache key, so a change to them would be missed. Read them in the flow and pass them as an "
            f"argument, or name the process in the decorator: @task(process={name!r})"
        )
    uses_configuration(frozenset((process_name(name),)))
    here = run_context.current.get()
    if here is not None:
        project = here.run.project
    elif context is not None:
        project = run_context.project_around(context.task) or project_of_task(context.task.fn)
    elif (around := run_context.flow_project.get()) is not None:
        project = around
    else:
        project = Project.open(source_file=sys._getframe(1).f_code.co_filename)
    return dict(project.settings.process_parameters(name))


def _here(what: str) -> tuple[Run | None, str]:
    """The run and the probe path of the calling code."""
    from expops_prefect.tracking.run import Run

    here = run_context.place()
    if here is None or not isinstance(here.run, Run):
        _warn_unrecorded(what)
        return None, ""
    if here.call is not None:
        return here.run, here.call.path
    from expops_prefect.models.names import process_name, process_path

    return here.run, process_path(process_name(here.run.record.flow or "flow"))


def _warn_unrecorded(what: str) -> None:
    """Say once why nothing is recorded: the code runs in a thread or process that belongs to no known task."""
    import multiprocessing

    from expops_prefect.tracking.runs import open_runs

    if open_runs() and threading.current_thread() is not threading.main_thread():
        message = (
            f"{what} in a thread whose task is unknown or has ended: nothing is "
            "recorded. Start its function with contextvars.copy_context().run, one copy for each thread"
        )
        degrade("metrics not recorded", message, key="threads")
    elif multiprocessing.parent_process() is not None:
        message = (
            f"{what} in a process that a task has started: nothing is recorded. "
            "Return the numbers and log them in the task"
        )
        degrade("metrics not recorded", message, key="processes")
    elif first("outside runs", what):
        _logger.info("%s outside a recorded run: nothing is recorded", what)
