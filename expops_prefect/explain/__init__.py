"""Explain why task runs were executed, or which run their results came from, based on the records.

Example:
    ```python
    from expops_prefect import Project

    for item in Project.open().explain("latest"):
        print(item.label, item.because, item.reason)
    ```
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expops_prefect.explain.answers import Because, Computed, Explanation, explain
    from expops_prefect.explain.differences import Difference

__all__ = ["Because", "Computed", "Difference", "Explanation", "explain"]


def __getattr__(name: str) -> object:
    # Imported on first use: running flows do not need it.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from expops_prefect.explain import answers, differences

    return getattr(differences if name == "Difference" else answers, name)
