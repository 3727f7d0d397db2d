"""ExpOps projects as Prefect flows: runs ``experiment.pipeline`` with the project's own functions.

The optional extra ``expops`` supplies ``expops.core`` and ``expops.reporting``, which those functions import.
"""

from __future__ import annotations

from expops_prefect.expops.bridge.flow import as_flow

__all__ = ["as_flow"]
