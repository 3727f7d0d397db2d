"""A helper module. A change in here recomputes the tasks that use it, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def make_model(kind: str, settings: Mapping[str, Any]) -> Any:
    """An untrained model.

    Args:
        kind: ``logistic``, ``forest`` or ``neighbours``.
        settings: ``regularisation``, ``trees``, ``neighbours``.

    Raises:
        ValueError: an unknown kind.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    if kind == "logistic":
        return LogisticRegression(C=settings.get("regularisation", 1.0), max_iter=2000)
    if kind == "forest":
        return RandomForestClassifier(n_estimators=settings.get("trees", 100), random_state=0)
    if kind == "neighbours":
        return KNeighborsClassifier(n_neighbors=settings.get("neighbours", 5))
    raise ValueError(f"unknown kind of model: {kind}")
