"""Why task runs are executed, or whose results they are given: read out of what was recorded.

Example:
    ```python
    from expops_prefect import Project

    for item in Project.open().explain("latest"):
        print(item.label, item.because, item.reason)
    ```
"""

from expops_prefect.explain.answers import Because, Computed, Explanation, explain
from expops_prefect.explain.differences import Difference

__all__ = ["Because", "Computed", "Difference", "Explanation", "explain"]
