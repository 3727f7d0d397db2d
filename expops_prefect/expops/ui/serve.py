"""The process of ExpOps' server: ``python -m expops_prefect.expops.ui.serve PORT PLACE-OF-CHARTS…``.

It reads the project from its standard input, and ends with the process that started it, even if that is killed:
the input is closed then.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from typing import Final

SERVER: Final = "expops.web.server:app"


def main() -> None:
    """Serve until stopped."""
    import uvicorn
    from uvicorn.importer import import_from_string

    from expops_prefect.expops.ui.answers import Answers
    from expops_prefect.expops.ui.guard import Guard

    project = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    app = Guard(Answers(import_from_string(SERVER), project), sys.argv[2:])
    uvicorn.run(
        app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=2, ws="none"
    )


def _end_with_the_parent() -> None:
    while sys.stdin.buffer.read(4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
