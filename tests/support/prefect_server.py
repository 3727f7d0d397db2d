"""Prefect's server for many clients at once, on SQLite: ``python -m tests.support.prefect_server server start``.

Most of its transactions read before they write. If another one commits in between, SQLite refuses the write at once
(SQLITE_BUSY_SNAPSHOT), the server answers 503, and the client pauses for 2, 4, 8, 16 and 32 seconds before it gives
up. Four processes that ran 436 flows met 72 refusals. Here a transaction takes the lock for writing when it begins, as
Prefect itself does where it knows of the danger, so that the others wait for milliseconds instead.
"""

from __future__ import annotations

from typing import Any

from prefect.cli import app
from prefect.server.database.configurations import AioSqliteConfiguration

_begin = AioSqliteConfiguration.begin_transaction


def _begin_as_writer(self: AioSqliteConfiguration, session: Any, with_for_update: bool = False) -> Any:
    return _begin(self, session, with_for_update=True)


if __name__ == "__main__":
    AioSqliteConfiguration.begin_transaction = _begin_as_writer  # type: ignore[method-assign]
    app()
