"""The command ``expops-prefect``."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Final

from cyclopts import App

from expops_prefect.cli import cache, diff, doctor, graph, init, load, maintenance, run, runs, sync, ui
from expops_prefect.cli.output import PROBLEM, WRONG_USAGE, UsageError, print_error
from expops_prefect.errors import ExpOpsPrefectError

_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF})

app = App(
    name="expops-prefect",
    help="ExpOps caching and run tracking for Prefect flows: inspect runs and the cache.",
    help_epilogue="Every command takes --project PATH and --json. Exit codes: 0 success, 1 a problem, 2 wrong usage.",
    version=lambda: _version(),
)
app.command(init.init)
app.command(doctor.doctor)
runs.app.command(diff.diff_runs, name="diff")
app.command(runs.app)
cache.app.command(load.load_result, name="load")
cache.app.command(maintenance.invalidate_records, name="invalidate")
cache.app.command(maintenance.verify_records, name="verify")
cache.app.command(maintenance.collect_garbage, name="gc")
app.command(cache.app)
app.command(graph.graph)
app.command(ui.ui)
app.command(run.run)
app.command(sync.sync)
app.register_install_completion_command(help="Install shell completion: bash, zsh or fish.")


def main() -> None:
    """Run the command and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Do not fail because of a name that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    try:
        result = app(sys.argv[1:], exit_on_error=False, print_error=True, result_action="return_value")
        sys.stdout.flush()
    except ExpOpsPrefectError as error:
        print_error(str(error))
        sys.exit(WRONG_USAGE if isinstance(error, UsageError) else PROBLEM)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe.
        sys.stderr.close()
        sys.exit(PROBLEM)
    except OSError as error:
        # An error of a file has a file name; one of the output has none.
        if error.filename is not None or error.errno not in _UNWRITABLE:
            raise
        print_error(f"the output cannot be written: {error.strerror}")
        _give_up_output()
        sys.exit(PROBLEM)
    except Exception as error:
        from cyclopts import CycloptsError

        if isinstance(error, CycloptsError):
            sys.exit(WRONG_USAGE)
        raise
    sys.exit(result if isinstance(result, int) else 0)


def _give_up_output() -> None:
    """Discard unwritten output: Python would try to write it once more, and fail."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _version() -> str:
    from importlib.metadata import version

    return version("expops-prefect")


if __name__ == "__main__":
    main()
