"""Whether a task run is cached: by what its author said, by the configuration, and by what its code does.

Where it is not cached, Prefect's own rule stays, as if this package were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from prefect.cache_policies import DEFAULT, CachePolicy

from expops_prefect.cache import reasons
from expops_prefect.cache.reasons import Reason
from expops_prefect.config.model import CacheDefault
from expops_prefect.models.effects import CodeEffects, Effect
from expops_prefect.project import Project

RULE_ATTRIBUTE: Final = "_expops_default"
"""The attribute of a task that says what becomes of it where the configuration does not: ``pure`` without it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a task run.

    Attributes:
        why_not: why it is executed every time; ``None`` where it is cached.
        told: its author or the configuration asked for it, so that no effect stands against it.
        watched: what its body reads and does is seen, and kept with the result.
    """

    why_not: Reason | None
    told: bool
    watched: bool


def decide(project: Project, task: Any, name: str, code: CodeEffects) -> Decision:
    """Decide about a task whose code is known.

    Args:
        project: its project.
        task: the task.
        name: its name in the configuration.
        code: what its code tells.
    """
    rule = rule_of(project, task, name)
    told = is_told(project, task, name)
    if rule == "all":
        return Decision(None, told=True, watched=False)
    if told:
        return Decision(None, told=True, watched=True)
    if getattr(task, "on_commit_hooks", None) or getattr(task, "on_rollback_hooks", None):
        return Decision(reasons.TRANSACTION_HOOKS, told=False, watched=False)
    if rule == "none":
        return Decision(reasons.not_asked_for(name), told=False, watched=False)
    found = forbidding(project, code.effects)
    if found:
        return Decision(reasons.effect(found[0], more=len(found) - 1), told=False, watched=False)
    return Decision(None, told=False, watched=True)


def rule_of(project: Project, task: Any, name: str) -> CacheDefault:
    """What becomes of a task of which nobody said anything."""
    own: CacheDefault = getattr(task, RULE_ATTRIBUTE, "pure")
    return project.settings.cache.default_for(name) or own


def is_told(project: Project, task: Any, name: str) -> bool:
    """Whether somebody asked for this task to be cached: its author in its decorator, or the configuration."""
    if project.settings.cache.asked_for(name):
        return True
    if not is_decorated(task):
        return False  # made by this package, policy and all
    return task.cache_expiration is not None or not is_left_open(task)


def is_decorated(task: Any) -> bool:
    """Whether it has a decorator that its author can change: the processes of an ExpOps project have none."""
    return getattr(task, RULE_ATTRIBUTE, None) is None


def is_left_open(task: Any) -> bool:
    """Whether its author said nothing about its caching."""
    if getattr(task, "_policy_left_open", False):
        return True
    return hasattr(task.cache_policy, "original")  # the policy of an instrumented task


def forbidding(project: Project, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """Those effects that stand against caching: drawing from a generator that is seeded is none."""
    if project.settings.random_seed is None:
        return effects
    return tuple(effect for effect in effects if not effect.seedable)


def plain_policy(task: Any) -> CachePolicy | None:
    """The policy that a task would have without this package."""
    policy = task.cache_policy
    if hasattr(policy, "original"):
        original: CachePolicy | None = policy.original
        return original
    return DEFAULT


def persists(task: Any) -> bool:
    """Whether Prefect would keep the task's result without this package."""
    from prefect.context import FlowRunContext
    from prefect.results import get_default_persist_setting
    from prefect.settings.context import get_current_settings

    if getattr(task, "_policy_left_open", False):
        asked = getattr(task, "_user_persist_result", None)
        if asked is None and task.result_serializer is not None:
            asked = True
    else:
        asked = task.persist_result
    if asked is None:
        asked = get_current_settings().tasks.default_persist_result
    if asked is None:
        flow = FlowRunContext.get()
        asked = get_default_persist_setting() if flow is None else flow.persist_result
    return bool(asked)
