"""What Prefect logs, for the tests of its behaviour. Prefect is imported late: its settings are read at import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.prefect_contract.facts import Lines


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The records of Prefect's loggers of flow runs, task runs and the engine."""
    from prefect.logging import get_logger

    from tests.prefect_contract.facts import Lines

    handler = Lines()
    loggers = [get_logger(name) for name in ("flow_runs", "task_runs", "engine")]
    for logger in loggers:
        logger.addHandler(handler)
    yield handler
    for logger in loggers:
        logger.removeHandler(handler)
