"""Maintain stored results: invalidate, verify, collect. Works without Prefect.

Example:
    ```python
    from datetime import timedelta

    from expops_prefect import Project
    from expops_prefect.maintenance import Policy
    from expops_prefect.maintenance import collect

    collect(Project.open(), Policy(unused_for=timedelta(days=30)))
    ```
"""

from expops_prefect.maintenance.collect import Collected, Dropped, Policy, collect
from expops_prefect.maintenance.entries import Entry, Stored
from expops_prefect.maintenance.invalidate import Selection, invalidate
from expops_prefect.maintenance.verify import Broken, Verified, verify

__all__ = [
    "Broken",
    "Collected",
    "Dropped",
    "Entry",
    "Policy",
    "Selection",
    "Stored",
    "Verified",
    "collect",
    "invalidate",
    "verify",
]
