"""Decides whether a task run is cached: by its decorator, the configuration, and what its code does.

If it is not cached, Prefect's own rules apply, as if this package were not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from prefect.cache_policies import DEFAULT, CachePolicy

from expops_prefect.cache import reasons
from expops_prefect.cache.files.declared import assets
from expops_prefect.cache.reasons import Reason
from expops_prefect.config.model import CacheDefault
from expops_prefect.models.effects import CodeEffects, Effect
from expops_prefect.project import Project

RULE_ATTRIBUTE: Final = "_expops_default"
"""The attribute of a task with its default rule if the configuration sets none; ``pure`` if absent."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether and how a task run is cached.

    Attributes:
        why_not: why it is executed every time; ``None`` if it is cached.
        requested: its author or the configuration asked for caching, so effects do not prevent it.
        watched: its body is observed, and what it reads and does is kept with the result.
    """

    why_not: Reason | None
    requested: bool
    watched: bool


def decide(project: Project, task: Any, name: str, code: CodeEffects) -> Decision:
    """Decide about a task whose code is known.

    Args:
        project: its project.
        task: the task.
        name: its name in the configuration.
        code: the effects found in its code.
    """
    rule = rule_of(project, task, name)
    requested = asks_for_caching(project, task, name)
    materialized = assets(task)
    if rule == "all" and not materialized:
        return Decision(None, requested=True, watched=leaves_files(code))
    if requested:
        return Decision(None, requested=True, watched=True)
    if getattr(task, "on_commit_hooks", None) or getattr(task, "on_rollback_hooks", None):
        return Decision(reasons.TRANSACTION_HOOKS, requested=False, watched=False)
    if rule == "none":
        return Decision(reasons.not_asked_for(name), requested=False, watched=False)
    found = forbidding(project, certain(code))
    if found:
        return Decision(reasons.effect(found[0], more=len(found) - 1), requested=False, watched=False)
    if materialized and not leaves_files(code):
        return Decision(reasons.materializes(materialized[0]), requested=False, watched=False)
    return Decision(None, requested=False, watched=True)


def rule_of(project: Project, task: Any, name: str) -> CacheDefault:
    """The rule for a task without explicit cache settings."""
    own: CacheDefault = getattr(task, RULE_ATTRIBUTE, "pure")
    return project.settings.cache.default_for(name) or own


def asks_for_caching(project: Project, task: Any, name: str) -> bool:
    """Whether this task's decorator or the configuration asks for it to be cached."""
    if project.settings.cache.asked_for(name):
        return True
    if not is_decorated(task):
        return False  # this package made the task and its policy
    return task.cache_expiration is not None or not is_left_open(task)


def is_decorated(task: Any) -> bool:
    """Whether the task has a decorator that its author can change; the processes of an ExpOps project do not."""
    return getattr(task, RULE_ATTRIBUTE, None) is None


def is_left_open(task: Any) -> bool:
    """Whether the task's decorator leaves caching open."""
    if getattr(task, "_policy_left_open", False):
        return True
    return hasattr(task.cache_policy, "original")  # the policy of an instrumented task


def forbidding(project: Project, effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
    """The effects that prevent caching; drawing from a seeded generator does not."""
    if project.settings.random_seed is None:
        return effects
    return tuple(effect for effect in effects if not effect.seedable)


def leaves_files(code: CodeEffects) -> bool:
    """Whether the files that a task writes may be part of its result: what its body writes then tells."""
    return code.makes_files and not code.hidden_writes


def certain(code: CodeEffects) -> tuple[Effect, ...]:
    """The effects in the code of a task that count whatever its body does."""
    if not leaves_files(code):
        return code.effects
    return tuple(effect for effect in code.effects if effect.kind != "file write")


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
