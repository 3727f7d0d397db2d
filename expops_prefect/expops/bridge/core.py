"""Puts our ``process``, ``step`` and ``log_metric`` in the place of those that a project imports from ExpOps.

Inside a process that we run, a step becomes a nested task and a metric goes to our recorder. Anywhere
else a step is a plain function, and a metric goes to ExpOps as before.
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
        """Call a step of it."""

    def log(self, name: str, value: Any, step: int | None) -> None:
        """Log a metric of it."""


current: ContextVar[Frame | None] = ContextVar("expops_frame", default=None)


def expops(module: str) -> ModuleType:
    """A module of ExpOps'.

    Raises:
        ConfigurationError: ExpOps is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "expops":
            raise
        raise ConfigurationError(
            f"{module} is not installed, which the project's functions import: pip install 'expops-prefect[expops]'"
        ) from error


def install() -> None:
    """Put ours in place; asking again changes nothing.

    Raises:
        ConfigurationError: ExpOps is not installed.
    """
    core: Any = expops("expops.core")
    if getattr(core, _OURS, False):
        return
    theirs: Function = core.log_metric

    def log_metric(key: str, value: Any, step: int | None = None) -> None:
        """Log a metric of the process or step that runs."""
        frame = current.get()
        if frame is None:
            theirs(key, value, step)
        else:
            frame.log(key, value, step)

    core.process, core.step, core.log_metric = process, step, log_metric
    setattr(core, _OURS, True)


def process(description: Any = "", parameters: Any = None, logging: bool = True) -> Any:  # noqa: ARG001
    """Mark a function as a process; it stays as it is."""
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

        # Transparent to fingerprints, as our other wrappers are.
        setattr(call, WRAPPER, True)
        return call

    return decorate
