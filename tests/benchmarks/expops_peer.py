"""ExpOps' own cache and metrics as a contestant: its ``StepStateManager`` with its spill of large payloads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAME = "ExpOps"
PROCESS = "//process[@name='make']"
RUN = "project-bench-20260101000000-00000000"


def manager(folder: Path) -> Any:
    """A state manager over SQLite and files, as ExpOps' runner makes one; without its log lines."""
    from expops.core.runtime.step_state_manager import StepStateManager
    from expops.storage.factory import create_kv_store

    logger = logging.getLogger("expops.bench")
    logger.setLevel(logging.CRITICAL)
    folder.mkdir(parents=True, exist_ok=True)
    store = create_kv_store("bench", {"type": "local", "path": str(folder / "kv.sqlite")}, env=os.environ)
    return StepStateManager(
        cache_dir=folder / "cache" / "steps", kv_store=store, logger=logger, object_prefix="cache", project_root=folder
    )


def cached(folder: Path, make: Callable[[int, int, Any], Any]) -> Callable[[int, int, Any], Any]:
    """``make`` behind ExpOps' process cache, keyed by the number alone: its hashing of inputs is not charged."""
    from expops.core.runtime.payload_spill import hydrate_payload_refs, spill_large_payloads
    from expops.core.runtime.step_state_manager import ProcessExecutionResult

    state = manager(folder)

    def call(number: int, size: int, watch: Any) -> Any:
        key = (f"{number:064x}", "0" * 64, "0" * 64)
        found = state.get_cached_process_result_with_metadata(PROCESS, *key)
        if found is not None:
            return hydrate_payload_refs(found[0], state)["value"]
        value = make(number, size, watch)
        state.record_process_started(RUN, PROCESS, *key, enable_logging=False)
        spilled = spill_large_payloads({"value": value}, state, RUN, PROCESS)
        result = ProcessExecutionResult(PROCESS, True, result=spilled, execution_time=0.0)
        state.record_process_completion(RUN, result, *key, enable_logging=False)
        return value

    return call
