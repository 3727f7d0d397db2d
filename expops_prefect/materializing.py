"""The drop-in ``materialize``: Prefect's own, with caching and recording switched on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect.tasks import MaterializingTask

from expops_prefect.decorators import ExpOpsTask

if TYPE_CHECKING:
    from prefect.assets import Asset

P = ParamSpec("P")
R = TypeVar("R")


class ExpOpsMaterializingTask(ExpOpsTask[P, R], MaterializingTask[P, R]):  # type: ignore[misc]
    """A Prefect task that materializes assets, cached if its files can be put back, and recorded."""


def materialize(
    *assets: str | Asset,
    by: str | None = None,
    process: str | None = None,
    ignore: Iterable[str] = (),
    outputs: Iterable[str | os.PathLike[str]] = (),
    **kwargs: Any,
) -> Callable[[Callable[P, R]], MaterializingTask[P, R]]:
    """Prefect's ``materialize``, recorded, and cached if the files of the assets are part of its result.

    Those are the files that the task returns as ``DataFile``, names in ``outputs``, or names in an asset
    ``file://…``. Without one, the task is executed every time. A hit sends the same events of the assets.

    Args:
        assets: the assets, as URIs or Prefect's objects.
        by: a tool that materializes them, for example ``dbt``.
        process: the name of its ExpOps process; by default the task's own name.
        ignore: parameters to leave out of the cache key.
        outputs: the files and folders that it writes; see :func:`~expops_prefect.task`.
        kwargs: any argument of Prefect's ``task``.

    Example:
        ```python
        from expops_prefect import DataFile, materialize

        @materialize("s3://shop/orders", outputs=["orders.csv"])
        def orders(rows): ...
        ```
    """
    if not assets:
        raise TypeError('materialize takes at least one asset: @materialize("s3://bucket/name")')

    def decorate(function: Callable[P, R]) -> MaterializingTask[P, R]:
        options = {**kwargs, "assets": assets, "materialized_by": by}
        return ExpOpsMaterializingTask(function, process=process, ignore=ignore, outputs=outputs, **options)

    return decorate
