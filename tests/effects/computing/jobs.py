"""An honest task: it computes, and its result depends on its arguments alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

JOBS: "list[Job]" = []


@dataclass
class Job:
    """A task and its arguments.

    Attributes:
        task: the task.
        args: makes its arguments.
    """

    task: Any
    args: Callable[[], tuple[Any, ...]] = tuple

    def __post_init__(self) -> None:
        JOBS.append(self)
