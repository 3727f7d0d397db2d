"""ExpOps caching and run tracking for Prefect flows.

Public names are imported on first use, so that ``import expops_prefect`` costs next to nothing and a flow that
only logs a metric does not load the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from prefect import Flow as Flow
    from prefect import State as State
    from prefect import Task as Task
    from prefect import Transaction as Transaction
    from prefect import allow_failure as allow_failure
    from prefect import apause_flow_run as apause_flow_run
    from prefect import aresume_flow_run as aresume_flow_run
    from prefect import aserve as aserve
    from prefect import asuspend_flow_run as asuspend_flow_run
    from prefect import deploy as deploy
    from prefect import get_client as get_client
    from prefect import get_run_logger as get_run_logger
    from prefect import pause_flow_run as pause_flow_run
    from prefect import resume_flow_run as resume_flow_run
    from prefect import serve as serve
    from prefect import suspend_flow_run as suspend_flow_run
    from prefect import tags as tags
    from prefect import unmapped as unmapped

    from expops_prefect.cache.locking.lock_manager import ExpOpsLockManager
    from expops_prefect.cache.policy import EXPOPS, ExpOpsCachePolicy, expops_cache_key
    from expops_prefect.cache.storage import ExpOpsKeyStorage, ExpOpsResultStorage
    from expops_prefect.decorators import flow, task
    from expops_prefect.fingerprint.files import DataFile
    from expops_prefect.fingerprint.values import register_fingerprint
    from expops_prefect.instrument import instrument
    from expops_prefect.materializing import materialize
    from expops_prefect.project import Project
    from expops_prefect.serialization.serializer import ExpOpsSerializer
    from expops_prefect.tracking.api import log_chart, log_metric, log_metrics, process_parameters

__all__ = [
    "EXPOPS",
    "DataFile",
    "ExpOpsCachePolicy",
    "ExpOpsKeyStorage",
    "ExpOpsLockManager",
    "ExpOpsResultStorage",
    "ExpOpsSerializer",
    "Project",
    "expops_cache_key",
    "flow",
    "instrument",
    "log_chart",
    "log_metric",
    "log_metrics",
    "materialize",
    "process_parameters",
    "register_fingerprint",
    "task",
]

_HOMES: Final = {
    "EXPOPS": "cache.policy",
    "DataFile": "fingerprint.files",
    "ExpOpsCachePolicy": "cache.policy",
    "ExpOpsKeyStorage": "cache.storage",
    "ExpOpsLockManager": "cache.locking.lock_manager",
    "ExpOpsResultStorage": "cache.storage",
    "ExpOpsSerializer": "serialization.serializer",
    "Project": "project",
    "expops_cache_key": "cache.policy",
    "flow": "decorators",
    "instrument": "instrument",
    "log_chart": "tracking.api",
    "log_metric": "tracking.api",
    "log_metrics": "tracking.api",
    "materialize": "materializing",
    "process_parameters": "tracking.api",
    "register_fingerprint": "fingerprint.values",
    "task": "decorators",
}


_PREFECTS: Final = frozenset(
    {
        "Flow",
        "State",
        "Task",
        "Transaction",
        "allow_failure",
        "apause_flow_run",
        "aresume_flow_run",
        "aserve",
        "asuspend_flow_run",
        "deploy",
        "get_client",
        "get_run_logger",
        "pause_flow_run",
        "resume_flow_run",
        "serve",
        "suspend_flow_run",
        "tags",
        "unmapped",
    }
)
"""Names that flows import beside ``flow`` and ``task``, re-exported from Prefect."""


_PREFECTS_MODULES: Final = frozenset(
    {"artifacts", "assets", "blocks", "cache_policies", "context", "deployments", "events", "futures", "runtime"}
    | {"settings", "states", "transactions", "variables"}
)
"""Prefect's modules that flows import in the same way, as in ``from prefect import flow, runtime``."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None and name in _PREFECTS:
        return getattr(importlib.import_module("prefect"), name)
    if home is None and name in _PREFECTS_MODULES:
        return importlib.import_module(f"prefect.{name}")
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_PREFECTS})
