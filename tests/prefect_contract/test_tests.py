"""Private names of Prefect on which tests and benchmarks rely; the package itself does not use them."""

from __future__ import annotations

import inspect

from prefect.flow_engine import BaseFlowRunEngine
from prefect.server.database.configurations import AioSqliteConfiguration


def test_the_heartbeat_of_flow_runs_can_be_switched_off() -> None:
    # Set to None by tests.support.warm, tests.support.shared_servers and tests.benchmarks.run.
    # By the source, because they may have done so here.
    assert "def heartbeat_seconds(self)" in inspect.getsource(BaseFlowRunEngine)


def test_transactions_of_the_server_can_begin_as_writers() -> None:
    # Replaced by tests.support.prefect_server.
    begin = inspect.signature(AioSqliteConfiguration.begin_transaction)
    assert list(begin.parameters) == ["self", "session", "with_for_update"]
