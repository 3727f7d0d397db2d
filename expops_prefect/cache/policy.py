"""The cache policy, which computes a task's key for Prefect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from prefect.cache_policies import CachePolicy

# Prefect finds blocks and serializers by name among the imported classes, and a program that only loads a result
# may have imported nothing else.
from expops_prefect.cache import storage  # noqa: F401

if TYPE_CHECKING:
    from prefect.context import TaskRunContext


@dataclass
class ExpOpsCachePolicy(CachePolicy):
    """Caches a task by its inputs, the project's configuration and its code, in the project's stores.

    ``EXPOPS - "session"`` leaves a parameter out of the key, ``EXPOPS + FLOW_PARAMETERS`` adds the
    key of another policy.

    Attributes:
        ignore: parameters that are left out of the key.
        also: other policies whose keys enter this one's.

    Example:
        ```python
        from prefect import task
        from expops_prefect import EXPOPS

        @task(cache_policy=EXPOPS - "session")
        def fetch(url, session):
            return session.get(url).json()
        ```
    """

    ignore: tuple[str, ...] = ()
    also: tuple[CachePolicy, ...] = field(default=())

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str | None:
        """The transaction key of a task run, or ``None`` to run it uncached. See :class:`CachePolicy`."""
        from expops_prefect.cache.keys import plain_key, prepare

        others = [
            policy.compute_key(task_ctx=task_ctx, inputs=inputs, flow_parameters=flow_parameters, **kwargs)
            for policy in self.also
        ]
        return prepare(
            task_ctx,
            inputs,
            ignore=self.ignore,
            others=tuple(key for key in others if key is not None),
            plain=lambda: plain_key(task_ctx, inputs, flow_parameters, kwargs),
        )

    def __sub__(self, other: str) -> ExpOpsCachePolicy:
        if not isinstance(other, str):
            raise TypeError("subtract a parameter's name, as a string")
        return replace(self, ignore=(*self.ignore, other))

    def __add__(self, other: CachePolicy) -> CachePolicy:
        from prefect.cache_policies import NO_CACHE

        if other == NO_CACHE:
            return self
        if isinstance(other, ExpOpsCachePolicy):
            merged = replace(self, ignore=(*self.ignore, *other.ignore), also=(*self.also, *other.also))
        else:
            merged = replace(self, also=(*self.also, other))
        return merged.configure(
            key_storage=self.key_storage or other.key_storage,
            lock_manager=self.lock_manager or other.lock_manager,
            isolation_level=self.isolation_level or other.isolation_level,
        )


EXPOPS: Final = ExpOpsCachePolicy()
"""The policy with its defaults."""


def expops_cache_key(context: TaskRunContext, parameters: dict[str, Any]) -> str | None:
    """The key as a function, for ``@task(cache_key_fn=expops_cache_key)``.

    Args:
        context: Prefect's context of the task run.
        parameters: the call's arguments by name.

    Returns:
        The transaction key, or ``None`` if the task runs uncached.
    """
    from expops_prefect.cache.keys import prepare

    return prepare(context, parameters, ignore=())
