"""The flow of an ExpOps project: its processes in order, each a task."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from expops_prefect import run_context
from expops_prefect.decorators import ExpOpsFlow
from expops_prefect.effects.seeding import derived_seed
from expops_prefect.errors import ConfigurationError
from expops_prefect.expops.bridge.charts import chart_body
from expops_prefect.expops.bridge.execution import (
    ProcessCall,
    failing,
    pass_on,
    plain_task,
    process_call,
    process_task,
)
from expops_prefect.expops.bridge.expansion import Instance, expand
from expops_prefect.expops.bridge.outputs import METRICS, Outputs, PipelineError, arguments_of, inputs_of
from expops_prefect.expops.bridge.pipeline import Pipeline
from expops_prefect.expops.bridge.probes import chart_metrics, check_selectors
from expops_prefect.expops.bridge.scripts import Scripts
from expops_prefect.project import Project
from expops_prefect.tracking.run import Run

_logger = logging.getLogger("prefect.expops")


class Plan:
    """The checked pipeline of a project with its functions, ready to run.

    Args:
        project: the project.
        overrides: parameters that replace configured ones: ``name`` for one of the project's,
            ``process.name`` for one of a process's own.

    Raises:
        ConfigurationError: it cannot run; nothing has run so far.
    """

    def __init__(self, project: Project, overrides: Mapping[str, Any] | None = None) -> None:
        settings = _overridden(project, overrides or {})
        self.project = project
        self.shared = settings.parameters
        self.scripts = Scripts(settings)
        seed = settings.reproducibility.get("random_seed")
        self.seed = seed if isinstance(seed, int) and not isinstance(seed, bool) else None
        with self.scripts.workplace():
            pipeline = Pipeline(settings)
            self.instances = expand(pipeline, settings)
            check_selectors(self.instances, settings)
            self.functions = {name: self.scripts.function(process) for name, process in pipeline.processes.items()}

    def call(self, instance: Instance, run_id: str) -> ProcessCall:
        """The call of a process, with the seed of its random numbers."""
        base = self.seed if instance.seed is None else instance.seed
        return ProcessCall(instance, derived_seed(base, instance.path), self.project.project_id, run_id)


@dataclass
class _Progress:
    """The results so far, by probe path."""

    results: dict[str, Outputs] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)


class _ProjectFlow(ExpOpsFlow[..., dict[str, str]]):
    """The flow of a project that is known when the flow is created."""

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """See :meth:`prefect.Flow.serialize_parameters`, which imports FastAPI for this, a third of a second."""
        try:
            orjson.dumps(parameters)
        except (TypeError, ValueError):
            return super().serialize_parameters(parameters)
        return dict(parameters)


class _FoundFlow(_ProjectFlow):
    """A flow whose project is found from the current folder when it runs, because its own file is in this package."""

    @property
    def project(self) -> Project:
        """The project that contains the current folder, or that ``EXPOPS_PROJECT_ROOT`` names."""
        return Project.open()

    @project.setter
    def project(self, value: Any) -> None:
        """Do nothing: the project cannot be set."""


def _found(function: Callable[..., dict[str, str]]) -> _FoundFlow:
    return _FoundFlow(function, name="expops-project")


def as_flow(project: Project, **options: Any) -> ExpOpsFlow[..., dict[str, str]]:
    """The flow that runs a project's pipeline.

    Args:
        project: an ExpOps project.
        options: arguments of Prefect's ``flow``; the name is the project's id unless given.

    Raises:
        ConfigurationError: the pipeline cannot be run.
    """
    Plan(project)
    options.setdefault("name", project.project_id)
    return _ProjectFlow(inspect.unwrap(run_project.fn), project=project, **options)


@_found
def run_project(parameters: dict[str, Any] | None = None) -> dict[str, str]:
    """Run the pipeline of an ExpOps project: the flow's own, else the one found from the current folder.

    Args:
        parameters: parameters that replace configured ones: ``name`` for one of the project's, ``process.name``
            for one of a process's own.

    Returns:
        The status by probe path: ``completed``, ``cached``, ``failed`` or, after a failure before it, ``skipped``.
    """
    from prefect.context import FlowRunContext

    from expops_prefect.tracking.instrumentation import project_of_flow

    context = FlowRunContext.get()
    assert context is not None
    assert context.flow is not None
    plan = Plan(project_of_flow(context.flow), parameters)
    here = run_context.current.get()
    run_id = here.run.run_id if here is not None and isinstance(here.run, Run) else ""
    progress = _Progress()
    with plan.scripts.workplace():
        for instance in plan.instances:
            _run(plan, instance, progress, run_id)
    if progress.failures:
        raise progress.failures[0]
    return progress.statuses


def _run(plan: Plan, instance: Instance, progress: _Progress, run_id: str) -> None:
    above = list(dict.fromkeys(source.path for source in instance.sources))
    if any(path not in progress.results for path in above):
        progress.statuses[instance.path] = "skipped"
        _logger.warning("%s does not run, because a process that it depends on has failed", instance.path)
        return
    call = plan.call(instance, run_id)
    function = plan.functions[instance.process.name]
    if instance.process.chart:
        assert function is not None
        task = plain_task(call, chart_body(function))
        metrics = {path: outputs[METRICS] for path, outputs in progress.results.items()}
        arguments: dict[str, Any] = {"metrics": chart_metrics(instance.process.probe_paths, metrics)}
    else:
        function, arguments = _prepared(plan, instance, function or pass_on, progress.results)
        task = process_task(call, function)
    token = process_call.set(call)
    try:
        waited = [progress.states[path] for path in above]
        state = task(**arguments, return_state=True, wait_for=waited)
    finally:
        process_call.reset(token)
    progress.states[instance.path] = state
    if state.is_completed():
        progress.results[instance.path] = state.result()
        progress.statuses[instance.path] = "completed" if call.executed else "cached"
    else:
        progress.statuses[instance.path] = "failed"
        failure = state.result(raise_on_failure=False)
        progress.failures.append(failure if isinstance(failure, BaseException) else PipelineError(str(failure)))


def _prepared(
    plan: Plan, instance: Instance, function: Callable[..., Any], results: Mapping[str, Outputs]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function and its arguments; if they do not match, a function that raises the error in its own task run."""
    try:
        inputs = inputs_of(instance, results)
        if function is pass_on:
            return function, inputs
        arguments = arguments_of(instance, function, inputs, plan.shared, plan.seed)
        try:
            inspect.signature(function).bind(**arguments)
        except TypeError as error:
            given = ", ".join(sorted(inputs)) or "none"
            raise PipelineError(f"{instance.process.name}: {error}; outputs of its dependencies: {given}") from None
    except PipelineError as error:
        return failing(error), {}
    return function, arguments


def _overridden(project: Project, overrides: Mapping[str, Any]) -> Any:
    settings = project.settings
    shared, processes = dict(settings.parameters), {name: dict(part) for name, part in settings.processes.items()}
    for key, value in overrides.items():
        process, dot, name = key.rpartition(".")
        if not dot:
            shared[key] = value
        elif process in processes:
            section = processes[process]
            # Hyperparameters take precedence over parameters.
            kind = "hyperparameters" if name in (section.get("hyperparameters") or {}) else "parameters"
            section[kind] = {**(section.get(kind) or {}), name: value}
        else:
            known = ", ".join(processes)
            raise ConfigurationError(
                f"the parameter {key!r} does not name a process; allowed: name, or process.name of {known}"
            )
    return settings.model_copy(update={"parameters": shared, "processes": processes})
