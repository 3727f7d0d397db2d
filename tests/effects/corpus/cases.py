"""A case of the corpus: a task with an effect, in one of five shapes."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SHAPES = ("direct", "helper", "method", "async", "third party")
CASES: "list[Case]" = []


@dataclass
class Case:
    """A task, how it is called, and what tells of its effect.

    Attributes:
        kind: the row of the table of effects.
        shape: how the effect is reached.
        task: the task.
        args: makes the arguments of a call from the mark under which the world notes the effect.
        after: what can be seen of the effect in the process, given the arguments.
        fresh: each execution gives another result.
        world: each execution leaves one mark in the world.
    """

    kind: str
    shape: str
    task: Any
    args: Callable[[str], tuple[Any, ...]] = field(default=lambda mark: (mark,))
    after: Callable[..., Any] | None = None
    fresh: bool = False
    world: bool = False
    mark: str = ""

    def __post_init__(self) -> None:
        assert self.shape in SHAPES, self.shape
        number = sum(case.kind == self.kind for case in CASES)
        kind = self.kind.replace(" ", "-").replace(":", "")
        self.mark = f"{kind}-{number}-{os.environ['CORPUS_WAY']}"
        CASES.append(self)
