"""The drop-in ``flow`` and ``task``: Prefect's own, with caching and recording switched on."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from prefect import Flow, Task
from prefect.settings.context import get_current_settings
from prefect.utilities.annotations import NotSet
from prefect.utilities.callables import get_call_parameters

from expops_prefect.cache.files.declared import patterns
from expops_prefect.cache.policy import EXPOPS
from expops_prefect.errors import ConfigurationError
from expops_prefect.run_context import SUBFLOW_ATTRIBUTE
from expops_prefect.tracking.hooks import add_flow_hooks, add_task_hooks
from expops_prefect.tracking.subflows import call, entry_function, is_subflow
from expops_prefect.tracking.wrapping import Surrounded, called

if TYPE_CHECKING:
    from expops_prefect.project import Project

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class ExpOpsTask(Surrounded, Task[P, R]):
    """A Prefect task that is cached with ``EXPOPS`` by default, and recorded.

    Args:
        fn: the function.
        process: the name of its ExpOps process; by default the task's own name.
        ignore: parameters to leave out of the cache key.
        outputs: the files and folders that it writes, with parameters in braces; they are part of its result.
        kwargs: every argument of :class:`prefect.Task`, with its meaning there.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        process: str | None = None,
        ignore: Iterable[str] = (),
        outputs: Iterable[str | os.PathLike[str]] = (),
        **kwargs: Any,
    ) -> None:
        # The only default in which Prefect's decorator differs from its class: the flow decides.
        kwargs.setdefault("log_prints", None)
        self._policy_left_open = _leaves_policy_open(kwargs)
        ours = self._policy_left_open and _default_allowed(kwargs.get("persist_result"))
        if ours:
            kwargs["cache_policy"] = EXPOPS
        super().__init__(fn, **kwargs)
        if ours:
            # Prefect passes this to with_options as the user's own choice, which it is not.
            self._user_cache_policy = NotSet
        self.process = process
        self.ignore = _parameter_names(ignore)
        self.outputs = patterns(outputs, fn)
        add_task_hooks(self)

    def __call__(self, *args: Any, return_state: bool = False, wait_for: Any = None, **kwargs: Any) -> Any:  # type: ignore[override, unused-ignore]
        """Run the task. See :meth:`prefect.Task.__call__`."""
        return called(self, super().__call__, args, kwargs, return_state=return_state, wait_for=wait_for)

    def with_options(  # type: ignore[override, unused-ignore]
        self, *, process: Any = NotSet, ignore: Any = NotSet, outputs: Any = NotSet, **options: Any
    ) -> ExpOpsTask[P, R]:
        """A new task with other options. See :meth:`prefect.Task.with_options`.

        Args:
            process: a new name of the ExpOps process.
            ignore: new parameters to leave out of the key.
            outputs: new files and folders that it writes.
            options: any option of Prefect's method.
        """
        left_open = self._policy_left_open and _leaves_policy_open(options)
        persist = options.get("persist_result", NotSet)
        ours = left_open and _default_allowed(self._user_persist_result if persist is NotSet else persist)
        if ours:
            options["cache_policy"] = EXPOPS
        plain = super().with_options(**options)
        changed = copy.copy(self)
        changed.__dict__.update(plain.__dict__)
        changed._policy_left_open = left_open
        if ours:
            changed._user_cache_policy = NotSet
        changed.process = self.process if process is NotSet else process
        changed.ignore = self.ignore if ignore is NotSet else _parameter_names(ignore)
        changed.outputs = self.outputs if outputs is NotSet else patterns(outputs, self.fn)
        add_task_hooks(changed)
        return changed


class ExpOpsFlow(Surrounded, Flow[P, R]):
    """A Prefect flow whose run is recorded in its project.

    Args:
        fn: the function.
        project: the project's root folder, or a :class:`Project`; by default found from the flow's file.
        cached: cache it as a whole if it is called as a subflow: if arguments, configuration and code are unchanged,
            neither it nor any of its tasks runs. Called on its own, it always runs.
        kwargs: every argument of :class:`prefect.Flow`, with its meaning there.
    """

    def __init__(
        self, fn: Callable[P, R], *, project: str | Path | Project | None = None, cached: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(fn, **kwargs)
        self.project = project
        self.cached = cached
        self._instrument()

    def _instrument(self) -> None:
        if self.cached and self.isgenerator:
            raise ConfigurationError(
                f"the flow {self.name!r} yields its results one by one and cannot be cached as a whole: "
                "leave out cached=True and cache its tasks, or return a list"
            )
        add_flow_hooks(self)

    def _entry(self) -> ExpOpsTask[P, Any]:
        """The task that stands for this flow when it is called as a cached subflow."""
        entry: ExpOpsTask[P, Any] = ExpOpsTask(
            entry_function(self, self.fn),
            name=self.name,
            cache_policy=EXPOPS,
            retries=0,  # the flow has its own
            persist_result=self.persist_result,
            result_storage=self.result_storage,
            result_serializer=self.result_serializer,
        )
        setattr(entry, SUBFLOW_ATTRIBUTE, True)
        return entry

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override, unused-ignore]
        """Run the flow. See :meth:`prefect.Flow.__call__`. A cached subflow is first looked up in the cache."""
        if not self.cached or not is_subflow():
            return super().__call__(*args, **kwargs)
        return_type = "state" if kwargs.pop("return_state", False) else "result"
        wait_for = kwargs.pop("wait_for", None)
        parameters = get_call_parameters(self.fn, args, kwargs)
        return call(self._entry(), parameters, wait_for=wait_for, return_type=return_type)

    def with_options(self, *, project: Any = NotSet, cached: Any = NotSet, **options: Any) -> ExpOpsFlow[P, R]:  # type: ignore[override, unused-ignore]
        """A new flow with other options. See :meth:`prefect.Flow.with_options`.

        Args:
            project: another project.
            cached: whether to cache it as a whole when it is called as a subflow.
            options: any option of Prefect's method.
        """
        plain = super().with_options(**options)
        changed = copy.copy(self)
        changed.__dict__.update(plain.__dict__)
        changed.project = self.project if project is NotSet else project
        changed.cached = self.cached if cached is NotSet else cached
        changed._instrument()
        return changed


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    fn: None = None,
    /,
    *,
    process: str | None = None,
    ignore: Iterable[str] = (),
    outputs: Iterable[str | os.PathLike[str]] = (),
    **kwargs: Any,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    fn: Callable[P, R] | None = None,
    /,
    *,
    process: str | None = None,
    ignore: Iterable[str] = (),
    outputs: Iterable[str | os.PathLike[str]] = (),
    **kwargs: Any,
) -> Task[P, R] | Callable[[Callable[P, R]], Task[P, R]]:
    """Prefect's ``task``, recorded, and cached by its inputs, configuration and code.

    Args:
        fn: the function, when used without parentheses.
        process: the name of its ExpOps process; by default the task's own name.
        ignore: parameters to leave out of the cache key, such as sessions and clients.
        outputs: the files and folders that it writes, for example ``["models/{name}.pkl", "report/"]`` with its
            parameters in braces. They are part of its result: a hit puts them back.
        kwargs: any argument of Prefect's ``task``; yours take precedence over this package's defaults.

    Example:
        ```python
        from expops_prefect import task

        @task(ignore=["session"], retries=2)
        def fetch(url, session):
            return session.get(url).json()
        ```
    """
    if fn is not None:
        return ExpOpsTask(fn, process=process, ignore=ignore, outputs=outputs, **kwargs)
    return lambda function: ExpOpsTask(function, process=process, ignore=ignore, outputs=outputs, **kwargs)


class FlowDecorator:
    """The type of :data:`flow`: a decorator with the other methods of Prefect's."""

    from_source = staticmethod(Flow.from_source)
    """Load a flow from a repository or folder. See :meth:`prefect.Flow.from_source`."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, T]], /) -> Flow[P, Coroutine[Any, Any, T]]: ...

    @overload
    def __call__(self, fn: Callable[P, R], /) -> Flow[P, R]: ...

    @overload
    def __call__(
        self, fn: None = None, /, *, project: str | Path | Project | None = None, cached: bool = False, **kwargs: Any
    ) -> Callable[[Callable[P, R]], Flow[P, R]]: ...

    def __call__(
        self,
        fn: Callable[P, R] | None = None,
        /,
        *,
        project: str | Path | Project | None = None,
        cached: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Prefect's ``flow``, recorded in its project.

        Args:
            fn: the function, when used without parentheses.
            project: the project's root folder, or a :class:`Project`; by default found from the flow's file.
            cached: cache it as a whole if it is called as a subflow: if arguments, configuration and code are
                unchanged, neither it nor any of its tasks runs. Called on its own, it always runs.
            kwargs: any argument of Prefect's ``flow``, with its meaning there.

        Example:
            ```python
            from expops_prefect import flow

            @flow(log_prints=True)
            def train(seed: int = 0):
                ...
            ```
        """
        if fn is not None:
            return ExpOpsFlow(fn, project=project, cached=cached, **kwargs)
        return lambda function: ExpOpsFlow(function, project=project, cached=cached, **kwargs)


flow = FlowDecorator()
"""Prefect's ``flow``, recorded in its project. Its arguments are those of :meth:`FlowDecorator.__call__`."""


def _leaves_policy_open(options: dict[str, Any]) -> bool:
    """Whether these arguments leave the cache policy to us."""
    # A storage of the user's counts as a choice: with Prefect's default policy its results belong to one run.
    named = ("cache_key_fn", "result_storage_key", "result_storage")
    return all(options.get(name) in (None, NotSet) for name in named) and (
        options.get("cache_policy", NotSet) is NotSet
    )


def _default_allowed(persist_result: bool | None) -> bool:
    """Whether we may set a default policy: not against ``persist_result=False`` or Prefect's setting."""
    return persist_result is not False and not get_current_settings().tasks.default_no_cache


def _parameter_names(ignore: Iterable[str]) -> tuple[str, ...]:
    if isinstance(ignore, str):
        raise TypeError(f"ignore takes a list of parameter names; write ignore=[{ignore!r}]")
    return tuple(ignore)
