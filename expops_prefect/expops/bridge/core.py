"""Replaces ``process``, ``step`` and ``log_metric``, which a project imports from ExpOps.

Inside a process run by this package, a step becomes a nested task and a metric goes to this package's recorder.
Elsewhere a step is a plain function, and a metric goes to ExpOps as before.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final, Protocol

from expops_prefect.errors import ConfigurationError
from expops_prefect.fingerprint.graph import WRAPPER

Function = Callable[..., Any]
_OURS: Final = "_expops_prefect"


class Frame(Protocol):
    """A process or step that is being executed."""

    def call_step(self, name: str, function: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one of its steps."""

    def log(self, name: str, value: Any, step: int | None) -> None:
        """Log one of its metrics."""


current: ContextVar[Frame | None] = ContextVar("expops_frame", default=None)


def expops(module: str) -> ModuleType:
    """Import a module of ExpOps.

    Raises:
        ConfigurationError: ExpOps is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "expops":
            raise
        raise ConfigurationError(
            f"{module} is not installed, but the project's functions import it: pip install 'expops-prefect[expops]'"
        ) from error


def install() -> None:
    """Install the replacements; repeated calls change nothing.

    Raises:
        ConfigurationError: ExpOps is not installed.
    """
    core: Any = expops("expops.core")
    if getattr(core, _OURS, False):
        return
    theirs: Function = core.log_metric

    def log_metric(key: str, value: Any, step: int | None = None) -> None:
        """Log a metric of the running process or step."""
        frame = current.get()
        if frame is None:
            theirs(key, value, step)
        else:
            frame.log(key, value, step)

    core.process, core.step, core.log_metric = process, step, log_metric
    setattr(core, _OURS, True)


def process(description: Any = "", parameters: Any = None, logging: bool = True) -> Any:  # noqa: ARG001
    """Mark a function as a process; returns it unchanged."""
    return description if callable(description) else lambda function: function


def step(name: Any = None, step_type: str = "general", logging: bool = True) -> Any:  # noqa: ARG001
    """Mark a function as a step."""
    if callable(name):
        return step()(name)

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            frame = current.get()
            if frame is None:
                return function(*args, **kwargs)
            return frame.call_step(name or function.__name__, function, args, kwargs)

        # Transparent to fingerprints, like this package's other wrappers.
        setattr(call, WRAPPER, True)
        return call

    return decorate
